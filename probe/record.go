package probe

import (
	"fmt"
	"math"
	"slices"
	"time"

	"bg/color"
)

const (
	// maxFailures is how many failures a report tells of.
	maxFailures = 20
	// maxRecent is how many samples are at hand when a switch is told of
	// afterwards: some seconds at the highest rate.
	maxRecent = 4096
)

// sample is one request and what came of it.
type sample struct {
	sent   time.Time
	took   time.Duration
	step   string
	color  color.Color
	status int
	err    error
}

// answered is when its answer was there.
func (s sample) answered() time.Time { return s.sent.Add(s.took) }

// recorder makes a report of samples. Its size does not grow with their number.
type recorder struct {
	Report
	step   string // the current one
	phases []*Phase
	series series
	recent []sample
}

func newRecorder(cfg Config, since time.Time) recorder {
	return recorder{Report: Report{Path: cfg.Path, Rate: cfg.Rate, Started: since.UTC()}, series: series{width: slotWidth}}
}

// add records a sample.
func (r *recorder) add(s sample) {
	r.Sent++
	if s.err != nil {
		r.Failed++
		if len(r.Failures) < maxFailures {
			r.Failures = append(r.Failures, fmt.Sprintf("%.3fs %s: %v", s.sent.Sub(r.Started).Seconds(), s.step, s.err))
		}
	}
	r.phase(s.step).add(s)
	r.series.add(r.Started, s)
	if len(r.recent) == maxRecent {
		r.recent = slices.Delete(r.recent, 0, maxRecent/2)
	}
	r.recent = append(r.recent, s)
	if n := len(r.Turns); n > 0 {
		r.Turns[n-1].add(r.Started, s)
	}
}

// phase returns the phase of a step.
func (r *recorder) phase(step string) *Phase {
	if i := slices.IndexFunc(r.phases, func(p *Phase) bool { return p.Step == step }); i >= 0 {
		return r.phases[i]
	}
	p := &Phase{Step: step, Colors: map[color.Color]int{}, Statuses: map[int]int{}}
	r.phases = append(r.phases, p)
	return p
}

// turn records a switch. Answers of after it may have been recorded before it.
func (r *recorder) turn(at time.Time, from, to color.Color) {
	t := Turn{At: at.UTC(), From: from, To: to}
	for _, s := range r.recent {
		t.add(r.Started, s)
	}
	r.Turns = append(r.Turns, t)
}

// add looks whether a sample is the first or the last of its kind.
func (t *Turn) add(since time.Time, s sample) {
	answered := s.answered()
	if s.err != nil || s.color == color.None || answered.Before(t.At) {
		return
	}
	if after := answered.Sub(since).Seconds(); s.color == t.To && (t.FirstNew == nil || after < *t.FirstNew) {
		t.FirstNew = &after
	}
	if after := answered.Sub(t.At).Seconds(); s.color == t.From && (t.LastOld == nil || after > *t.LastOld) {
		t.LastOld = &after
	}
}

// result returns the report of all samples so far.
func (r *recorder) result() Report {
	report := r.Report
	report.Ended = time.Now().UTC()
	for _, p := range r.phases {
		report.Steps = append(report.Steps, p.done())
	}
	report.Series = r.series.slots
	return report
}

// histogram counts latencies in buckets that grow by 5 %, from 10 µs on.
type histogram struct{ counts [300]int }

const growth = 1.05

func (h *histogram) add(d time.Duration) {
	bucket := math.Log(float64(d)/float64(10*time.Microsecond)) / math.Log(growth)
	h.counts[int(min(max(math.Ceil(bucket), 0), float64(len(h.counts)-1)))]++
}

// quantile returns the upper end of the bucket that holds the quantile q, 0
// when nothing was counted.
func (h *histogram) quantile(q float64) time.Duration {
	total := 0
	for _, n := range h.counts {
		total += n
	}
	rank := int(math.Ceil(q * float64(total)))
	for i, n := range h.counts {
		if rank -= n; rank <= 0 && total > 0 {
			return time.Duration(float64(10*time.Microsecond) * math.Pow(growth, float64(i)))
		}
	}
	return 0
}
