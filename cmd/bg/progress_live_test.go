package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	"github.com/tonistiigi/vt100"

	"bg/color"
	"bg/deploy"
)

// terminal is a pseudo terminal and what a person sees on it.
type terminal struct {
	*testing.T
	tty  *os.File
	ptm  *os.File
	sent chan string // all that was written, once the terminal is closed
}

func newTerminal(t *testing.T, columns, rows uint16) *terminal {
	t.Helper()
	ptm, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(ptm, &pty.Winsize{Cols: columns, Rows: rows}); err != nil {
		t.Fatal(err)
	}
	x := &terminal{T: t, tty: tty, ptm: ptm, sent: make(chan string, 1)}
	go func() {
		all, _ := io.ReadAll(ptm) // ends with an error when the other side is closed
		x.sent <- string(all)
	}()
	t.Cleanup(func() { _ = ptm.Close() })
	return x
}

// screen closes the terminal and returns what was sent and what is seen.
func (x *terminal) screen() (sent, seen string) {
	x.Helper()
	if err := x.tty.Close(); err != nil {
		x.Fatal(err)
	}
	sent = <-x.sent
	screen := vt100.NewVT100(60, 100)
	if _, err := screen.Write([]byte(sent)); err != nil {
		x.Fatal(err)
	}
	var b strings.Builder
	for _, row := range screen.Content {
		fmt.Fprintln(&b, strings.TrimRight(string(row), " \x00"))
	}
	return sent, strings.TrimRight(b.String(), "\n") + "\n"
}

// whole is a story that begins at now, so that the clock of what still runs is
// near zero.
func whole() []deploy.Event {
	plan := deploy.Plan{Service: "books-ms", From: color.Blue, To: color.Green, Image: "books-ms:2.0"}
	for _, verb := range []deploy.Verb{deploy.Start, deploy.Register, deploy.Posttest, deploy.Commit} {
		plan.Steps = append(plan.Steps, deploy.Step{Verb: verb, Color: color.Green})
	}
	g := color.Green
	return []deploy.Event{
		{Kind: deploy.Waiting, Message: "another deployment holds books-ms: ann@ci-1"},
		{Kind: deploy.Planned, Plan: &plan},
		{Kind: deploy.Begin, Step: deploy.Start, Color: g, Message: "blue is live, so green is free"},
		{Kind: deploy.Pulling, Step: deploy.Start, Color: g, Pull: &deploy.Pull{Image: "books-ms:2.0", Done: 30e6, Total: 60e6}},
		{Kind: deploy.End, Step: deploy.Start, Color: g, Message: "started books-ms-app-green-1", Seconds: 0.204},
		{Kind: deploy.Begin, Step: deploy.Register, Color: g, Message: "only these containers"},
		{Kind: deploy.Waiting, Step: deploy.Register, Color: g, Message: "health of books-ms-app-green-1"},
		{Kind: deploy.Warning, Message: "nginx is older than 1.27.4"},
		{Kind: deploy.End, Step: deploy.Register, Color: g, Message: "1 instance\x1b[2J at 10.0.0.1:8080", Seconds: 1.5},
		{Kind: deploy.Begin, Step: deploy.Posttest, Color: g, Message: "1 test has to pass through nginx"},
		{Kind: deploy.Fail, Step: deploy.Posttest, Color: g, Message: "exit status 4", Seconds: 0.5},
		{Kind: deploy.Log, Evidence: &deploy.Evidence{Logs: []deploy.ContainerLog{{Container: "books-ms-app-green-1", Lines: []string{"last words"}}}}},
		{Kind: deploy.Undoing, Step: deploy.Start, Color: g},
		{Kind: deploy.Undone, Step: deploy.Start, Color: g, Message: "removed books-ms-app-green-1", Seconds: 0.21},
		{Kind: deploy.Finished, Deployment: record(deploy.Failed)},
	}
}

// tell reports events to a live reporter on the terminal.
func (x *terminal) tell(look look, events []deploy.Event) *liveReporter {
	r := newLiveReporter(x.tty, look, nil)
	for _, e := range events {
		r.report(e)
		if e.Kind == deploy.Begin && e.Step == deploy.Posttest {
			fmt.Fprintln(r, "what a test writes")
		}
	}
	return r
}

func TestATerminalEndsWithEachStepOnceAndEverythingElseAboveIt(t *testing.T) {
	x := newTerminal(t, 100, 60)
	x.tell(look{}, whole()).done()
	sent, seen := x.screen()
	golden(t, "progress-live", seen)
	if strings.Contains(sent, "\x1b[2J") || strings.Contains(sent, "m\u2713") {
		t.Errorf("what a program wrote, or a color, reached the terminal: %q", sent)
	}
}

func TestATerminalShowsWhatIsAwaitedAndForHowLong(t *testing.T) {
	x := newTerminal(t, 100, 60)
	events := whole()[:7]
	for i := range events {
		events[i].Time = time.Now().Add(-90 * time.Second)
	}
	r := x.tell(look{}, events)
	r.mu.Lock() // the picture does not change any more
	_, seen := x.screen()
	r.mu.Unlock()
	for _, want := range []string{"✓ start    green   0.20s  started books-ms-app-green-1", "▸ register green   90.", "waits for health of books-ms-app-green-1", "· posttest green"} {
		if !strings.Contains(seen, want) {
			t.Errorf("not seen: %s\n%s", want, seen)
		}
	}
}

func TestAnInterruptIsSaidAboveTheList(t *testing.T) {
	x := newTerminal(t, 100, 60)
	said := &notice{to: x.tty}
	r := newLiveReporter(x.tty, look{}, said)
	for _, e := range whole()[:3] {
		r.report(e)
	}
	fmt.Fprint(x.tty, "^C") // as a terminal shows it
	said.say("interrupt: stopping")
	r.done()
	said.say("and once more, where nothing is drawn")
	_, seen := x.screen()
	want := "books-ms: blue -> green, image books-ms:2.0\ninterrupt: stopping\n▸ start    green"
	if !strings.Contains(seen, want) || strings.Contains(seen, "^C") || strings.Count(seen, "▸ start") != 1 {
		t.Errorf("not %q:\n%s", want, seen)
	}
	if !strings.Contains(seen, "· commit   green\n\nand once more, where nothing is drawn\n") {
		t.Errorf("%s", seen)
	}
}

func TestAPullIsABar(t *testing.T) {
	tests := []struct {
		look look
		want string
	}{
		{look{}, "██████████░░░░░░░░░░ books-ms:2.0: 30.0 of 60.0 MB"},
		{look{ascii: true}, "##########---------- books-ms:2.0: 30.0 of 60.0 MB"},
	}
	for _, tt := range tests {
		x := newTerminal(t, 100, 60)
		r := x.tell(tt.look, whole()[:4])
		r.mu.Lock()
		_, seen := x.screen()
		r.mu.Unlock()
		if !strings.Contains(seen, tt.want) {
			t.Errorf("not seen: %s\n%s", tt.want, seen)
		}
	}
}

func TestLinesFitANarrowAndLowTerminal(t *testing.T) {
	x := newTerminal(t, 30, 4)
	x.tell(look{}, whole()[:11]).done()
	sent, seen := x.screen()
	for line := range strings.Lines(seen) {
		// The header is longer, and the terminal breaks it.
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 30 && !strings.Contains(line, "image") && !strings.Contains(line, "warning") && !strings.Contains(line, "waits") {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if strings.Contains(sent, "\x1b[4A") {
		t.Errorf("the list is higher than the terminal: %q", sent)
	}
}

func TestColorsAndMarksAreAsTheEnvironmentSays(t *testing.T) {
	tests := []struct {
		name string
		env  map[string]string
		want look
	}{
		{"UTF-8", map[string]string{"LANG": "en_US.UTF-8"}, look{color: true}},
		{"LC_ALL wins", map[string]string{"LANG": "en_US.UTF-8", "LC_ALL": "C"}, look{color: true, ascii: true}},
		{"NO_COLOR", map[string]string{"LANG": "C.utf8", "NO_COLOR": "1"}, look{}},
		{"an empty NO_COLOR", map[string]string{"LANG": "C.utf8", "NO_COLOR": ""}, look{color: true}},
		{"nothing", nil, look{color: true, ascii: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, lookOf(func(name string) string { return tt.env[name] }), cmp.AllowUnexported(look{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestColorIsOnlyAPaint(t *testing.T) {
	plain, painted := newTerminal(t, 100, 60), newTerminal(t, 100, 60)
	plain.tell(look{}, whole()).done()
	painted.tell(look{color: true}, whole()).done()
	_, want := plain.screen()
	sent, got := painted.screen()
	if diff := cmp.Diff(want, got); diff != "" || !strings.Contains(sent, "\x1b[32m✓") || !strings.Contains(sent, "\x1b[31m✗") {
		t.Errorf("(-plain +painted):\n%s\n%q", diff, sent)
	}
}

func TestADumbTerminalGetsPlainLines(t *testing.T) {
	for term, live := range map[string]bool{"dumb": false, "xterm": true} {
		t.Run(term, func(t *testing.T) {
			t.Setenv("TERM", term)
			x := newTerminal(t, 100, 60)
			r := newReporter(streams{Out: io.Discard, Err: x.tty}, "text")
			if _, got := r.(*liveReporter); got != live {
				t.Errorf("it is a %T", r)
			}
			r.done()
			x.screen()
		})
	}
}

func TestFewEventsOfAPullAreLines(t *testing.T) {
	var notes strings.Builder
	r := newReporter(streams{Out: io.Discard, Err: &notes}, "text")
	for i := range int64(100) {
		r.report(after(int(i)*100, deploy.Event{Kind: deploy.Pulling, Step: deploy.Start, Color: color.Green, Pull: &deploy.Pull{Image: "a:1", Done: i * 1e6, Total: 99e6}}))
	}
	if lines := strings.Count(notes.String(), "\n"); lines != 5 || !strings.Contains(notes.String(), "pulls a:1: 99.0 of 99.0 MB") {
		t.Errorf("%d lines:\n%s", lines, notes.String())
	}
}
