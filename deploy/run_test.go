package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"bg/color"
	"bg/engine"
	"bg/hint"
	"bg/proxy"
	"bg/registry"
)

// upTo are the calls of a deployment of green up to a step's end.
const (
	upToRegister = "start green, healthy green"
	upToPretest  = upToRegister + ", pretest"
	upToSwitch   = upToPretest + ", render green, apply green"
	upToPosttest = upToSwitch + ", posttest"
)

// The calls that undo them.
const (
	undoStart  = ", stop green, remove green"
	undoSwitch = ", restore blue, drained to blue" + undoStart
)

func TestADeploymentMakesTheOtherColorLiveAndKeepsTheOldOne(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	deployed, err := d.Deploy(t.Context(), w.request())
	if err != nil {
		t.Fatal(err)
	}
	w.called(upToPosttest + ", drained to green, stop blue")
	w.serving(d, color.Green)
	w.unlocked()
	old := d.Engine.(*scriptedEngine).containers[color.Blue]
	if len(old) != 1 || old[0].State != "exited" {
		t.Errorf("the old color: %+v", old)
	}
	if diff := cmp.Diff(*deployed, w.journal()); diff != "" {
		t.Errorf("journal (-returned +kept):\n%s", diff)
	}
	if deployed.Outcome != Done || deployed.ImageID != "sha256:"+deployed.ID || len(deployed.Warnings) > 0 {
		t.Errorf("recorded: %+v", deployed)
	}
}

func TestAFirstDeploymentMakesBlueLive(t *testing.T) {
	w, d := newWorld(t, color.None)
	if _, err := d.Deploy(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
	w.called(strings.ReplaceAll(upToPosttest, "green", "blue"))
	w.serving(d, color.Blue)
}

func TestAFailureBeforeTheCommitUndoesEverythingInReverse(t *testing.T) {
	tests := []struct {
		name  string
		fails string
		err   error
		step  Verb
		calls string
	}{
		{name: "the container cannot be started", fails: "start green", step: Start, calls: "start green" + undoStart},
		{name: "the container does not get healthy", fails: "healthy green", step: Register, calls: upToRegister + undoStart},
		{name: "a pre test fails", fails: "pretest", step: Pretest, calls: upToPretest + undoStart},
		{name: "a template fails", fails: "render green", step: Switch, calls: upToPretest + ", render green" + undoStart},
		{name: "nginx refuses", fails: "apply green", step: Switch, calls: upToSwitch + undoStart},
		{name: "a post test fails", fails: "posttest", step: Posttest, calls: upToPosttest + undoSwitch},
		{name: "Consul refuses", fails: "commit", err: registry.ErrConflict, step: Commit, calls: upToPosttest + ", commit" + undoSwitch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, d := newWorld(t, color.Blue)
			d.Journal = scriptedJournal{Journal: d.Journal, world: w}
			if tt.err == nil {
				tt.err = errScript
			}
			w.failing(tt.fails, tt.err)
			_, err := d.Deploy(t.Context(), w.request())
			failed, ok := errors.AsType[*StepError](err)
			if !ok || failed.Verb != tt.step || failed.Undo != nil || !errors.Is(err, tt.err) {
				t.Fatalf("%v", err)
			}
			w.called(tt.calls)
			w.serving(d, color.Blue)
			w.unlocked()
			if left := d.Engine.(*scriptedEngine).containers[color.Green]; len(left) > 0 {
				t.Errorf("left behind: %+v", left)
			}
			kept := w.journal()
			if kept.Outcome != Failed || kept.Reason != err.Error() || kept.Steps[len(kept.Steps)-1].Error == "" {
				t.Errorf("recorded: %+v", kept)
			}
		})
	}
}

func TestAColorThatSomebodyChangedMeanwhileIsNotOverwritten(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	w.script["posttest"] = func(context.Context) error { w.put("color", "blue\n"); return nil }
	_, err := d.Deploy(t.Context(), w.request())
	if failed, ok := errors.AsType[*StepError](err); !ok || failed.Verb != Commit || !errors.Is(err, registry.ErrConflict) {
		t.Fatalf("%v", err)
	}
	w.called(upToPosttest + undoSwitch)
	w.serving(d, color.Blue)
}

func TestWhatEndsADeploymentFromOutsideIsItsReasonAndEverythingIsUndone(t *testing.T) {
	tests := []struct {
		name    string
		end     func(*world, *Deployer, context.CancelCauseFunc)
		want    error
		outcome Outcome
	}{
		{"an interrupt", func(_ *world, _ *Deployer, cancel context.CancelCauseFunc) { cancel(ErrInterrupted) }, ErrInterrupted, Interrupted},
		{"a container that dies", func(_ *world, d *Deployer, _ context.CancelCauseFunc) { close(d.Engine.(*scriptedEngine).died) }, engine.ErrContainer, Failed},
		{"a lock that is lost", func(w *world, _ *Deployer, _ context.CancelCauseFunc) { w.loseLock() }, registry.ErrLost, ""},
	}
	for _, tt := range tests {
		for _, at := range []string{"pretest", "posttest"} {
			t.Run(tt.name+" in "+at, func(t *testing.T) {
				w, d := newWorld(t, color.Blue)
				d.Locker = registry.NewLocker(w.consul, 3*time.Second, slog.New(slog.DiscardHandler))
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				w.script[at] = func(ctx context.Context) error {
					tt.end(w, d, cancel)
					<-ctx.Done() // at the latest when the test's time is over
					return errScript
				}
				_, err := d.Deploy(ctx, w.request())
				if failed, ok := errors.AsType[*StepError](err); !ok || failed.Undo != nil || !errors.Is(err, tt.want) || errors.Is(err, errScript) {
					t.Fatalf("%v", err)
				}
				w.called(map[string]string{"pretest": upToPretest + undoStart, "posttest": upToPosttest + undoSwitch}[at])
				w.serving(d, color.Blue)
				w.unlocked()
				if kept := w.journal(); tt.outcome != "" && kept.Outcome != tt.outcome {
					t.Errorf("recorded: %+v", kept)
				}
			})
		}
	}
}

func TestALostLockIsTakenAgainForTheUndoAlsoWhenARefusedWriteTellsOfIt(t *testing.T) {
	for _, at := range []string{"pretest", "posttest", "commit"} {
		t.Run("lost in "+at, func(t *testing.T) {
			w, d := newWorld(t, color.Blue)
			d.Journal = scriptedJournal{d.Journal, w, func(real func() error) error { return real() }}
			w.script[at] = func(context.Context) error { w.loseLock(); return nil }
			_, err := d.Deploy(t.Context(), w.request())
			if failed, ok := errors.AsType[*StepError](err); !ok || failed.Undo != nil || !errors.Is(err, registry.ErrLost) {
				t.Fatalf("%v", err)
			}
			w.serving(d, color.Blue)
			w.unlocked()
			if kept := w.journal(); kept.Outcome != Failed || w.running(d, color.Green) != 0 {
				t.Errorf("recorded: %+v", kept)
			}
		})
	}
}

func TestWhoLostTheLockTouchesNothingThatSomebodyElseHadMeanwhile(t *testing.T) {
	now := time.Now().UTC()
	for name, change := range map[string]func(*Deployment){
		"the newest deployment is another one, and is paused": func(d *Deployment) { d.ID, d.Outcome = "29990101-000000-0000", Paused },
		"somebody ended it":               func(d *Deployment) { d.Outcome, d.Ended = Aborted, &now },
		"somebody resumed it and held it": func(d *Deployment) { d.Outcome, d.Resumed = Paused, []Resumption{{At: now}} },
	} {
		t.Run(name, func(t *testing.T) {
			w, d := newWorld(t, color.Blue)
			var theirs []byte
			w.script["posttest"] = func(ctx context.Context) error {
				var other Deployment
				if err := json.Unmarshal(must(d.Journal.Newest(ctx, w.service))(t), &other); err != nil {
					return err
				}
				change(&other)
				theirs = must(other.document())(t)
				w.put("deploy", string(theirs))
				w.loseLock()
				return nil
			}
			_, err := d.Deploy(t.Context(), w.request())
			if failed, ok := errors.AsType[*StepError](err); !ok || !errors.Is(failed.Undo, errMoved) || !strings.Contains(hint.Of(err), "bg status") {
				t.Fatalf("%v", err)
			}
			w.called(upToPosttest)
			w.unlocked()
			if now := must(d.Journal.Newest(t.Context(), w.service))(t); !bytes.Equal(now, theirs) {
				t.Errorf("their document became %s", now)
			}
		})
	}
}

func TestALockThatIsLostBeforeTheFirstWriteLeavesNothingToUndo(t *testing.T) {
	w, d := newWorld(t, color.None)
	before := must(d.Deploy(t.Context(), w.request()))(t)
	report := d.Report
	d.Report = func(e Event) {
		if report(e); e.Kind == Planned {
			w.loseLock()
		}
	}
	deployed, err := d.Deploy(t.Context(), w.request())
	if failed, ok := errors.AsType[*StepError](err); !ok || failed.Undo != nil || !errors.Is(err, registry.ErrLost) {
		t.Fatalf("%v", err)
	}
	if kept := w.journal(); kept.ID != deployed.ID || kept.ID == before.ID || kept.Outcome != Failed {
		t.Errorf("recorded: %+v", kept)
	}
	w.unlocked()
}

// loseLock ends the session that holds the service.
func (w *world) loseLock() {
	pair, _ := must2(w.consul.KV().Get(w.service+"/lock", nil))(w.T)
	if _, err := w.consul.Session().Destroy(pair.Session, nil); err != nil {
		w.Error(err)
	}
}

func TestTheNewColorIsNotStoppedWhileNginxMaySendToIt(t *testing.T) {
	tests := []struct {
		name   string
		script map[string]error
		calls  string
	}{
		{"the switch cannot be undone", map[string]error{"posttest": errScript, "restore blue": proxy.ErrRefused}, upToPosttest + ", restore blue"},
		{"a failed switch left nginx's files as they are", map[string]error{"apply green": fmt.Errorf("%w: %w", errScript, proxy.ErrRestore)}, upToSwitch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, d := newWorld(t, color.Blue)
			for name, err := range tt.script {
				w.failing(name, err)
			}
			_, err := d.Deploy(t.Context(), w.request())
			if failed, ok := errors.AsType[*StepError](err); !ok || failed.Undo == nil || !errors.Is(err, errScript) {
				t.Fatalf("%v", err)
			}
			w.called(tt.calls)
			if w.running(d, color.Blue) != 1 || w.running(d, color.Green) != 1 {
				t.Error("a color was stopped")
			}
			if kept := w.journal(); kept.Outcome != UndoFailed || len(kept.Undo) != 1 || kept.Undo[0].Step != Switch || kept.Undo[0].Error == "" {
				t.Errorf("recorded: %+v", kept)
			}
		})
	}
}

func TestOldWorkersThatStayDoNotHoldUpTheUndo(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	w.failing("posttest", errScript)
	w.failing("drained to blue", proxy.ErrDrain)
	_, err := d.Deploy(t.Context(), w.request())
	if failed, ok := errors.AsType[*StepError](err); !ok || failed.Undo != nil {
		t.Fatalf("%v", err)
	}
	w.called(upToPosttest + undoSwitch)
	w.serving(d, color.Blue)
}

func TestACommitWithoutAnAnswerIsSettledByWhatConsulSays(t *testing.T) {
	lost := func(commit func() error) error { return errors.Join(commit(), noAnswer) }
	unsent := func(func() error) error { return noAnswer }
	tests := []struct {
		name      string
		save      func(func() error) error
		later     error // of the reads that ask what happened
		interrupt bool
		check     func(*world, *Deployer, error)
	}{
		{name: "it was made", save: lost, check: func(w *world, d *Deployer, err error) {
			if err != nil {
				w.Error(err)
			}
			w.called(upToPosttest + ", commit, drained to green, stop blue")
			w.serving(d, color.Green)
		}},
		{name: "it was not made", save: unsent, check: func(w *world, d *Deployer, err error) {
			if failed, ok := errors.AsType[*StepError](err); !ok || failed.Undo != nil || !errors.Is(err, registry.ErrUnreachable) {
				w.Error(err)
			}
			w.called(upToPosttest + ", commit" + undoSwitch)
			w.serving(d, color.Blue)
		}},
		{name: "there is no telling", save: lost, later: noAnswer, check: (*world).nothingUndone},
		{name: "there is no telling, and it is interrupted", save: lost, later: noAnswer, interrupt: true, check: (*world).nothingUndone},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, d := newWorld(t, color.Blue)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			d.Journal = scriptedJournal{Journal: d.Journal, world: w, save: func(commit func() error) error {
				err := tt.save(commit)
				if tt.interrupt {
					cancel(ErrInterrupted)
				}
				return err
			}}
			d.Colors = &scriptedColors{Colors: d.Colors, later: tt.later}
			if tt.later != nil {
				d.Settings.UndoTimeout = 500 * time.Millisecond // the time for the reads
			}
			_, err := d.Deploy(ctx, w.request())
			tt.check(w, d, err)
		})
	}
}

// nothingUndone checks that a deployment of green stopped where it was.
func (w *world) nothingUndone(d *Deployer, err error) {
	w.Helper()
	if failed, ok := errors.AsType[*StepError](err); !ok || failed.Undo == nil || !errors.Is(err, errUncertain) || !strings.Contains(hint.Of(failed.Undo), "bg current-color "+w.service) {
		w.Errorf("%v", err)
	}
	w.called(upToPosttest + ", commit")
	if w.running(d, color.Blue) != 1 || w.running(d, color.Green) != 1 {
		w.Error("a color was stopped")
	}
}

func TestWhatFailsAfterTheCommitIsAWarningThatSaysHowToFinish(t *testing.T) {
	tests := []struct {
		name  string
		fails string
		calls string
	}{
		{"old workers that stay keep the old color", "drained to green", ", drained to green"},
		{"an old container that cannot be stopped", "stop blue", ", drained to green, stop blue"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, d := newWorld(t, color.Blue)
			w.failing(tt.fails, errScript)
			deployed, err := d.Deploy(t.Context(), w.request())
			if err != nil {
				t.Fatal(err)
			}
			w.called(upToPosttest + tt.calls)
			w.serving(d, color.Green)
			said := strings.Join(deployed.Warnings, "\n")
			for _, want := range []string{errScript.Error(), "green is live", "docker stop " + w.service + "-blue"} {
				if !strings.Contains(said, want) {
					t.Errorf("not said: %s: %s", want, said)
				}
			}
			if kept := w.journal(); kept.Outcome != Done || len(kept.Warnings) != 1 || !kept.Open() {
				t.Errorf("recorded: %+v", kept)
			}
			delete(w.script, tt.fails)
			if _, err := d.Resume(t.Context(), w.request()); err != nil || w.running(d, color.Blue) != 0 {
				t.Errorf("a resume has to do the rest: %v", err)
			}
			w.serving(d, color.Green)
			if kept := w.journal(); kept.Open() {
				t.Errorf("recorded: %+v", kept)
			}
		})
	}
}

func TestAnInterruptAfterTheCommitUndoesNothing(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	ctx, cancel := context.WithCancelCause(t.Context())
	w.script["drained to green"] = func(ctx context.Context) error {
		cancel(ErrInterrupted)
		return context.Cause(ctx)
	}
	deployed, err := d.Deploy(ctx, w.request())
	if err != nil {
		t.Fatal(err)
	}
	w.serving(d, color.Green)
	if kept := w.journal(); kept.Outcome != Done || len(deployed.Warnings) != 1 || w.running(d, color.Blue) != 1 {
		t.Errorf("recorded: %+v", kept)
	}
}

// unreliable loses the answers to requests that give a session up.
type unreliable struct{}

func (unreliable) RoundTrip(request *http.Request) (*http.Response, error) {
	if strings.HasPrefix(request.URL.Path, "/v1/session/destroy/") {
		return nil, errScript
	}
	return http.DefaultTransport.RoundTrip(request)
}

func TestALockThatCannotBeGivenBackFailsNothing(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	config := api.DefaultConfig()
	config.HttpClient = &http.Client{Transport: unreliable{}}
	client := must(api.NewClient(config))(t)
	d.Locker = registry.NewLocker(client, time.Second, slog.New(slog.DiscardHandler))
	if _, err := d.Deploy(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
	w.called(upToPosttest + ", drained to green, stop blue")
	w.serving(d, color.Green)
	if !slices.ContainsFunc(w.events, func(e Event) bool { return e.Kind == Warning && strings.Contains(e.Message, "release ") }) {
		t.Errorf("nobody was told: %+v", w.events)
	}
}

func TestWhatAnInterruptedDeploymentLeftIsUndoneFirst(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	left := must(d.Engine.Start(t.Context(), d.Source, color.Green, "20260101-000000-0000"))(t)
	nginx := d.Proxy.(*scriptedProxy)
	nginx.files = proxy.Files{Color: color.Green, Upstreams: proxy.File{Data: []byte(address(left[0]))}}
	w.script["start green"] = func(context.Context) error { w.deregister(left[0].ID); return nil }
	w.calls = nil
	if _, err := d.Deploy(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
	w.called("render blue, apply blue, drained to blue, " + upToPosttest + ", drained to green, stop blue")
	w.serving(d, color.Green)
}

func TestARollbackStartsTheKeptContainersAgain(t *testing.T) {
	w, d := newWorld(t, color.None)
	first := must(d.Deploy(t.Context(), w.request()))(t)
	must(d.Deploy(t.Context(), w.request()))(t)
	w.calls = nil
	back := w.request()
	back.Rollback = true

	w.failing("pretest", errScript)
	if _, err := d.Deploy(t.Context(), back); !errors.Is(err, errScript) {
		t.Fatalf("%v", err)
	}
	w.called("restart blue, healthy blue, pretest, stop blue")
	w.serving(d, color.Green)
	if kept := d.Engine.(*scriptedEngine).containers[color.Blue]; len(kept) != 1 {
		t.Fatalf("the containers were not kept: %+v", kept)
	}

	w.calls, w.script = nil, map[string]func(context.Context) error{}
	done := must(d.Deploy(t.Context(), back))(t)
	w.called("restart blue, healthy blue, pretest, render blue, apply blue, posttest, drained to blue, stop green")
	w.serving(d, color.Blue)
	if done.Restart != first.ID || !done.Rollback || done.Origin() != first.ID {
		t.Errorf("recorded: %+v", done)
	}
}

func TestARollbackWithoutContainersTakesTheImageThatWasLive(t *testing.T) {
	w, d := newWorld(t, color.None)
	first := must(d.Deploy(t.Context(), w.request()))(t)
	must(d.Deploy(t.Context(), w.request()))(t)
	d.Engine.(*scriptedEngine).keep(color.Blue, nil)
	back := w.request()
	back.Rollback = true
	done := must(d.Deploy(t.Context(), back))(t)
	if got := d.Engine.(*scriptedEngine).containers[color.Blue][0].Image; got != first.ImageID || done.Image != first.ImageID {
		t.Errorf("runs %s, recorded %s, want %s", got, done.Image, first.ImageID)
	}
}

func TestAContainerThatNeverAnswersIsNotReady(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	d.Settings.Health.Timeout = 300 * time.Millisecond
	e := d.Engine.(*scriptedEngine)
	w.script["healthy green"] = func(context.Context) error {
		e.servers[e.containers[color.Green][0].ID].Config.Handler = http.NotFoundHandler()
		return nil
	}
	_, err := d.Deploy(t.Context(), w.request())
	if failed, ok := errors.AsType[*StepError](err); !ok || failed.Verb != Register || !strings.Contains(err.Error(), "not ready within 300ms") || !strings.Contains(err.Error(), "404") || hint.Of(err) == "" {
		t.Fatalf("%v", err)
	}
	w.serving(d, color.Blue)
}

func TestAContainerThatDiesWhileItIsAskedTellsWhatToDoItself(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	e := d.Engine.(*scriptedEngine)
	w.script["healthy green"] = func(context.Context) error {
		e.servers[e.containers[color.Green][0].ID].Config.Handler = http.NotFoundHandler()
		close(e.died)
		return nil
	}
	_, err := d.Deploy(t.Context(), w.request())
	if hint.Of(err) != "docker logs it" {
		t.Errorf("%v; hint: %s", err, hint.Of(err))
	}
}

func TestWhereTheLogOfARemovedContainerIsIsSaid(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	w.failing("healthy green", hint.Wrap(engine.ErrContainer, "docker logs "+w.service+"-green"))
	failed, err := d.Deploy(t.Context(), w.request())
	if want := "it was removed; its log: bg history " + w.service + " " + failed.ID; hint.Of(err) != want {
		t.Errorf("%v; hint: %s", err, hint.Of(err))
	}
}

func TestWhileItIsNotKnownWhatIsThereNothingIsChanged(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(*world, *Deployer)
		want    error
	}{
		{"garbage in the color key", func(w *world, _ *Deployer) { w.put("color", "purple") }, color.ErrUnknown},
		{"Consul does not answer", func(_ *world, d *Deployer) { d.Colors = &scriptedColors{reads: 1, later: noAnswer} }, registry.ErrUnreachable},
		{"nginx is not there", func(w *world, _ *Deployer) { w.failing("observe nginx", proxy.ErrUnreachable) }, proxy.ErrUnreachable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, d := newWorld(t, color.Blue)
			tt.prepare(w, d)
			_, err := d.Deploy(t.Context(), w.request())
			if _, ok := errors.AsType[*BeforeError](err); !ok || !errors.Is(err, tt.want) {
				t.Errorf("%v", err)
			}
			w.called("")
			w.unlocked()
		})
	}
}

func TestASecondDeploymentOfTheServiceIsRefusedWithTheHoldersName(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	w.script["pretest"] = func(ctx context.Context) error {
		_, err := w.deployer().Deploy(ctx, w.request())
		if held, ok := errors.AsType[*registry.HeldError](err); !ok || held.Holder.User != "tester" {
			return fmt.Errorf("the second one: %w", err)
		}
		return nil
	}
	if _, err := d.Deploy(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
}

func TestAPlanChangesNothing(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	plan, err := d.Plan(t.Context(), w.request())
	if err != nil || plan.From != color.Blue || plan.To != color.Green || plan.Image != "books-ms:2.0" || len(plan.Steps) != 8 {
		t.Errorf("%+v, %v", plan, err)
	}
	w.called("")
	w.serving(d, color.Blue)
}

func TestEveryStepIsAnnouncedAndEnds(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	w.failing("posttest", errScript)
	if _, err := d.Deploy(t.Context(), w.request()); err == nil {
		t.Fatal("it did not fail")
	}
	var said []string
	for _, e := range w.events {
		if e.Kind != Waiting {
			said = append(said, strings.TrimSpace(string(e.Kind)+" "+string(e.Step)))
		}
	}
	want := []string{
		"planned", "begin start", "end start", "begin register", "end register", "begin pretest", "end pretest",
		"begin switch", "end switch", "begin posttest", "fail posttest", "log",
		"undoing switch", "undone switch", "undoing start", "undone start", "finished",
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
