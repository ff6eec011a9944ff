package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"bg/deploy"
)

// look says how a terminal is drawn on.
type look struct {
	color bool // NO_COLOR is not set: https://no-color.org
	ascii bool // the locale has no others
}

func lookOf(getenv func(string) string) look {
	locale := ""
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale = getenv(name); locale != "" {
			break
		}
	}
	utf := strings.Contains(strings.ReplaceAll(strings.ToLower(locale), "-", ""), "utf8")
	return look{color: getenv("NO_COLOR") == "", ascii: !utf}
}

// state is how a line of the list stands.
type state int

const (
	pending state = 1
	running state = 2
	done    state = 3
	failed  state = 4
	undone  state = 5
)

// marks are what a line begins with, and its color.
var marks = map[state]struct{ mark, ascii, color string }{
	pending: {"·", ".", "2"}, running: {"▸", ">", "36"}, done: {"✓", "+", "32"}, failed: {"✗", "x", "31"}, undone: {"↩", "<", "33"},
}

// entry is one line of the list: a step, or the undo of one.
type entry struct {
	event deploy.Event // its step and color
	undo  bool
	state state
	begun time.Time
	took  time.Duration
	text  string       // the cause, what is awaited, or what was observed
	pull  *deploy.Pull // while an image is pulled
}

// list is the steps of a deployment as they stand.
type list []*entry

// take changes the list as e says, and reports whether e belongs to it.
func (l *list) take(e deploy.Event) bool {
	switch e.Kind {
	case deploy.Planned:
		*l = nil
		for _, s := range e.Plan.Steps {
			*l = append(*l, &entry{event: deploy.Event{Step: s.Verb, Color: s.Color}, state: pending})
		}
	case deploy.Begin, deploy.Undoing:
		l.begin(e)
	case deploy.Waiting, deploy.Pulling:
		l.wait(e)
	case deploy.End:
		l.end(e, done)
	case deploy.Fail:
		l.end(e, failed)
	case deploy.Undone:
		l.end(e, undone)
	default:
		return false
	}
	return true
}

// begin starts the clock of a pending step, or adds a line for an undo, or for a
// step that was not planned.
func (l *list) begin(e deploy.Event) {
	undo := e.Kind == deploy.Undoing
	for _, each := range *l {
		if !undo && each.state == pending && each.event.Step == e.Step && each.event.Color == e.Color {
			each.state, each.begun, each.text = running, e.Time, e.Message
			return
		}
	}
	*l = append(*l, &entry{event: e, undo: undo, state: running, begun: e.Time, text: e.Message})
}

// wait says what the running step waits for. Before the first step, it is the
// service itself.
func (l *list) wait(e deploy.Event) {
	if now := l.running(); now != nil {
		now.pull = e.Pull
		if now.text = e.Message; e.Pull == nil {
			now.text = "waits for " + e.Message
		}
		return
	}
	*l = append(*l, &entry{event: e, state: running, begun: e.Time, text: "waits: " + e.Message})
}

func (l *list) end(e deploy.Event, as state) {
	if now := l.running(); now != nil {
		now.state, now.text, now.pull = as, e.Message, nil
		now.took = time.Duration(e.Seconds * float64(time.Second))
	}
}

// running returns the line that is at work, nil when none is.
func (l *list) running() *entry {
	for _, each := range *l {
		if each.state == running {
			return each
		}
	}
	return nil
}

// window returns the lines that fit into height: those around what is at work.
func (l *list) window(height int) list {
	if len(*l) <= height {
		return *l
	}
	at := len(*l)
	for i, each := range *l {
		if each.state == pending || each.state == running {
			at = i + 1
			break
		}
	}
	from := max(0, at-height)
	return (*l)[from : from+height]
}

// line returns the text of one entry, cut to width, and the columns it takes.
func (k look) line(e *entry, now time.Time, width int) (string, int) {
	m := marks[e.state]
	mark := m.mark
	if k.ascii {
		mark = m.ascii
	}
	took := ""
	switch e.state {
	case pending:
	case running:
		took = fmt.Sprintf("%.1fs", max(0, now.Sub(e.begun).Seconds()))
	default:
		took = fmt.Sprintf("%.2fs", e.took.Seconds())
	}
	head := fmt.Sprintf("%s %-8s %-5s %7s", mark, string(e.event.Step), string(e.event.Color), took)
	text := head + "  " + e.text
	switch {
	case e.pull != nil:
		text = head + "  " + k.bar(*e.pull)
	case e.undo && e.state == running:
		text = head + "  undoing"
	case e.undo:
		text = head + "  undone: " + e.text
	}
	text = runewidth.Truncate(oneLine(text), max(1, width), k.more())
	columns := runewidth.StringWidth(text)
	if !k.color {
		return text, columns
	}
	// What is over or to come is told by the mark; only the one at work by all.
	if e.state == pending || e.state == running {
		return "\x1b[" + m.color + "m" + text + "\x1b[0m", columns
	}
	colored, _ := strings.CutPrefix(text, mark)
	return "\x1b[" + m.color + "m" + mark + "\x1b[0m" + colored, columns
}

// more ends a line that was cut.
func (k look) more() string {
	if k.ascii {
		return "..."
	}
	return "…"
}

// barWidth is how many columns a bar has.
const barWidth = 20

// bar draws how far a pull is.
func (k look) bar(p deploy.Pull) string {
	full, empty := "█", "░"
	if k.ascii {
		full, empty = "#", "-"
	}
	n := 0
	if p.Total > 0 {
		n = int(min(p.Done, p.Total) * barWidth / p.Total)
	}
	return strings.Repeat(full, n) + strings.Repeat(empty, barWidth-n) + " " + pulled(p)
}

// oneLine keeps what programs wrote from moving the cursor.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}
