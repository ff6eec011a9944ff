package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bg/load"
)

// asks are the ways in which a client asks for the color that is held.
var asks = []string{"X-BG-Preview: green", "Cookie: a=b; X-BG-Preview=green; c=d"}

// shipped gives the folder the templates that bg init writes.
func (w *world) shipped() {
	w.Helper()
	for _, name := range []string{"nginx-upstreams-blue.ctmpl", "nginx-upstreams-green.ctmpl", "nginx-includes.conf"} {
		if err := os.Remove(filepath.Join(w.dir, name)); err != nil {
			w.Fatal(err)
		}
	}
	w.code(w.bg("init", w.service, "--yes"), 0)
}

// previewing sends requests that ask for green until the end of the test.
func (w *world) previewing() *load.Load {
	w.Helper()
	var clients []load.Clients
	for _, line := range asks {
		clients = append(clients,
			load.Clients{Name: line, Number: 1, Path: "/ping", KeepAlive: true, Pause: 2 * time.Millisecond, Label: "X-Color", Header: line},
			load.Clients{Name: line + ", slow", Number: 2, Path: "/api/v1/slow?ms=700", Label: "X-Color", Header: line})
	}
	l, err := load.Start(w.Context(), w.url, clients...)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { l.Stop() })
	return l
}

// reaches compares who answers a client with one more line in its request's head.
func (w *world) reaches(line, want string) {
	w.Helper()
	request, err := http.NewRequestWithContext(w.Context(), http.MethodGet, w.url+"/ping", nil)
	if err != nil {
		w.Fatal(err)
	}
	request.Close = true
	if name, value, found := strings.Cut(line, ": "); found {
		request.Header.Set(name, value)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		w.Fatal(err)
	}
	defer answer.Body.Close()
	if got, told := answer.Header.Get("X-Color"), answer.Header.Get("X-BG-Color"); got != want || told != want {
		w.Errorf("%q is answered by %q, and told %q, instead of %s", line, got, told, want)
	}
}

// hold deploys green and holds it. Who does not ask for it sees blue alone.
func (w *world) hold() {
	w.Helper()
	w.begin()
	r := w.bg("deploy", w.service, "--tag", "2.0", "--hold")
	w.code(r, 0)
	w.says(r, "is paused after pretest", "preview: curl -H 'X-BG-Preview: green' "+w.url+"/ping", "cookie X-BG-Preview=green")
	for _, line := range asks {
		w.reaches(line, "green")
	}
	for _, line := range []string{"", "X-BG-Preview: blue", "X-BG-Preview: greenish", "Cookie: X-BG-Preview=blue", "Cookie: not-X-BG-Preview=green"} {
		w.reaches(line, "blue")
	}
	w.live("blue")
	for _, r := range w.end() {
		if len(r.Labels) != 1 || r.Labels["blue"] == 0 {
			w.Errorf("%s: who did not ask for it saw %v", r.Name, r.Labels)
		}
	}
}

// asked compares the counts of those who ask for green: none may have failed.
func (w *world) asked(l *load.Load) {
	w.Helper()
	for _, r := range l.Results() {
		if r.Failed > 0 || r.Labels["blue"] == 0 || r.Labels["green"] == 0 {
			w.Errorf("%d of %d %s requests failed: %v; answers: %v", r.Failed, r.Sent, r.Name, r.Errors, r.Labels)
		}
	}
}

func TestAHeldColorIsReachedByWhoAsksForItAndNobodyElse(t *testing.T) {
	w := newWorld(t)
	w.shipped()
	w.deploy()
	previews := w.previewing()
	w.hold()
	w.says(w.bg("status", w.service), "paused in pretest", "preview: curl -H 'X-BG-Preview: green'")
	w.begin()
	w.code(w.bg("abort", w.service), 0)
	w.end()
	w.asked(previews)
	for _, line := range append(asks, "") {
		w.reaches(line, "blue")
	}
	w.nothingLeft()
	if file := docker(w, "exec", w.nginx, "cat", "/etc/nginx/upstreams/"+w.service+".conf"); strings.Contains(file, "bg-preview") {
		t.Errorf("nginx still has the preview:\n%s", file)
	}

	w.hold()
	w.begin()
	w.code(w.bg("resume", w.service), 0)
	w.end()
	previews.Stop()
	w.asked(previews)
	w.live("green")
	for _, line := range append(asks, "", "X-BG-Preview: blue") {
		w.reaches(line, "green")
	}
	if got := w.containers(); !strings.Contains(got, "-app-blue-1 exited") {
		t.Errorf("containers: %s", got)
	}
	w.code(w.bg("rollback", w.service, "--hold"), 0)
	w.reaches("X-BG-Preview: blue", "blue")
	w.reaches("", "green")
	w.code(w.bg("resume", w.service), 0)
	w.reaches("X-BG-Preview: green", "blue")
}

func TestABgThatIsKilledWhileItExposesAHeldColorIsRecoveredFrom(t *testing.T) {
	for _, c := range []struct{ name, args, live string }{
		{"aborted", "abort", "blue"},
		{"resumed", "resume", "green"},
		{"replaced", "deploy", "green"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.shipped()
			w.deploy()
			w.begin()
			previews := w.previewing()
			w.settings("hooks: [ { on: after, timeout: 2m, run: 'test $BG_STEP != expose || { echo exposed; sleep 60; }' } ]\n")
			w.start("exposed", "deploy", w.service, "--tag", "2.0", "--hold").signal(w, syscall.SIGKILL)
			w.settings("")
			w.reaches("", "blue")
			w.reaches(asks[0], "green")
			w.code(w.bg(c.args, w.service), 0)
			w.end()
			previews.Stop()
			w.asked(previews)
			for _, line := range append(asks, "") {
				w.reaches(line, c.live)
			}
			w.live(c.live)
			if c.live == "blue" {
				w.nothingLeft()
			}
		})
	}
}

func TestAHeldColorOfATemplateWithoutAPreviewIsHeldAllTheSame(t *testing.T) {
	w := newWorld(t)
	w.deploy()
	r := w.bg("deploy", w.service, "--hold")
	w.code(r, 0)
	if strings.Contains(r.report+r.out, "expose") || strings.Contains(r.report+r.out, "preview:") {
		t.Errorf("it is exposed:\n%s%s", r.report, r.out)
	}
	w.reaches(asks[0], "blue")
}
