// Package bench measures bg side by side with what it is compared with: the
// pipeline of shell commands that people write, and the floor, the raw calls that
// no deployment can do without. With the tag bench it has the measurements
// themselves (make bench); what is here writes their page, RESULTS.md.
package bench

import (
	"fmt"
	"math"
	"slices"
)

// Series are measurements of one thing.
type Series []float64

// Quantile returns the value below which the share q of the series lies, NaN for
// an empty one. Between two measurements it is in proportion.
func (s Series) Quantile(q float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

// Median returns the middle of the series.
func (s Series) Median() float64 { return s.Quantile(0.5) }

// Of returns a series of what value says of each of list.
func Of[T any](list []T, value func(T) float64) Series {
	s := make(Series, 0, len(list))
	for _, each := range list {
		s = append(s, value(each))
	}
	return s
}

// Millis writes seconds as milliseconds, or as seconds where they are many: the
// median, with the quartiles.
func (s Series) Millis() string {
	if s.Median() >= 10 {
		return s.in(1, "s")
	}
	return s.in(1000, "ms")
}

// Megabytes writes bytes: the median, with the quartiles.
func (s Series) Megabytes() string { return s.in(1e-6, "MB") }

func (s Series) in(factor float64, unit string) string {
	if len(s) == 0 {
		return "–"
	}
	text := number(factor*s.Median()) + " " + unit
	if len(s) > 1 {
		text += fmt.Sprintf(" (%s–%s)", number(factor*s.Quantile(0.25)), number(factor*s.Quantile(0.75)))
	}
	return text
}

// number writes three digits that count, and no more after the point than that takes.
func number(v float64) string {
	switch {
	case math.Abs(v) >= 100:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// Ratio writes how many times b the median of a is.
func Ratio(a, b Series) string {
	r := a.Median() / b.Median()
	if math.IsNaN(r) || math.IsInf(r, 0) {
		return "–"
	}
	return fmt.Sprintf("%.2f ×", r)
}
