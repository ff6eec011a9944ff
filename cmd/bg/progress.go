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
	if f, ok := s.Err.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &liveReporter{plainReporter: plainReporter{w: s.Err}, color: os.Getenv("NO_COLOR") == ""}
	}
	return &plainReporter{w: s.Err}
}

// jsonReporter writes one JSON object per line.
type jsonReporter struct {
	mu     sync.Mutex
	events *json.Encoder
	output io.Writer
}

func (r *jsonReporter) report(e deploy.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.events.Encode(e); err != nil {
		fmt.Fprintf(r.output, "bg: write event: %v\n", err)
	}
}

func (r *jsonReporter) done() {}

func (r *jsonReporter) Write(p []byte) (int, error) { return r.output.Write(p) }

// plainReporter writes one line per event, each with its time.
type plainReporter struct {
	mu sync.Mutex
	w  io.Writer
}

func (r *plainReporter) report(e deploy.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
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
		return "the end of the log of what failed:\n" + tail(e.Message, 20)
	case deploy.Finished:
		if e.Deployment.Outcome == deploy.Done {
			return "" // the command's result, on standard output
		}
		return verdict(*e.Deployment)
	}
	return e.Message
}

// verdict is the last line of a deployment.
func verdict(d deploy.Deployment) string {
	took := d.Ended.Sub(d.Started).Round(10 * time.Millisecond)
	switch d.Outcome {
	case deploy.Done:
		return fmt.Sprintf("%s is %s now: %s, deployment %s, %s", d.Service, d.To, d.Image, d.ID, took)
	case deploy.UndoFailed:
		return fmt.Sprintf("%s: deployment %s failed and could not be undone, %s", d.Service, d.ID, took)
	default:
		return fmt.Sprintf("%s stays %s: deployment %s %s and was undone, %s", d.Service, d.From, d.ID, d.Outcome, took)
	}
}

// tail returns the last n lines of text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// liveReporter shows, below the lines of what is done, one line of what is going
// on, with the time since it began.
type liveReporter struct {
	plainReporter
	color   bool
	current deploy.Event
	stop    chan struct{}
}

// report prints what is over for good, and keeps the rest in the live line.
func (r *liveReporter) report(e deploy.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.erase()
	switch e.Kind {
	case deploy.Begin, deploy.Undoing:
		r.begin(e)
	case deploy.Waiting:
		if r.stop == nil {
			r.begin(e)
		}
		r.current.Message, r.current.Kind = e.Message, e.Kind
	case deploy.Warning, deploy.Log:
		fmt.Fprintln(r.w, r.paint(e))
	case deploy.Finished:
		r.end()
		if text := r.paint(e); text != "" {
			fmt.Fprintln(r.w, text)
		}
	default:
		r.end()
		fmt.Fprintln(r.w, r.paint(e))
	}
	r.draw()
}

// begin starts the live line's clock.
func (r *liveReporter) begin(e deploy.Event) {
	r.end()
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	r.current, r.stop = e, make(chan struct{})
	go func(stop chan struct{}) {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				r.mu.Lock()
				if r.stop == stop {
					r.erase()
					r.draw()
				}
				r.mu.Unlock()
			case <-stop:
				return
			}
		}
	}(r.stop)
}

func (r *liveReporter) end() {
	if r.stop != nil {
		close(r.stop)
		r.stop = nil
	}
}

func (r *liveReporter) done() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.erase()
	r.end()
}

func (r *liveReporter) erase() { fmt.Fprint(r.w, "\r\x1b[K") }

func (r *liveReporter) draw() {
	if r.stop == nil {
		return
	}
	text := fmt.Sprintf("%6.1fs %s", time.Since(r.current.Time).Seconds(), describe(r.current))
	if width, _, err := term.GetSize(int(r.w.(*os.File).Fd())); err == nil && len(text) >= width && width > 1 {
		text = text[:width-1]
	}
	fmt.Fprint(r.w, text)
}

// paint describes e with a color for its kind.
func (r *liveReporter) paint(e deploy.Event) string {
	code := map[deploy.Kind]string{deploy.End: "32", deploy.Fail: "31", deploy.Warning: "33", deploy.Undone: "33"}[e.Kind]
	if code == "" || !r.color {
		return describe(e)
	}
	return "\x1b[" + code + "m" + describe(e) + "\x1b[0m"
}

// Write puts the output of tests above the live line.
func (r *liveReporter) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.erase()
	n, err := r.w.Write(p)
	if len(p) > 0 && p[len(p)-1] != '\n' {
		fmt.Fprintln(r.w)
	}
	r.draw()
	return n, err
}
