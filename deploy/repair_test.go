package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bg/color"
	"bg/engine"
	"bg/hint"
	"bg/proxy"
)

// damaged is a service whose blue color is live and serves, as it should be, until
// change breaks something.
func damaged(change func(*Damage)) Damage {
	at := time.Date(2026, 11, 21, 1, 2, 30, 0, time.UTC)
	d := Damage{Observation: observed(func(o *Observation) {
		o.live(color.Blue, 32001, blueAddress)
		o.Containers[color.Blue][0].Ports = []engine.Port{{Container: 8080, Host: 32001}}
		o.has(color.Green, "exited")
	})}
	d.Answer = proxy.Answer{URL: "http://proxy", Status: 200, Color: "blue"}
	d.Recorded = Deployment{ID: killed, Service: "books-ms", From: color.Green, To: color.Blue, Outcome: Done, Committed: &at, Ended: &at}
	d.Newest = d.Recorded
	change(&d)
	return d
}

// damages are ways in which parts of a service disagree.
var damages = []struct {
	name   string
	change func(*Damage)
}{
	{"nothing", func(*Damage) {}},
	{"the host was rebooted, and nothing runs", func(d *Damage) {
		d.Containers[color.Blue][0].State, d.Instances[color.Blue] = "exited", nil
	}},
	{"the live container was restarted on another port", func(d *Damage) {
		d.Containers[color.Blue][0].Ports[0].Host, d.Instances[color.Blue][0].Port = 32009, 32009
		d.Answer = proxy.Answer{URL: "http://proxy", Status: 502}
	}},
	{"the registration is gone", func(d *Damage) { d.Instances[color.Blue] = nil }},
	{"a stranger is registered", func(d *Damage) {
		stranger := d.Instances[color.Blue][0]
		stranger.ID, stranger.Port = "other", 1
		d.Instances[color.Blue] = append(d.Instances[color.Blue], stranger)
	}},
	{"nginx's file was edited to send to green", func(d *Damage) {
		d.runs(color.Green, 32002)
		d.Proxy.Upstreams, d.Answer.Color = []string{greenAddress}, "green"
	}},
	{"nginx's file was edited to send to both", func(d *Damage) {
		d.runs(color.Green, 32002)
		d.Proxy.Upstreams = []string{blueAddress, greenAddress}
	}},
	{"nginx's file still has a preview", func(d *Damage) { d.Proxy.Preview = []string{greenAddress} }},
	{"nginx's file was removed", func(d *Damage) { d.Proxy.Upstreams, d.Proxy.Files.Upstreams.Absent = nil, true }},
	{"nginx's file was put right and never read", func(d *Damage) { d.Answer.Color = "green" }},
	{"the idle color was started by hand", func(d *Damage) { d.runs(color.Green, 32002) }},
	{"the idle color is warm", func(d *Damage) {
		d.runs(color.Green, 32002)
		until := time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC)
		d.Recorded.WarmUntil = &until
	}},
	{"the idle color is warm, and no answer tells what nginx has read", func(d *Damage) {
		d.runs(color.Green, 32002)
		until := time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC)
		d.Recorded.WarmUntil, d.Answer.Color = &until, ""
	}},
	{"the color in KV was deleted", func(d *Damage) { d.Live = color.Live{} }},
	{"the color in KV was deleted, and nginx sends to another one", func(d *Damage) {
		d.Live = color.Live{}
		d.runs(color.Green, 32002)
		d.Proxy.Upstreams = []string{greenAddress}
	}},
	{"the color and the journal were deleted", func(d *Damage) {
		d.Live, d.Recorded, d.Newest = color.Live{}, Deployment{}, Deployment{}
	}},
	{"the color in KV was changed to green", func(d *Damage) {
		d.Live = color.Live{Color: color.Green, Index: 9}
	}},
	{"the live color's containers were removed", func(d *Damage) { d.Containers[color.Blue], d.Instances[color.Blue] = nil, nil }},
	{"a deployment is paused", func(d *Damage) {
		d.Newest = Deployment{ID: "20261121-020000-0000", Service: "books-ms", From: color.Blue, To: color.Green, Outcome: Paused, Steps: []Record{{Step: Pretest}}}
	}},
	{"a deployment was killed, and then the color in KV was changed", func(d *Damage) {
		d.Newest = Deployment{ID: "20261121-020000-0000", Service: "books-ms", From: color.Blue, To: color.Green, Outcome: Running}
		d.Live = color.Live{Color: color.Green, Index: 9}
		d.runs(color.Green, 32002)
		d.Proxy.Upstreams, d.Answer.Color = []string{greenAddress}, "green"
	}},
	{"nothing was ever deployed", func(d *Damage) {
		d.Observation = observed(func(*Observation) {})
		d.Recorded, d.Newest, d.Answer = Deployment{}, Deployment{}, proxy.Answer{}
	}},
}

func TestEachDamageHasItsRepair(t *testing.T) {
	var all strings.Builder
	for _, tt := range damages {
		p, err := RepairPlan("books-ms", damaged(tt.change))
		fmt.Fprintf(&all, "%s\n%s\n", tt.name, text(p, err))
	}
	golden(t, "repair", all.String())
}

// deployed is a world in which green was made live by a deployment.
func deployed(t *testing.T) (*world, *Deployer) {
	w, d := newWorld(t, color.Blue)
	must(d.Deploy(t.Context(), w.request()))(t)
	w.calls = nil
	return w, d
}

func TestARepairMakesAllPartsAgreeAgain(t *testing.T) {
	tests := []struct {
		name  string
		harm  func(*world, *Deployer)
		calls string
	}{
		{"nothing", func(*world, *Deployer) {}, ""},
		{"nginx's file was edited", func(_ *world, d *Deployer) {
			d.Proxy.(*scriptedProxy).files.Upstreams.Data = []byte("10.9.9.9:1")
		}, "healthy green, render green, apply green"},
		{"the live container was stopped", func(w *world, d *Deployer) {
			list := d.Engine.(*scriptedEngine).containers[color.Green]
			must(d.Engine.Stop(w.Context(), list, 0))(w.T)
		}, "restart green, healthy green, render green, apply green"},
		{"the color in KV was deleted", func(w *world, _ *Deployer) {
			if _, err := w.consul.KV().Delete(w.service+"/color", nil); err != nil {
				w.Fatal(err)
			}
		}, ""},
		{"the idle container was started", func(w *world, d *Deployer) {
			list := d.Engine.(*scriptedEngine).containers[color.Blue]
			must(d.Engine.Restart(w.Context(), list))(w.T)
		}, "healthy green, render green, apply green, drained to green, stop blue"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, d := deployed(t)
			tt.harm(w, d)
			w.calls = nil
			dry := must(d.Repair(t.Context(), w.request(), true))(t)
			w.called("")
			done := must(d.Repair(t.Context(), w.request(), false))(t)
			w.called(tt.calls)
			w.whole(d, color.Green, Done)
			if verbs(dry) != verbs(done) {
				t.Errorf("announced %s, done %s", verbs(dry), verbs(done))
			}
			if again := must(d.Repair(t.Context(), w.request(), true))(t); len(again.Steps) > 0 {
				t.Errorf("it is not whole: %s", again.Text())
			}
		})
	}
}

func TestARepairThatFailsSaysInWhichStep(t *testing.T) {
	w, d := deployed(t)
	d.Proxy.(*scriptedProxy).files.Upstreams.Data = []byte("10.9.9.9:1")
	w.failing("apply green", errScript)
	_, err := d.Repair(t.Context(), w.request(), false)
	if _, half := errors.AsType[*HalfwayError](err); !half || !errors.Is(err, errScript) || !strings.Contains(err.Error(), "switch green") {
		t.Errorf("%v", err)
	}
	w.unlocked()
}

func TestARepairGivesUpADeploymentThatSomebodysColorMadeVoid(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	dead := w.kill(d, "posttest")
	if _, err := d.Repair(t.Context(), w.request(), false); !errors.Is(err, ErrUnfinished) || !strings.Contains(hint.Of(err), "bg abort") {
		t.Fatalf("it is repaired while it can be resumed: %v", err)
	}
	w.put("color", "green")
	must(d.Repair(t.Context(), w.request(), false))(t)
	w.whole(d, color.Green, Interrupted)
	if kept := w.kept(d, dead.ID); kept.Reason == "" {
		t.Errorf("kept: %+v", kept)
	}
}

func TestAnInterruptEndsARepairBeforeItsNextStep(t *testing.T) {
	w, d := deployed(t)
	d.Proxy.(*scriptedProxy).files.Upstreams.Data = []byte("10.9.9.9:1")
	ctx, cancel := context.WithCancelCause(t.Context())
	w.script["healthy green"] = func(context.Context) error { cancel(ErrInterrupted); return nil }
	if _, err := d.Repair(ctx, w.request(), false); !errors.Is(err, ErrInterrupted) {
		t.Fatalf("%v", err)
	}
	if slices.Contains(w.calls, "apply green") {
		t.Error("nginx was changed")
	}
}
