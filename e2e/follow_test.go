package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// receiver takes all that bg sends: webhooks, numbers, traces.
type receiver struct {
	*httptest.Server
	mu  sync.Mutex
	got map[string][]string // bodies by path
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{got: map[string][]string{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got[request.URL.Path] = append(r.got[request.URL.Path], string(body))
	}))
	t.Cleanup(r.Close)
	return r
}

// last returns what was sent to a path last.
func (r *receiver) last(t *testing.T, path string) string {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.got[path]
	if len(list) == 0 {
		t.Fatalf("nothing was sent to %s, but to %v", path, r.got)
	}
	return list[len(list)-1]
}

// followed are the settings of what follows a deployment.
func followed(to *receiver) string {
	return fmt.Sprintf(`report: out.html
metrics: { push: "%[1]s" }
hooks:
  - { on: [before switch, after commit], run: 'echo "$BG_HOOK of $BG_COLOR in $BG_DEPLOY" >> called' }
  - { on: [done, failed], webhook: { url: "%[1]s/slack" } }
  - { on: end, webhook: { url: "%[1]s/json", format: json } }
`, to.URL)
}

func TestHooksNumbersATraceAndAReportFollowADeployment(t *testing.T) {
	w := newWorld(t)
	to := newReceiver(t)
	w.env = append(w.env, "OTEL_EXPORTER_OTLP_ENDPOINT="+to.URL)
	w.settings(followed(to))
	w.deploy()
	id := w.newest().ID
	if called, want := w.read("called"), "before switch of blue in "+id+"\nafter commit of blue in "+id+"\n"; called != want {
		t.Errorf("the hooks: %q instead of %q", called, want)
	}
	if said := to.last(t, "/slack"); !strings.Contains(said, w.service+" is blue now") {
		t.Errorf("Slack is told %s", said)
	}
	if numbers := to.last(t, "/metrics/job/bg/service/"+w.service); !strings.Contains(numbers, "bg_deployment_step_duration_seconds") {
		t.Errorf("the numbers: %q", numbers)
	}
	if trace := to.last(t, "/v1/traces"); !strings.Contains(trace, "deploy "+w.service) || !strings.Contains(trace, "posttest") {
		t.Errorf("the trace: %q", trace)
	}
	if page := w.read("out.html"); !strings.HasPrefix(page, "<!DOCTYPE html>") || !strings.Contains(page, id) {
		t.Errorf("the report: %.300s", page)
	}

	if r := w.bg("report", w.service, id[len(id)-6:]); r.code != 0 || !strings.Contains(r.out, id) {
		t.Errorf("the same, later: %d %s %.300s", r.code, r.report, r.out)
	}

	w.begin()
	w.settings(followed(to) + "  - { on: before commit, required: true, run: 'echo not today; exit 3' }\n")
	r := w.bg("deploy", w.service, "--report", "failed.html")
	w.end()
	w.code(r, 16)
	w.says(r, "not today", "hook before commit")
	w.live("blue")
	w.nothingLeft()
	var told struct {
		Moment     string
		Deployment struct{ ID, Outcome, Reason string }
	}
	if err := json.Unmarshal([]byte(to.last(t, "/json")), &told); err != nil || told.Moment != "failed" || told.Deployment.ID != w.newest().ID || !strings.Contains(told.Deployment.Reason, "exit status 3") {
		t.Errorf("%v: told %+v", err, told)
	}
	if said := to.last(t, "/slack"); !strings.Contains(said, w.service+" stays blue") {
		t.Errorf("Slack is told %s", said)
	}
	if page := w.read("failed.html"); !strings.Contains(page, "not today") || !strings.Contains(page, "probes failed") {
		t.Errorf("the report of the failure: %.300s", page)
	}
}

// read returns a file of the service's folder.
func (w *world) read(name string) string {
	w.Helper()
	return string(must(os.ReadFile(filepath.Join(w.dir, name))))
}
