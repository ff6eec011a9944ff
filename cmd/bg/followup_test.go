package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bg/config"
	"bg/deploy"
)

// follow tells what follows a deployment that ended, for a bg.yml.
func follow(t *testing.T, yaml string, outcome deploy.Outcome) (dir, notes string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bg.yml"), []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Source{Dir: dir, Service: "books-ms"})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	f, err := newFollowup(cfg, &plainReporter{w: &text})
	if err != nil {
		t.Fatal(err)
	}
	f.report(after(0, deploy.Event{Kind: deploy.Finished, Deployment: record(outcome)}))
	f.end(t.Context())
	return dir, text.String()
}

func TestHooksAndMetricsFollowADeployment(t *testing.T) {
	dir, notes := follow(t, "report: out.html\nhooks: [ { on: failed, run: 'echo $BG_DEPLOY > ran' }, { on: done, run: 'touch never' } ]\nmetrics: { file: '{service}.prom' }\n", deploy.Failed)
	ran, err := os.ReadFile(filepath.Join(dir, "ran"))
	if err != nil || string(ran) != record(deploy.Failed).ID+"\n" {
		t.Errorf("the hook: %q, %v\n%s", ran, err, notes)
	}
	numbers, err := os.ReadFile(filepath.Join(dir, "books-ms.prom"))
	if err != nil || !strings.Contains(string(numbers), `bg_deployment_outcome{outcome="failed",service="books-ms"} 1`) {
		t.Errorf("the metrics: %s, %v\n%s", numbers, err, notes)
	}
	if _, err := os.Stat(filepath.Join(dir, "never")); err == nil {
		t.Error("a hook of another outcome was called")
	}
}

func TestWhatFailsAfterADeploymentIsAWarning(t *testing.T) {
	_, notes := follow(t, "hooks: [ { on: end, run: 'exit 4' } ]\nmetrics: { file: none/a.prom, push: 'http://127.0.0.1:1' }\n", deploy.Done)
	for _, want := range []string{"warning: hook done: exit 4: exit status 4", "write metrics", "push metrics to http://127.0.0.1:1"} {
		if !strings.Contains(notes, want) {
			t.Errorf("not said: %s\n%s", want, notes)
		}
	}
}

func TestAWebhookWithoutItsVariableStopsBeforeAnythingIsChanged(t *testing.T) {
	got := command(t, map[string]string{
		"bg.yml": "service: books-ms\nhooks: [ { on: end, webhook: { url: '${NOT_SET_BY_ANYBODY}' } } ]\n", "docker-compose.yml": "services: {}",
		"nginx-upstreams-blue.ctmpl": "", "nginx-upstreams-green.ctmpl": "",
	}, "deploy", "books-ms")
	if got.code != exitUsage || !strings.Contains(got.err, "NOT_SET_BY_ANYBODY") || !strings.Contains(got.err, "hint: export") {
		t.Errorf("%+v", got)
	}
}

func TestHooksKnowEveryStepAndOutcome(t *testing.T) {
	for verb := range stepCodes {
		if !slices.Contains(config.StepWords(), string(verb)) {
			t.Errorf("no hook can be on %s", verb)
		}
	}
	for _, outcome := range []deploy.Outcome{deploy.Done, deploy.Failed, deploy.Interrupted, deploy.UndoFailed} {
		if !slices.Contains(config.OutcomeWords(), string(outcome)) {
			t.Errorf("no hook can be on %s", outcome)
		}
	}
}
