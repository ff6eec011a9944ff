package deploy

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bg/color"
	"bg/probe"
)

// probed lets the world's nginx answer for real, with the color that it sends
// to, and has it probed. It returns the number of requests so far.
func (w *world) probed(d *Deployer) *atomic.Int32 {
	w.Helper()
	var asked atomic.Int32
	nginx := d.Proxy.(*scriptedProxy)
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.mu.Lock()
		defer w.mu.Unlock()
		answer.Header().Set("X-BG-Color", string(nginx.live))
	}))
	w.Cleanup(server.Close)
	d.Settings.Probe = probe.Config{URL: server.URL, Path: "/ping", Header: "X-BG-Color", Rate: 200}
	return &asked
}

// answered waits for further requests of the probe.
func (w *world) answered(asked *atomic.Int32) func(context.Context) error {
	return func(ctx context.Context) error {
		for from := asked.Load(); asked.Load() < from+3; {
			if !pause(ctx, time.Millisecond) {
				return context.Cause(ctx)
			}
		}
		return nil
	}
}

func TestADeploymentRecordsWhatClientsSaw(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	asked := w.probed(d)
	w.script["pretest"], w.script["posttest"] = w.answered(asked), w.answered(asked)
	deployed, err := d.Deploy(t.Context(), w.request())
	if err != nil {
		t.Fatal(err)
	}
	seen := w.journal().Probe
	if seen == nil || seen.Failed != 0 || seen.Sent != deployed.Probe.Sent || len(seen.Turns) != 1 || seen.Turns[0].FirstNew == nil {
		t.Fatalf("%+v", seen)
	}
	for step, c := range map[string]color.Color{"pretest": color.Blue, "posttest": color.Green} {
		i := slices.IndexFunc(seen.Steps, func(p probe.Phase) bool { return p.Step == step })
		if i < 0 || seen.Steps[i].Colors[c] < 2 || seen.Steps[i].Failed != 0 {
			t.Errorf("%s: %+v", step, seen.Steps)
		}
	}
	if !slices.ContainsFunc(w.events, func(e Event) bool { return e.Kind == Probed && strings.Contains(e.Message, "first green answer") }) {
		t.Errorf("nobody is told: %+v", w.events)
	}
}

func TestAProbeThatFailsIsAFactAndNoFailure(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	d.Settings.Probe = probe.Config{URL: gone.URL, Path: "/ping", Rate: 200}
	deployed, err := d.Deploy(t.Context(), w.request())
	if err != nil || deployed.Outcome != Done {
		t.Fatalf("%v, %+v", err, deployed)
	}
	if seen := deployed.Probe; seen.Sent == 0 || seen.Failed != seen.Sent || len(seen.Failures) == 0 {
		t.Errorf("%+v", seen)
	}
}

func TestBeforeTheFirstSwitchOfAServiceNothingIsAsked(t *testing.T) {
	w, d := newWorld(t, color.None)
	asked := w.probed(d)
	w.script["apply blue"] = func(context.Context) error {
		if n := asked.Load(); n > 0 {
			t.Errorf("%d requests before the switch", n)
		}
		return nil
	}
	w.script["posttest"] = w.answered(asked)
	deployed, err := d.Deploy(t.Context(), w.request())
	if err != nil {
		t.Fatal(err)
	}
	if seen := deployed.Probe; seen.Sent == 0 || seen.Failed != 0 || seen.Turns[0].From != color.None || seen.Turns[0].FirstNew == nil {
		t.Errorf("%+v", seen)
	}
}

func TestTheUndoOfASwitchIsProbedToo(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	asked := w.probed(d)
	w.failing("posttest", errScript)
	w.script["drained to blue"] = w.answered(asked)
	if _, err := d.Deploy(t.Context(), w.request()); err == nil {
		t.Fatal("the deployment did not fail")
	}
	seen := w.journal().Probe
	if len(seen.Turns) != 2 || seen.Turns[1].To != color.Blue || seen.Turns[1].FirstNew == nil {
		t.Errorf("%+v", seen)
	}
	if !slices.ContainsFunc(seen.Steps, func(p probe.Phase) bool { return p.Step == "undo switch" && p.Colors[color.Blue] > 0 }) {
		t.Errorf("%+v", seen.Steps)
	}
}
