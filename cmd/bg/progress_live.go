package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"bg/deploy"
)

// frame is the time between two pictures of a terminal.
const frame = 100 * time.Millisecond

// liveReporter draws the list of steps at the end of a terminal. What else is to
// be said goes above it.
type liveReporter struct {
	look   look
	notice *notice // goes above the list while there is one

	mu    sync.Mutex
	tty   *os.File
	steps list
	drawn []int // the columns of each line on the screen
	clock chan struct{}
}

func newLiveReporter(tty *os.File, look look, notice *notice) *liveReporter {
	r := &liveReporter{look: look, tty: tty, notice: notice}
	notice.draw(r)
	return r
}

// report draws what e changes.
func (r *liveReporter) report(e deploy.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	switch {
	case e.Kind == deploy.Planned:
		if len(r.steps) > 1 {
			r.keep() // an earlier deployment
		}
		r.steps.take(e) // a wait for the service is over
		r.above(fmt.Sprintf("%s: %s -> %s, image %s\n", e.Plan.Service, e.Plan.From, e.Plan.To, e.Plan.Image))
		r.tick()
	case r.steps.take(e):
		r.tick()
		r.draw()
	case e.Kind == deploy.Finished:
		r.keep()
		if text := describe(e); text != "" {
			r.above(r.paint(e.Kind, text) + "\n")
		}
	default:
		r.above(r.paint(e.Kind, describe(e)) + "\n")
	}
}

// tick draws once in a while, for the elapsed time.
func (r *liveReporter) tick() {
	if r.clock != nil {
		return
	}
	r.clock = make(chan struct{})
	go func(stop chan struct{}) {
		ticker := time.NewTicker(frame)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
			r.mu.Lock()
			if r.clock == stop {
				r.draw()
			}
			r.mu.Unlock()
		}
	}(r.clock)
}

// keep leaves the list on the screen as it is, and begins below it.
func (r *liveReporter) keep() {
	if r.clock != nil {
		close(r.clock)
		r.clock = nil
		r.draw()
	}
	r.steps, r.drawn = nil, nil
}

func (r *liveReporter) done() {
	r.notice.draw(nil) // before the lock, which what is said waits for
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep()
}

// size returns the columns and rows of the terminal, and what most have when it
// does not say.
func (r *liveReporter) size() (width, height int) {
	width, height, err := term.GetSize(int(r.tty.Fd()))
	if err != nil || width < 1 || height < 1 {
		return 80, 24
	}
	return width, height
}

// up moves the cursor to where the list begins. A terminal that got narrower
// since has broken its lines.
func (r *liveReporter) up(width int) string {
	rows := 0
	for _, columns := range r.drawn {
		rows += max(1, (columns+width-1)/width)
	}
	if rows == 0 {
		return "\r"
	}
	return fmt.Sprintf("\r\x1b[%dA", rows)
}

// draw puts a new picture over the old one, in one write so that it does not
// flicker.
func (r *liveReporter) draw() {
	width, height := r.size()
	var b strings.Builder
	b.WriteString(r.up(width))
	r.drawn = nil
	for _, e := range r.steps.window(height - 1) {
		text, columns := r.look.line(e, time.Now(), width-1)
		b.WriteString(text + "\x1b[K\n")
		r.drawn = append(r.drawn, columns)
	}
	b.WriteString("\x1b[J")
	fmt.Fprint(r.tty, b.String())
}

// above writes text, which ends with a newline, where the list was, and the list
// below it.
func (r *liveReporter) above(text string) {
	width, _ := r.size()
	fmt.Fprint(r.tty, r.up(width)+"\x1b[J"+text)
	r.drawn = nil
	r.draw()
}

// paint gives text the color of what it is about.
func (r *liveReporter) paint(kind deploy.Kind, text string) string {
	code := map[deploy.Kind]string{deploy.Warning: "33", deploy.Finished: "31"}[kind]
	if code == "" || !r.look.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Write puts the output of tests above the list.
func (r *liveReporter) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := string(p)
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	r.above(text)
	return len(p), nil
}
