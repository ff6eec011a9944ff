package probe

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"bg/color"
)

// Report is what the requests of a deployment met. Durations are in seconds.
type Report struct {
	Path     string    `json:"path"`
	Rate     int       `json:"rate"` // requests a second that were asked for
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended"`
	Sent     int       `json:"sent"`
	Failed   int       `json:"failed"`
	Steps    []Phase   `json:"steps,omitempty"`    // in the order of their first request
	Turns    []Turn    `json:"turns,omitempty"`    // switches of the proxy
	Failures []string  `json:"failures,omitempty"` // the first ones, with their time and step
	Series   []Slot    `json:"series,omitempty"`   // the course of it
}

// Phase is what the requests of one step met.
type Phase struct {
	Step     string              `json:"step"`
	Sent     int                 `json:"sent"`
	Failed   int                 `json:"failed"`
	Colors   map[color.Color]int `json:"colors,omitempty"`
	Statuses map[int]int         `json:"statuses,omitempty"`
	Median   float64             `json:"median"` // of the latency, within 5 %
	P99      float64             `json:"p99"`
	Slowest  float64             `json:"slowest"`

	latency histogram
}

// Turn is one switch of the proxy, as a client saw it.
type Turn struct {
	At   time.Time   `json:"at"` // when the proxy was told
	From color.Color `json:"from"`
	To   color.Color `json:"to"`
	// FirstNew is when To answered first, after the start of the deployment.
	FirstNew *float64 `json:"first_new,omitempty"`
	// LastOld is when From answered last, after At; absent when it did not
	// answer any more.
	LastOld *float64 `json:"last_old,omitempty"`
}

// String tells of the report in one sentence.
func (r Report) String() string {
	parts := []string{fmt.Sprintf("%d of %d probes failed", r.Failed, r.Sent)}
	if status, only := r.onlyStatus(); only && status >= 400 {
		parts = append(parts, fmt.Sprintf("every answer was %d: %s is no path of the service (probe.path)", status, r.Path))
	}
	if len(r.Turns) == 0 {
		return strings.Join(parts, "; ")
	}
	turn := r.Turns[len(r.Turns)-1]
	if turn.FirstNew != nil {
		parts = append(parts, fmt.Sprintf("first %s answer %.2f s after start", turn.To, *turn.FirstNew))
	}
	if turn.LastOld != nil {
		parts = append(parts, fmt.Sprintf("last %s answer %.2f s after the reload", turn.From, *turn.LastOld))
	} else if turn.FirstNew != nil && turn.From != color.None {
		parts = append(parts, fmt.Sprintf("no %s answer after the reload", turn.From))
	}
	return strings.Join(parts, "; ")
}

// onlyStatus returns the status of every answer when they all have the same.
func (r Report) onlyStatus() (status int, only bool) {
	seen := map[int]bool{}
	for _, p := range r.Steps {
		for s := range p.Statuses {
			seen[s], status = true, s
		}
	}
	return status, len(seen) == 1 && r.Failed < r.Sent
}

// Join returns the report of a deployment that went on later: r and then next.
// Either may be nil.
func (r *Report) Join(next *Report) *Report {
	switch {
	case r == nil:
		return next
	case next == nil:
		return r
	}
	both := *r
	both.Ended, both.Sent, both.Failed = next.Ended, r.Sent+next.Sent, r.Failed+next.Failed
	both.Steps = slices.Concat(r.Steps, next.Steps)
	both.Turns = slices.Concat(r.Turns, next.Turns)
	both.Failures = first(slices.Concat(r.Failures, next.Failures), maxFailures)
	later := next.Started.Sub(r.Started)
	both.Series = slices.Clone(r.Series)
	for _, s := range next.Series {
		s.At += later
		both.Series = append(both.Series, s)
	}
	for len(both.Series) > maxSlots {
		both.Series = halve(both.Series)
	}
	return &both
}

// add counts one request.
func (p *Phase) add(s sample) {
	p.Sent++
	if s.status != 0 {
		p.Statuses[s.status]++
	}
	if s.color != color.None {
		p.Colors[s.color]++
	}
	if s.err != nil {
		p.Failed++
		return
	}
	p.latency.add(s.took)
	p.Slowest = max(p.Slowest, s.took.Seconds())
}

// done returns p with its latencies, and nothing that still changes.
func (p Phase) done() Phase {
	p.Median, p.P99 = min(p.latency.quantile(0.5).Seconds(), p.Slowest), min(p.latency.quantile(0.99).Seconds(), p.Slowest)
	p.Colors, p.Statuses = maps.Clone(p.Colors), maps.Clone(p.Statuses)
	return p
}

func first[T any](list []T, n int) []T { return list[:min(n, len(list))] }
