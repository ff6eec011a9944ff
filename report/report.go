// Package report writes a deployment as one HTML page that needs nothing else:
// no network, no script, light or dark as its reader likes.
package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"bg/color"
	"bg/deploy"
)

//go:embed page.html
var source string

// bar is one step in the timeline.
type bar struct {
	deploy.Record
	Name        string
	Kind        string  // done, failed, undo or unknown: what the style sheet paints
	Left, Width float64 // percent of the whole time
}

// content is what the page tells.
type content struct {
	deploy.Deployment
	Bars    []bar
	Charts  []chart
	Took    string
	Version string // of bg
	Now     time.Time
}

// Write writes the page of d. Version is bg's own.
func Write(w io.Writer, d deploy.Deployment, version string, now time.Time) error {
	page, err := template.New("page").Funcs(template.FuncMap{
		"utc":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"named": func(c color.Color) string { return c.String() },
		"of":    func(counts map[color.Color]int, c string) int { return counts[color.Color(c)] },
		"ms":    func(seconds float64) string { return fmt.Sprintf("%.1f ms", seconds*1000) },
	}).Parse(source)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	charts, err := draw(d.Probe)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	took := d.Took(now).Round(time.Millisecond)
	return page.Execute(w, content{Deployment: d, Bars: timeline(d, took), Charts: charts, Took: took.String(), Version: version, Now: now})
}

// WriteFile writes the page of d to a file, at once: who has the old one open
// never sees half of the new one.
func WriteFile(name string, d deploy.Deployment, version string, now time.Time) (err error) {
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name()) // the error that matters is another
		}
	}()
	if err := Write(file, d, version, now); err != nil {
		_ = file.Close() // the same
		return err
	}
	if err := file.Chmod(0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := os.Rename(file.Name(), name); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// timeline places the steps and those of the undo on the whole time.
func timeline(d deploy.Deployment, whole time.Duration) []bar {
	var bars []bar
	for _, r := range d.Steps {
		kind := "done"
		switch {
		case r.Error != "":
			kind = "failed"
		case r.Duration == "":
			kind = "unknown"
		}
		bars = append(bars, place(r, string(r.Step), kind, d.Started, whole))
	}
	for _, r := range d.Undo {
		kind := "undo"
		if r.Error != "" {
			kind = "failed"
		}
		bars = append(bars, place(r, "undo "+string(r.Step), kind, d.Started, whole))
	}
	return bars
}

func place(r deploy.Record, name, kind string, begin time.Time, whole time.Duration) bar {
	took, err := time.ParseDuration(r.Duration)
	if err != nil { // it was begun, and what came of it is not known
		took = 0
	}
	percent := func(d time.Duration) float64 {
		exact := 100 * d.Seconds() / max(whole.Seconds(), 0.001)
		return min(100, max(0, math.Round(exact*100)/100))
	}
	left := percent(r.Started.Sub(begin))
	return bar{Record: r, Name: name, Kind: kind, Left: left, Width: min(100-left, max(0.4, percent(took)))}
}
