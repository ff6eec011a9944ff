package probe

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"bg/color"
)

const (
	// slotWidth is how long a slot is at first.
	slotWidth = 250 * time.Millisecond
	// maxSlots bounds a series: when there would be more, two become one.
	maxSlots = 240
)

// Slot is what the requests of a short time met. In JSON it is one line of text,
// because people read the document too:
//
//	1.25s blue=3 green=2 other=0 failed=0 mean=812µs slowest=1.2ms
type Slot struct {
	At      time.Duration // its begin, after the start of the deployment
	Colors  map[color.Color]int
	Other   int // answers without a color
	Failed  int
	Mean    time.Duration // latency of the answers
	Slowest time.Duration
}

// Answers returns how many requests were answered well.
func (s Slot) Answers() int { return s.Colors[color.Blue] + s.Colors[color.Green] + s.Other }

// MarshalText writes a slot as one line.
func (s Slot) MarshalText() ([]byte, error) {
	round := func(d time.Duration) time.Duration { return d.Round(time.Microsecond) }
	return fmt.Appendf(nil, "%s blue=%d green=%d other=%d failed=%d mean=%s slowest=%s",
		s.At.Round(time.Millisecond), s.Colors[color.Blue], s.Colors[color.Green], s.Other, s.Failed, round(s.Mean), round(s.Slowest)), nil
}

// UnmarshalText reads what MarshalText wrote.
func (s *Slot) UnmarshalText(text []byte) (err error) {
	fields := strings.Fields(string(text))
	if len(fields) == 0 {
		return fmt.Errorf("an empty slot")
	}
	read := Slot{Colors: map[color.Color]int{}}
	if read.At, err = time.ParseDuration(fields[0]); err != nil {
		return err
	}
	for _, field := range fields[1:] {
		if err := read.field(field); err != nil {
			return fmt.Errorf("slot %q: %w", text, err)
		}
	}
	*s = read
	return nil
}

// field reads one name=value.
func (s *Slot) field(text string) (err error) {
	name, value, _ := strings.Cut(text, "=")
	switch name {
	case "mean":
		s.Mean, err = time.ParseDuration(value)
		return err
	case "slowest":
		s.Slowest, err = time.ParseDuration(value)
		return err
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		return err
	}
	switch name {
	case "blue", "green":
		if n > 0 {
			s.Colors[color.Color(name)] = n
		}
	case "other":
		s.Other = n
	case "failed":
		s.Failed = n
	default:
		return fmt.Errorf("%q is no part of a slot", name)
	}
	return nil
}

// add counts one request.
func (s *Slot) add(one sample) {
	if one.err != nil {
		s.Failed++
		return
	}
	s.Mean += (one.took - s.Mean) / time.Duration(s.Answers()+1)
	s.Slowest = max(s.Slowest, one.took)
	if one.color == color.None {
		s.Other++
	} else {
		s.Colors[one.color]++
	}
}

// series are slots of one width, those without a request left out.
type series struct {
	width time.Duration
	slots []Slot
}

// add counts one request in its slot. Requests come nearly in order.
func (s *series) add(since time.Time, one sample) {
	at := one.sent.Sub(since).Truncate(s.width)
	i, found := slices.BinarySearchFunc(s.slots, at, func(slot Slot, at time.Duration) int { return int(slot.At - at) })
	if !found {
		s.slots = slices.Insert(s.slots, i, Slot{At: at, Colors: map[color.Color]int{}})
	}
	s.slots[i].add(one)
	if len(s.slots) > maxSlots {
		s.width *= 2
		s.slots = widen(s.slots, s.width)
	}
}

// widen puts slots together that begin within the same width.
func widen(slots []Slot, width time.Duration) []Slot {
	var wide []Slot
	for _, slot := range slots {
		slot.At = slot.At.Truncate(width)
		if n := len(wide); n > 0 && wide[n-1].At == slot.At {
			wide[n-1] = wide[n-1].and(slot)
		} else {
			wide = append(wide, slot)
		}
	}
	return wide
}

// halve makes one of each two slots, whatever their width.
func halve(slots []Slot) []Slot {
	var half []Slot
	for pair := range slices.Chunk(slots, 2) {
		one := pair[0]
		if len(pair) == 2 {
			one = one.and(pair[1])
		}
		half = append(half, one)
	}
	return half
}

// and returns the slot that begins with s and holds other's requests too.
func (s Slot) and(other Slot) Slot {
	both := Slot{At: s.At, Colors: map[color.Color]int{}, Other: s.Other + other.Other, Failed: s.Failed + other.Failed, Slowest: max(s.Slowest, other.Slowest)}
	for _, c := range []color.Color{color.Blue, color.Green} {
		if n := s.Colors[c] + other.Colors[c]; n > 0 {
			both.Colors[c] = n
		}
	}
	if all := both.Answers(); all > 0 {
		both.Mean = (s.Mean*time.Duration(s.Answers()) + other.Mean*time.Duration(other.Answers())) / time.Duration(all)
	}
	return both
}
