package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"bg/color"
	"bg/hint"
	"bg/proxy"
	"bg/registry"
)

// kills are the calls in which a deployment of green ends as if bg were killed:
// nothing of it runs any more, not even its undo.
var kills = []struct {
	call string
	live bool // green is live by then
}{
	{call: "start green"},
	{call: "healthy green"},
	{call: "pretest"},
	{call: "render green"},
	{call: "apply green"},
	{call: "posttest"},
	{call: "commit"},
	{call: "after the commit", live: true},
	{call: "drained to green", live: true},
	{call: "stop blue", live: true},
}

// kill deploys green until a call and ends there. The lock is free afterwards, as
// it is a while after a real kill.
func (w *world) kill(d *Deployer, call string) Deployment {
	w.Helper()
	return w.killAs(d, call, w.request())
}

// killAs is kill for another request.
func (w *world) killAs(d *Deployer, call string, request Request) Deployment {
	w.Helper()
	d.Journal = scriptedJournal{Journal: d.Journal, world: w, save: func(commit func() error) error {
		err := commit()
		if call == "after the commit" {
			runtime.Goexit()
		}
		return err
	}}
	w.script[call] = func(context.Context) error { runtime.Goexit(); return nil }
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if _, err := d.Deploy(w.Context(), request); err != nil {
			w.Error(err)
		}
	}()
	<-ended
	delete(w.script, call)
	d.Journal = d.Journal.(scriptedJournal).Journal
	w.calls = nil
	return w.journal()
}

// kept returns the document of a deployment.
func (w *world) kept(d *Deployer, id string) Deployment {
	w.Helper()
	var kept Deployment
	if err := json.Unmarshal(must(d.Journal.Read(w.Context(), w.service, id))(w.T), &kept); err != nil {
		w.Fatal(err)
	}
	return kept
}

// whole checks that c serves, that the other color does not run, and that the
// newest deployment is over with that outcome.
func (w *world) whole(d *Deployer, c color.Color, outcome Outcome) {
	w.Helper()
	w.serving(d, c)
	w.unlocked()
	if n := w.running(d, color.Next(c)); n != 0 {
		w.Errorf("%d containers of %s run", n, color.Next(c))
	}
	if newest := w.journal(); newest.Outcome != outcome || newest.Open() {
		w.Errorf("the newest deployment: %+v", newest)
	}
}

func TestADeploymentThatWasKilledAnywhereIsResumed(t *testing.T) {
	for _, k := range kills {
		t.Run(k.call, func(t *testing.T) {
			w, d := newWorld(t, color.Blue)
			dead := w.kill(d, k.call)
			if !dead.Open() || dead.Live() != k.live {
				t.Fatalf("it was not killed there: %+v", dead)
			}
			resumed, err := d.Resume(t.Context(), w.request())
			if err != nil {
				t.Fatal(err)
			}
			w.whole(d, color.Green, Done)
			if resumed.ID != dead.ID || len(resumed.Resumed) != 1 {
				t.Errorf("resumed: %+v", resumed)
			}
		})
	}
}

func TestADeploymentThatWasKilledBeforeItsCommitIsAborted(t *testing.T) {
	for _, k := range kills {
		t.Run(k.call, func(t *testing.T) {
			w, d := newWorld(t, color.Blue)
			w.kill(d, k.call)
			_, err := d.Abort(t.Context(), w.request())
			if k.live {
				if !errors.Is(err, ErrOver) || hint.Of(err) == "" {
					t.Errorf("%v", err)
				}
				w.serving(d, color.Green)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			w.whole(d, color.Blue, Aborted)
		})
	}
}

func TestADeploymentThatWasKilledAnywhereIsClearedAwayByTheNextOne(t *testing.T) {
	for _, k := range kills {
		t.Run(k.call, func(t *testing.T) {
			w, d := newWorld(t, color.Blue)
			dead := w.kill(d, k.call)
			plan := must(d.Plan(t.Context(), w.request()))(t)
			next, err := d.Deploy(t.Context(), w.request())
			if err != nil {
				t.Fatal(err)
			}
			want, outcome := color.Green, Interrupted
			if k.live {
				want, outcome = color.Blue, Done
			}
			w.whole(d, want, Done)
			if earlier := w.kept(d, dead.ID); earlier.Outcome != outcome || earlier.Open() || next.ID <= dead.ID {
				t.Errorf("the earlier one: %+v", earlier)
			}
			if plan.To != want {
				t.Errorf("planned was %s", plan.Text())
			}
		})
	}
}

func TestADeploymentThatCannotFinishTheOneBeforeSaysSoAndBeginsNothing(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	dead := w.kill(d, "stop blue")
	w.failing("stop blue", registry.ErrUnreachable)
	deployed, err := d.Deploy(t.Context(), w.request())
	if _, half := errors.AsType[*HalfwayError](err); !half || !strings.Contains(err.Error(), dead.ID+": stop: ") {
		t.Errorf("%v", err)
	}
	if _, own := errors.AsType[*StepError](err); own || deployed != nil {
		t.Errorf("it is told as a step of the deployment: %v", err)
	}
	if left := w.journal(); left.ID != dead.ID || !left.Open() {
		t.Errorf("the newest deployment: %+v", left)
	}
}

func TestAnAbortWhoseEndCannotBeWrittenWasNotWithoutChange(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	w.kill(d, "posttest")
	d.Journal = mute{d.Journal}
	_, err := d.Abort(t.Context(), w.request())
	if _, half := errors.AsType[*HalfwayError](err); !half || !errors.Is(err, registry.ErrUnreachable) {
		t.Errorf("%v", err)
	}
}

// mute is a journal that takes nothing.
type mute struct{ Journal }

func (mute) Save(context.Context, *registry.Lock, string, string, []byte, ...*api.TxnOp) error {
	return noAnswer
}

func TestAKillInTheUndoOfASwitchIsUndoneWithAReload(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	w.failing("posttest", errScript)
	dead := w.kill(d, "restore blue")
	if len(dead.Undo) != 1 || dead.Undo[0].Step != Switch || dead.Undo[0].Duration != "" {
		t.Fatalf("the intent of the undo is not kept: %+v", dead.Undo)
	}
	if _, err := d.Resume(t.Context(), w.request()); !errors.Is(err, ErrOver) {
		t.Errorf("it is resumed: %v", err)
	}
	// The files were put back by whoever was killed; what nginx runs with is not known.
	nginx := d.Proxy.(*scriptedProxy)
	nginx.files = proxy.Files{Color: color.Blue, Upstreams: dead.Before.files(color.Blue).Upstreams}
	if _, err := d.Abort(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
	w.called("restore blue, drained to blue, stop green, remove green")
	w.whole(d, color.Blue, Aborted)
}

func TestAKillWhileNginxLeavesWhatIsToBeReplacedIsFollowedByAReload(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	old := must(d.Engine.Start(t.Context(), d.Source, color.Green, ""))(t)[0]
	dead := w.kill(d, "apply blue")
	if dead.At() != Switch || dead.begun(Start) {
		t.Fatalf("it was not killed there: %+v", dead)
	}
	w.script["start green"] = func(context.Context) error { w.deregister(old.ID); return nil } // it is replaced
	must(d.Deploy(t.Context(), w.request()))(t)
	if want := []string{"render blue", "restore blue", "drained to blue"}; !slices.Equal(w.calls[:3], want) {
		t.Errorf("it does not begin with %s: %s", want, w.calls)
	}
	w.whole(d, color.Green, Done)
}

func TestAResumedDeploymentNeverReplacesWhatNginxSendsTo(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	held := w.request()
	held.Until = Switch
	must(d.Deploy(t.Context(), held))(t)
	list := d.Engine.(*scriptedEngine).containers[color.Green]
	must(d.Engine.Stop(t.Context(), list, 0))(t)
	w.calls = nil
	must(d.Resume(t.Context(), w.request()))(t)
	w.called("render blue, apply blue, drained to blue, " + upToPosttest + ", drained to green, stop blue")
	w.whole(d, color.Green, Done)
}

func TestWhatIsLiveIsSeenServingBeforeTheOldColorStops(t *testing.T) {
	for name, do := range map[string]func(*Deployer) (*Deployment, error){
		"resume": func(d *Deployer) (*Deployment, error) {
			return d.Resume(t.Context(), Request{Service: d.Source.Service})
		},
		"the next deployment": func(d *Deployer) (*Deployment, error) {
			return d.Deploy(t.Context(), Request{Service: d.Source.Service, Until: Start})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, d := newWorld(t, color.Blue)
			before := d.Proxy.(*scriptedProxy).files
			w.kill(d, "drained to green")
			d.Proxy.(*scriptedProxy).files = before // switched back by hand
			must(do(d))(t)
			if want := []string{"render green", "apply green", "drained to green", "stop blue"}; len(w.calls) < 4 || !slices.Equal(w.calls[:4], want) {
				t.Errorf("%s", w.calls)
			}
			w.serving(d, color.Green)
		})
	}
}

func TestAFirstDeploymentThatIsAbortedLeavesNginxAsItWas(t *testing.T) {
	w, d := newWorld(t, color.None)
	request := w.request()
	request.Until = Posttest
	must(d.Deploy(t.Context(), request))(t)
	aborted := must(d.Abort(t.Context(), w.request()))(t)
	if left := d.Engine.(*scriptedEngine).containers[color.Blue]; len(left) > 0 || aborted.Outcome != Aborted {
		t.Errorf("left: %+v, %+v", left, aborted)
	}
	if files := d.Proxy.(*scriptedProxy).files; len(files.Upstreams.Data) > 0 {
		t.Errorf("nginx has %s", files.Upstreams.Data)
	}
}

func TestAHeldDeploymentKeepsTheServiceUntilItIsResumed(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	held := w.request()
	held.Until = Pretest
	paused := must(d.Deploy(t.Context(), held))(t)
	w.called(upToPretest)
	w.serving(d, color.Blue)
	w.unlocked()
	if kept := w.journal(); kept.Outcome != Paused || kept.Paused == nil || kept.Ended != nil || !kept.did(Pretest) {
		t.Errorf("kept: %+v", kept)
	}

	_, err := d.Deploy(t.Context(), w.request())
	if taken, ok := errors.AsType[*PausedError](err); !ok || taken.Deployment.ID != paused.ID || hint.Of(err) == "" {
		t.Fatalf("another deployment: %v", err)
	}
	if _, err := d.Plan(t.Context(), w.request()); err == nil {
		t.Error("another deployment can be planned")
	}
	other := w.request()
	other.ID = "20200101-000000-0000"
	if _, err := d.Resume(t.Context(), other); !errors.Is(err, ErrOtherDeployment) {
		t.Errorf("resumed as another one: %v", err)
	}

	w.calls = nil
	staged := w.request()
	staged.ID, staged.Until = paused.ID, Posttest
	must(d.Resume(t.Context(), staged))(t)
	w.called("healthy green, render green, apply green, posttest")
	must(d.Resume(t.Context(), w.request()))(t)
	w.whole(d, color.Green, Done)
	if _, err := d.Resume(t.Context(), w.request()); !errors.Is(err, ErrNothingOpen) {
		t.Errorf("there is something to resume: %v", err)
	}
}

// slowProof is an nginx whose proof of files takes until the deployment is told to
// have ended, or a while.
type slowProof struct {
	Proxy
	ended chan struct{}
	over  atomic.Bool
}

func (p *slowProof) Prepare(context.Context, proxy.RenderInput) error {
	select {
	case <-p.ended:
	case <-time.After(300 * time.Millisecond):
	}
	p.over.Store(true)
	return nil
}

func TestADeploymentThatIsHeldBeforeTheSwitchLeavesNoProofUnderWay(t *testing.T) {
	for _, until := range []Verb{Register, Pretest} {
		t.Run(string(until), func(t *testing.T) {
			w, d := newWorld(t, color.Blue)
			proof := &slowProof{Proxy: d.Proxy, ended: make(chan struct{})}
			d.Proxy = proof
			d.Report = func(e Event) {
				if e.Kind != Finished {
					return
				}
				if !proof.over.Load() {
					t.Error("it is still going on")
				}
				close(proof.ended)
			}
			held := w.request()
			held.Until = until
			must(d.Deploy(t.Context(), held))(t)
		})
	}
}

func TestADeploymentThatSupersedesAPausedOneAbortsItFirst(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	held := w.request()
	held.Until = Switch
	paused := must(d.Deploy(t.Context(), held))(t)
	w.calls = nil
	next := w.request()
	next.Supersede = true
	must(d.Deploy(t.Context(), next))(t)
	w.called("restore blue, drained to blue, stop green, remove green, " + upToPosttest + ", drained to green, stop blue")
	w.whole(d, color.Green, Done)
	if earlier := w.kept(d, paused.ID); earlier.Outcome != Aborted {
		t.Errorf("the paused one: %+v", earlier)
	}
}

func TestAResumedDeploymentThatFailsIsUndoneAsAWhole(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	held := w.request()
	held.Until = Switch
	must(d.Deploy(t.Context(), held))(t)
	w.calls = nil
	w.failing("posttest", errScript)
	if _, err := d.Resume(t.Context(), w.request()); !errors.Is(err, errScript) {
		t.Fatalf("%v", err)
	}
	w.called("healthy green, render green, apply green, posttest" + undoSwitch)
	w.whole(d, color.Blue, Failed)
}

func TestARollbackThatWasHeldIsAbortedAndKeepsItsContainers(t *testing.T) {
	w, d := newWorld(t, color.None)
	must(d.Deploy(t.Context(), w.request()))(t)
	must(d.Deploy(t.Context(), w.request()))(t)
	back := w.request()
	back.Rollback, back.Until = true, Switch
	held := must(d.Deploy(t.Context(), back))(t)
	w.calls = nil
	must(d.Abort(t.Context(), w.request()))(t)
	w.called("restore green, drained to green, stop blue")
	w.whole(d, color.Green, Aborted)
	if kept := d.Engine.(*scriptedEngine).containers[color.Blue]; len(kept) != 1 || !held.Kept {
		t.Errorf("kept: %+v", kept)
	}
}

func TestAnAbortThatFailsCanBeTriedAgain(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	held := w.request()
	held.Until = Switch
	must(d.Deploy(t.Context(), held))(t)
	w.failing("restore blue", errScript)
	_, err := d.Abort(t.Context(), w.request())
	if failed, ok := errors.AsType[*StepError](err); !ok || failed.Undo == nil || !errors.Is(err, errScript) {
		t.Fatalf("%v", err)
	}
	if w.running(d, color.Green) != 1 || w.journal().Outcome != UndoFailed {
		t.Errorf("green was stopped, or: %+v", w.journal())
	}
	delete(w.script, "restore blue")
	must(d.Abort(t.Context(), w.request()))(t)
	w.whole(d, color.Blue, Aborted)
}

func TestAColorThatSomebodyChangedKeepsAnInterruptedDeploymentFromBeingUndone(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	dead := w.kill(d, "posttest")
	w.put("color", "green")
	for name, do := range map[string]func(context.Context, Request) (*Deployment, error){"abort": d.Abort, "resume": d.Resume} {
		if _, err := do(t.Context(), w.request()); !errors.Is(err, ErrInconsistent) || hint.Of(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.called("")
	old := d.Engine.(*scriptedEngine).containers[color.Blue][0]
	w.script["start blue"] = func(context.Context) error { w.deregister(old.ID); return nil } // it is replaced
	must(d.Deploy(t.Context(), w.request()))(t)
	w.whole(d, color.Blue, Done)
	if want := []string{"render green", "apply green", "drained to green", "start blue"}; !slices.Equal(w.calls[:4], want) {
		t.Errorf("blue is replaced while nginx may send to it: %s", w.calls)
	}
	if given := w.kept(d, dead.ID); given.Outcome != Interrupted || len(given.Undo) > 0 || len(given.Warnings) != 1 {
		t.Errorf("the earlier one: %+v", given)
	}
}

func TestAJournalThatSomebodyEditedIsNotActedOn(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	w.put("deploy", "edited by hand")
	for name, do := range map[string]func(context.Context, Request) (*Deployment, error){"abort": d.Abort, "resume": d.Resume, "deploy": d.Deploy} {
		if _, err := do(t.Context(), w.request()); err == nil || hint.Of(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.called("")
}
