package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"bg/deploy"
)

// reporter shows the events of a deployment.
type reporter interface {
	report(deploy.Event)
	// done ends what is drawn, so that others can write below it.
	done()
	// Write takes the output of tests.
	io.Writer
}

// newReporter returns the reporter for where a person or a script looks: JSON
// lines on standard output, a live display on a terminal, plain lines elsewhere.
func newReporter(s streams, format string) reporter {
	if format == "json" {
		return &jsonReporter{events: json.NewEncoder(s.Out), output: s.Err}
	}
	if f, ok := s.Err.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		return newLiveReporter(f, lookOf(os.Getenv), s.Notice)
	}
	return &plainReporter{w: s.Err}
}

// jsonReporter writes one JSON object per line.
type jsonReporter struct {
	mu     sync.Mutex
	events *json.Encoder
	output io.Writer
	pulls  pullPace
}

func (r *jsonReporter) report(e deploy.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pulls.skip(e) {
		return
	}
	if err := r.events.Encode(e); err != nil {
		fmt.Fprintf(r.output, "bg: write event: %v\n", err)
	}
}

func (r *jsonReporter) done() {}

func (r *jsonReporter) Write(p []byte) (int, error) { return r.output.Write(p) }

// plainReporter writes one line per event, each with its time.
type plainReporter struct {
	mu    sync.Mutex
	w     io.Writer
	pulls pullPace
}

func (r *plainReporter) report(e deploy.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pulls.skip(e) {
		return
	}
	r.lines(e)
}

func (r *plainReporter) done() {}

func (r *plainReporter) lines(e deploy.Event) {
	for line := range strings.Lines(describe(e)) {
		fmt.Fprintf(r.w, "%s %s\n", e.Time.Format("15:04:05.000"), strings.TrimRight(line, "\n"))
	}
}

func (r *plainReporter) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.w.Write(p)
}

// pullPace lets few of the events of a pull through: ten in a second are for an
// eye, not for a log.
type pullPace struct{ last time.Time }

func (p *pullPace) skip(e deploy.Event) bool {
	if e.Kind != deploy.Pulling || e.Pull.Done == e.Pull.Total {
		return false
	}
	if e.Time.Sub(p.last) < 3*time.Second {
		return true
	}
	p.last = e.Time
	return false
}

// pulled says how much of an image is there.
func pulled(p deploy.Pull) string {
	return fmt.Sprintf("%s: %.1f of %.1f MB", p.Image, float64(p.Done)/1e6, float64(p.Total)/1e6)
}

// describe returns the text of an event, without its time.
func describe(e deploy.Event) string {
	head := fmt.Sprintf("%-8s %-5s ", e.Step, e.Color)
	switch e.Kind {
	case deploy.Planned:
		return e.Plan.Text()
	case deploy.Begin:
		return head + "... " + e.Message
	case deploy.Waiting:
		if e.Step == "" {
			return "waiting: " + e.Message
		}
		return head + "waits for " + e.Message
	case deploy.Pulling:
		return head + "pulls " + pulled(*e.Pull)
	case deploy.End:
		return fmt.Sprintf("%sok   %.2fs  %s", head, e.Seconds, e.Message)
	case deploy.Fail:
		return fmt.Sprintf("%sFAIL %.2fs  %s", head, e.Seconds, e.Message)
	case deploy.Undoing:
		return head + "undoing"
	case deploy.Undone:
		return fmt.Sprintf("%sundone %.2fs  %s", head, e.Seconds, e.Message)
	case deploy.Warning:
		return "warning: " + e.Message
	case deploy.Log:
		return "what was there when it failed:\n" + e.Evidence.Text()
	case deploy.Probed:
		return "probes: " + e.Message
	case deploy.Finished:
		switch e.Deployment.Outcome {
		case deploy.Done, deploy.Paused, deploy.Aborted:
			return "" // the command's result, on standard output
		default:
			return verdict(*e.Deployment)
		}
	}
	return e.Message
}

// verdict is the last line of a deployment.
func verdict(d deploy.Deployment) string {
	if d.Outcome == deploy.Paused {
		return paused(d)
	}
	took := d.Took(time.Now()).Round(10 * time.Millisecond)
	switch d.Outcome {
	case deploy.Done:
		if d.Open() {
			return fmt.Sprintf("%s is %s now: %s, deployment %s; something is left to do: bg resume %s", d.Service, d.To, d.Image, d.ID, d.Service)
		}
		return fmt.Sprintf("%s is %s now: %s, deployment %s, %s", d.Service, d.To, d.Image, d.ID, took)
	case deploy.UndoFailed:
		return fmt.Sprintf("%s: deployment %s failed and could not be undone, %s", d.Service, d.ID, took)
	default:
		return fmt.Sprintf("%s stays %s: deployment %s %s and was undone, %s", d.Service, d.From, d.ID, d.Outcome, took)
	}
}

// paused is the last line of a deployment that somebody has to go on with.
func paused(d deploy.Deployment) string {
	live := d.From
	if d.Live() {
		live = d.To
	}
	line := fmt.Sprintf("%s is %s: deployment %s is paused after %s; bg resume %s goes on", d.Service, live, d.ID, d.At(), d.Service)
	if !d.Live() {
		line += fmt.Sprintf(", bg abort %s undoes it", d.Service)
	}
	if preview := d.PreviewText(); preview != "" {
		line += "\n" + preview
	}
	return line
}

// tail returns the last n lines of text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
