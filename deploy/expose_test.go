package deploy

import (
	"errors"
	"strings"
	"testing"

	"bg/color"
	"bg/proxy"
)

// The calls of a deployment that is held and exposed.
const (
	expose   = ", render blue with green, expose with blue"
	unexpose = "restore blue, drained to blue, stop green, remove green"
)

// newHeld returns a world in which blue serves and whose templates have a preview, and a request that holds
// green.
func newHeld(t *testing.T) (*world, *Deployer, Request) {
	t.Helper()
	w, d := newWorld(t, color.Blue)
	d.Proxy.(*scriptedProxy).previews = true
	held := w.request()
	held.Until = Pretest
	return w, d, held
}

func TestAColorThatIsHeldIsExposedUntilItIsResumed(t *testing.T) {
	w, d, held := newHeld(t)
	paused := must(d.Deploy(t.Context(), held))(t)
	w.called(upToPretest + expose)
	nginx := d.Proxy.(*scriptedProxy)
	if green := address(d.Engine.(*scriptedEngine).containers[color.Green][0]); string(nginx.files.Includes.Data) != green || nginx.files.Color != color.Blue {
		t.Errorf("nginx sends to %s, and who asks for it to %s", nginx.files.Color, nginx.files.Includes.Data)
	}
	if kept := w.journal(); kept.Outcome != Paused || kept.At() != Pretest || kept.Before == nil || kept.Preview != paused.Preview {
		t.Errorf("kept: %+v", kept)
	}
	if want := "preview: curl -H 'X-BG-Preview: green' http://proxy.invalid/ (or with the cookie X-BG-Preview=green)"; paused.PreviewText() != want {
		t.Errorf("%q instead of %q", paused.PreviewText(), want)
	}
	w.calls = nil
	must(d.Resume(t.Context(), held))(t) // held once more
	w.called("healthy green" + expose)
	resumed := must(d.Resume(t.Context(), w.request()))(t)
	w.whole(d, color.Green, Done)
	if resumed.Preview != "" {
		t.Errorf("it still has a preview: %+v", resumed)
	}
}

func TestAColorThatIsExposedGoesOnlyAfterTheLastWorkerThatSendsToIt(t *testing.T) {
	for name, do := range map[string]func(*world, *Deployer){
		"abort": func(w *world, d *Deployer) { must(d.Abort(w.Context(), w.request()))(w.T) },
		"supersede": func(w *world, d *Deployer) {
			next := w.request()
			next.Supersede, next.Until = true, Start
			must(d.Deploy(w.Context(), next))(w.T)
		},
		"a resume that fails": func(w *world, d *Deployer) {
			w.failing("healthy green", errScript)
			if _, err := d.Resume(w.Context(), w.request()); !errors.Is(err, errScript) {
				w.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, d, held := newHeld(t)
			must(d.Deploy(t.Context(), held))(t)
			w.calls = nil
			do(w, d)
			if !strings.Contains(strings.Join(w.calls, ", "), unexpose) {
				t.Errorf("%s", w.calls)
			}
			w.serving(d, color.Blue)
		})
	}
}

func TestAKillWhileAColorIsExposedIsRecoveredFromAsFromASwitch(t *testing.T) {
	for _, call := range []string{"render blue with green", "expose with blue"} {
		for name, do := range map[string]func(*world, *Deployer) color.Color{
			"abort":  func(w *world, d *Deployer) color.Color { return must(d.Abort(w.Context(), w.request()))(w.T).From },
			"resume": func(w *world, d *Deployer) color.Color { return must(d.Resume(w.Context(), w.request()))(w.T).To },
			"deploy": func(w *world, d *Deployer) color.Color { return must(d.Deploy(w.Context(), w.request()))(w.T).To },
		} {
			t.Run(name+" after "+call, func(t *testing.T) {
				w, d, held := newHeld(t)
				dead := w.killAs(d, call, held)
				if dead.At() != Expose || dead.Before == nil {
					t.Fatalf("it was not killed there: %+v", dead)
				}
				live := do(w, d)
				w.serving(d, live)
				if calls := strings.Join(w.calls, ", "); name != "resume" && !strings.HasPrefix(strings.ReplaceAll(calls, "render blue, ", ""), unexpose) {
					t.Errorf("%s", calls)
				}
			})
		}
	}
}

func TestAColorThatCannotBeExposedIsHeldAllTheSame(t *testing.T) {
	w, d, held := newHeld(t)
	w.failing("expose with blue", proxy.ErrUnconfirmed)
	paused := must(d.Deploy(t.Context(), held))(t)
	if paused.Outcome != Paused || paused.Preview != "" || len(paused.Warnings) != 1 || !strings.Contains(paused.Warnings[0], "cannot be reached through nginx") {
		t.Errorf("%+v", paused)
	}
	w.serving(d, color.Blue)
	must(d.Resume(t.Context(), w.request()))(t)
	w.whole(d, color.Green, Done)
}

func TestAnExposureThatCannotBeTakenBackIsAnUndoThatFailed(t *testing.T) {
	w, d, held := newHeld(t)
	w.failing("expose with blue", proxy.ErrRestore)
	_, err := d.Deploy(t.Context(), held)
	if failed, ok := errors.AsType[*StepError](err); !ok || failed.Verb != Expose || failed.Undo == nil {
		t.Errorf("%v", err)
	}
	if w.running(d, color.Green) != 1 {
		t.Error("green was stopped while nobody knows who reaches it")
	}
}

func TestOnlyAColorThatWaitsBehindALiveOneIsExposed(t *testing.T) {
	for _, until := range order {
		plan, err := MakePlan(Request{Service: "books-ms", Until: until}, observed(func(o *Observation) {
			o.live(color.Blue, 32001, blueAddress)
			o.Proxy.Previews = true
		}))
		if exposed := plan.has(Expose); err != nil || exposed != (until == Register || until == Pretest) {
			t.Errorf("until %s: %s, %v", until, verbs(plan), err)
		}
	}
	first, err := MakePlan(Request{Service: "books-ms", Until: Pretest}, observed(func(o *Observation) { o.Proxy.Previews = true }))
	if err != nil || first.has(Expose) {
		t.Errorf("a first deployment: %s, %v", verbs(first), err)
	}
	switched := killedIn(Switch, color.Blue)
	switched.Proxy.Previews = true
	again, err := ResumePlan(Request{Service: "books-ms", Until: Pretest}, switched.Deployment, switched.Observation)
	if err != nil || again.has(Expose) {
		t.Errorf("after a switch was begun: %s, %v", verbs(again), err)
	}
}
