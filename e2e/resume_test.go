package e2e

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
)

// killed deploys until a command that waits in the tests of a step, and kills bg
// there.
func (w *world) killed(step string) {
	w.Helper()
	w.file("bg.yml", strings.ReplaceAll(settings, step, step+" { run: 'echo waiting here; sleep 60' },"))
	b := w.start("waiting here", "deploy", w.service, "--tag", "2.0")
	b.signal(w, syscall.SIGKILL)
	w.settings("")
}

// Where settings has the tests of a step.
const (
	inPretest  = "pre:  ["
	inPosttest = "post: ["
)

// newest returns the document of the newest deployment.
func (w *world) newest() (d struct {
	ID, Outcome string
	Resumed     []any
}) {
	w.Helper()
	if err := json.Unmarshal([]byte(w.kv("deploy")), &d); err != nil {
		w.Fatal(err)
	}
	return d
}

// outcome compares the newest deployment's outcome.
func (w *world) outcome(want string) {
	w.Helper()
	if d := w.newest(); d.Outcome != want {
		w.Errorf("deployment %s is %s instead of %s", d.ID, d.Outcome, want)
	}
}

func TestADeploymentThatWasKilledIsResumedAbortedOrReplaced(t *testing.T) {
	for _, c := range []struct {
		name, step string
		args       []string
		live       string
	}{
		{"resumed after a kill in the pre tests", inPretest, []string{"resume"}, "green"},
		{"aborted after a kill in the pre tests", inPretest, []string{"abort"}, "blue"},
		{"resumed after a kill in the post tests", inPosttest, []string{"resume"}, "green"},
		{"aborted after a kill in the post tests", inPosttest, []string{"abort"}, "blue"},
		{"replaced after a kill in the post tests", inPosttest, []string{"deploy", "--tag", "2.0"}, "green"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.deploy()
			w.begin()
			w.killed(c.step)
			r := w.bg(append(c.args, w.service)...) // no wait for the lock: its holder was killed here
			w.end()
			w.code(r, 0)
			w.live(c.live)
			switch c.live {
			case "blue":
				w.nothingLeft()
				w.outcome("aborted")
			default:
				w.outcome("done")
			}
			if held := w.kv("lock"); held != "" {
				t.Errorf("the lock is held: %s", held)
			}
		})
	}
}

func TestAFirstDeploymentThatWasKilledIsAbortedWithoutATrace(t *testing.T) {
	w := newWorld(t)
	w.killed(inPosttest)
	w.code(w.bg("abort", w.service), 0)
	w.outcome("aborted")
	if left := w.containers() + w.kv("color") + docker(w, "exec", w.nginx, "ls", "-A", "/etc/nginx/upstreams", "/etc/nginx/includes"); strings.Contains(left, w.service) {
		t.Errorf("left: %s", left)
	}
}

func TestAHeldDeploymentGoesOnFromAnotherFolder(t *testing.T) {
	w := newWorld(t)
	w.deploy()
	watch := w.start(w.service+": blue is live", "status", w.service, "--watch")
	w.begin()
	r := w.bg("deploy", w.service, "--tag", "2.0", "--hold")
	w.code(r, 0)
	w.says(r, "is paused after pretest", "bg resume "+w.service)
	w.live("blue")
	w.outcome("paused")
	watch.says(w, "paused in pretest")

	taken := w.bg("deploy", w.service)
	w.code(taken, 3)
	w.says(taken, w.newest().ID, "paused after pretest", "hint:", "bg abort "+w.service)

	w.elsewhere()
	w.code(w.bg("resume", w.service, "--deployment", "20200101-000000-0000"), 3)
	w.code(w.bg("resume", w.service, "--until", "posttest", "--deployment", w.newest().ID), 0)
	w.outcome("paused")
	if seen, code := w.onATerminal("promote", w.service); code != 0 || !strings.Contains(seen, "✓\x1b[0m commit   green") || !strings.Contains(seen, w.service+" is green now") {
		t.Errorf("code %d, on the terminal is %q", code, seen)
	}
	w.end()
	w.live("green")
	w.outcome("done")
	watch.says(w, w.service+": green is live")
	if code := watch.signal(t, syscall.SIGINT); code != 0 {
		t.Errorf("the watch ends with %d", code)
	}
	w.watchesOnATerminal("green is live")
	if version, _, err := w.get("/version"); err != nil || !strings.Contains(w.kv("deploy"), ":2.0") {
		t.Errorf("%s, %v: %s", version, err, w.kv("deploy"))
	}
	if n := len(w.newest().Resumed); n != 2 {
		t.Errorf("it was resumed %d times", n)
	}
	w.code(w.bg("resume", w.service), 2)
	w.code(w.bg("abort", w.service), 0)
}

// onATerminal runs bg on a terminal and returns all that it wrote there, and its exit
// code.
func (w *world) onATerminal(args ...string) (string, int) {
	w.Helper()
	command := exec.CommandContext(w.Context(), bg, args...)
	command.Dir, command.Env = w.dir, append(os.Environ(), append(w.env, "TERM=xterm", "LC_ALL=C.UTF-8", "NO_COLOR=")...)
	terminal := must(pty.Start(command))
	defer terminal.Close()
	seen, _ := io.ReadAll(terminal) // ends with an error when nobody has the other side open
	_ = command.Wait()              // the exit code says it
	return string(seen), command.ProcessState.ExitCode()
}

// watchesOnATerminal watches the status until a screen of it has word, and ends it
// with Ctrl-C.
func (w *world) watchesOnATerminal(word string) {
	w.Helper()
	command := exec.CommandContext(w.Context(), bg, "status", w.service, "-w")
	command.Dir, command.Env = w.dir, append(os.Environ(), w.env...)
	terminal := must(pty.Start(command))
	defer terminal.Close()
	seen, screens := "", 0
	for buffer := make([]byte, 4096); screens < 2; screens = strings.Count(seen, "\x1b[H\x1b[2J") {
		n, err := terminal.Read(buffer)
		if err != nil {
			w.Fatalf("%v: %q", err, seen)
		}
		seen += string(buffer[:n])
	}
	if !strings.Contains(seen, word) {
		w.Errorf("on the screen is %q", seen)
	}
	must(terminal.WriteString("\x03"))
	if err := command.Wait(); err != nil {
		w.Errorf("Ctrl-C: %v", err)
	}
}

// elsewhere moves to another folder with the same files.
func (w *world) elsewhere() {
	w.Helper()
	dir := w.TempDir()
	for _, name := range must(filepath.Glob(filepath.Join(w.dir, "*"))) {
		text := must(os.ReadFile(name))
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), text, 0o600); err != nil {
			w.Fatal(err)
		}
	}
	w.dir = dir
}

func TestAHeldDeploymentIsSuperseded(t *testing.T) {
	w := newWorld(t)
	w.deploy()
	w.begin()
	w.code(w.bg("deploy", w.service, "--tag", "2.0", "--until", "switch"), 0)
	first := w.newest().ID
	w.deploy("--supersede")
	w.end()
	w.live("green")
	if kept := w.kv("deploys/" + first); !strings.Contains(kept, `"outcome": "aborted"`) {
		t.Errorf("the first one: %s", kept)
	}
}
