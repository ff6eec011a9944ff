package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bg/color"
	"bg/engine"
	"bg/hint"
	"bg/internal/fault"
	"bg/probe"
	"bg/proxy"
	"bg/registry"
)

// saveTimeout is how long an undo waits for the journal.
const saveTimeout = 3 * time.Second

// ErrInterrupted is the cause of a context that a signal cancelled.
var ErrInterrupted = errors.New("interrupted")

// StepError says which step failed, why, and whether undoing it failed too.
type StepError struct {
	Verb Verb
	Err  error
	Undo error // nil when everything was undone
}

func (e *StepError) Error() string {
	if e.Undo != nil {
		return fmt.Sprintf("%s: %v; and undoing it: %v", e.Verb, e.Err, e.Undo)
	}
	return fmt.Sprintf("%s: %v", e.Verb, e.Err)
}

// Unwrap returns the causes of the failure. That of the undo comes first: its
// hint is the one that matters then.
func (e *StepError) Unwrap() []error {
	if e.Undo != nil {
		return []error{e.Undo, e.Err}
	}
	return []error{e.Err}
}

// run is one deployment on its way. It carries from step to step what was
// observed.
type run struct {
	*Deployer
	request Request
	plan    Plan
	seen    Observation
	lock    *registry.Lock
	record  *Deployment
	earlier string // the ID of the newest deployment before this one

	containers []engine.Container // of the new color
	addresses  []string           // where they are registered
	changes    map[color.Color]proxy.Change
	undo       []undoing
	committed  bool
	probe      *probe.Watch
	preparing  sync.WaitGroup // what is done ahead of the switch
	output     string         // of the tests of this step
	guardOff   atomic.Bool    // the new containers may stop now
}

// undoing is how a step that was done is undone.
type undoing struct {
	step Step
	do   func(context.Context) (observed string, err error)
}

func newRun(d *Deployer, request Request, plan Plan, seen Observation, lock *registry.Lock) *run {
	return &run{Deployer: d, request: request, plan: plan, seen: seen, lock: lock, changes: map[color.Color]proxy.Change{}}
}

// begin returns the document of a new deployment, which comes after newest.
func begin(request Request, plan Plan, newest string) *Deployment {
	now := fault.Now().UTC()
	return &Deployment{
		ID: newID(now, newest), Service: plan.Service, From: plan.From, To: plan.To, Image: plan.Image, Pin: plan.Pin,
		Rollback: request.Rollback, By: request.By, Config: request.Config, Started: now, Outcome: Running,
	}
}

// warm takes over containers that were never stopped.
func (r *run) warm() {
	r.containers = r.seen.Containers[r.plan.To]
	r.record.Kept, r.record.Warm, r.record.Containers = true, true, ids(r.containers)
	r.record.Restart, r.record.ImageID = r.containers[0].Deployment, r.containers[0].ImageID
}

// undoes remembers how a step is undone. A step that is taken again is undone once.
func (r *run) undoes(step Step, do func(context.Context) (string, error)) {
	r.undo = slices.DeleteFunc(r.undo, func(u undoing) bool { return u.step.Verb == step.Verb })
	r.undo = append(r.undo, undoing{step, do})
}

// execute takes the steps of the plan one by one. It holds no decisions: the
// first failure before the commit undoes all that was done, and a failure after
// it is a warning, because the deployment has happened by then.
func (r *run) execute(ctx context.Context) error {
	r.Report(Event{Time: time.Now(), Kind: Planned, Plan: &r.plan})
	for _, w := range r.seen.Proxy.Warnings {
		r.warn(errors.New(w))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.beginProbe(ctx)
	for _, step := range r.plan.Steps {
		err := r.take(ctx, step, cancel)
		switch {
		case err != nil && !r.committed:
			return r.fail(ctx, step, err)
		case err != nil:
			// What follows depends on it: a color is only stopped when its last
			// request has ended.
			r.warn(hint.Wrap(fmt.Errorf("%s: %w (%s is live)", step.Verb, err, r.plan.To),
				fmt.Sprintf("bg resume %s does the rest, and so does the next deployment; when nothing is left at %s: docker stop %s",
					r.plan.Service, r.plan.From, names(r.seen.Containers[r.plan.From]))))
			r.record.Left = step.Verb
			return r.finish(ctx, Done, "")
		}
	}
	if r.plan.Until == "" {
		r.record.Left = ""
		return r.finish(ctx, Done, "")
	}
	if err := r.pause(ctx); err != nil && !r.committed {
		return r.fail(ctx, Step{Verb: r.plan.Until, Color: r.plan.To}, err)
	} else if err != nil {
		r.warn(err)
	}
	return nil
}

// pause leaves the deployment as it is, for somebody to resume or abort.
func (r *run) pause(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.preparing.Wait() // what it has in nginx's container is gone then
	r.endProbe()
	now := time.Now().UTC()
	was := r.record.Outcome
	r.record.Outcome, r.record.Paused = Paused, &now
	if err := r.save(ctx); err != nil {
		r.record.Outcome, r.record.Paused = was, nil
		return err
	}
	r.Report(Event{Time: now, Kind: Finished, Deployment: r.record})
	return nil
}

// intend puts into the document what undoing or resuming a step needs, before it
// is begun.
func (r *run) intend(step Step) {
	switch {
	case step.Verb == Start && r.plan.Restart && !r.record.Kept:
		again := r.seen.Containers[step.Color]
		r.record.Kept, r.record.Restart, r.record.Containers = true, again[0].Deployment, ids(again)
	case (step.Verb == Switch || step.Verb == Expose) && step.Color == r.plan.To && r.record.Before == nil:
		r.record.Before = kept(r.seen.Proxy)
	}
}

// take takes one step. The intent goes to the journal before it; what was
// observed goes there with the next step's intent, in one transaction: a step
// whose observation is missing is taken again, which every step can be.
func (r *run) take(ctx context.Context, step Step, cancel context.CancelCauseFunc) error {
	started := time.Now()
	r.intend(step)
	r.record.Steps = append(r.record.Steps, Record{Step: step.Verb, Color: step.Color, Cause: step.Cause, Started: started.UTC()})
	entry := &r.record.Steps[len(r.record.Steps)-1]
	r.probe.Step(string(step.Verb))
	r.Report(Event{Time: started, Kind: Begin, Step: step.Verb, Color: step.Color, Message: step.Cause})
	var observed string
	err := r.save(ctx)
	if err == nil {
		fault.Point("before", string(step.Verb))
		observed, err = r.hooked(ctx, step, func() (string, error) { return r.step(ctx, step, cancel) })
		fault.Point("after", string(step.Verb))
	}
	if err != nil && ctx.Err() != nil && !errors.Is(err, errUncertain) {
		err = context.Cause(ctx) // an interrupt, a lost lock, a container that died
	}
	took := time.Since(started)
	entry.Duration, entry.Observed, entry.Output = seconds(took), observed, r.output
	r.output = ""
	if err != nil {
		entry.Error = err.Error()
		r.Report(Event{Time: time.Now(), Kind: Fail, Step: step.Verb, Color: step.Color, Message: err.Error(), Duration: took, Seconds: took.Seconds()})
		return err
	}
	r.Report(Event{Time: time.Now(), Kind: End, Step: step.Verb, Color: step.Color, Message: observed, Duration: took, Seconds: took.Seconds()})
	return nil
}

// step is the list of the verbs. Each returns what it observed.
func (r *run) step(ctx context.Context, step Step, cancel context.CancelCauseFunc) (string, error) {
	switch step.Verb {
	case Start:
		return r.start(ctx, step)
	case Register:
		return r.register(ctx, step, cancel)
	case Pretest:
		return r.test(ctx, r.Settings.Pre, "http://"+r.addresses[0])
	case Expose:
		return r.expose(ctx, step)
	case Switch:
		return r.switchTo(ctx, step)
	case Posttest:
		return r.test(ctx, r.Settings.Post, r.Settings.ProxyURL)
	case Commit:
		return r.commit(ctx)
	case Drain:
		return r.drain(ctx, step)
	case Stop:
		return r.stop(ctx, step)
	case Remove: // only undone, never done
	}
	return "", fmt.Errorf("no such step: %s", step.Verb)
}

// fail undoes what was done, in reverse, on a context of its own that an
// interrupt does not cancel, and returns the *StepError that tells of both.
func (r *run) fail(ctx context.Context, step Step, cause error) error {
	undoing, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), r.Settings.UndoTimeout+r.Settings.DrainTimeout, errors.New("the time for the undo is over"))
	defer cancel()
	r.preparing.Wait()
	r.keepEvidence(undoing, cause)
	failure := &StepError{Verb: step.Verb, Err: cause}
	if errors.Is(cause, registry.ErrLost) {
		r.release(undoing, r.lock)
		failure.Undo = hint.Wrap(r.unchanged(undoing), "bg status "+r.plan.Service+" says what serves")
	}
	switch {
	case failure.Undo != nil:
		r.warn(errors.New("nothing was undone: the service may be somebody else's now"))
	case errors.Is(cause, errUncertain):
		failure.Undo = hint.Wrap(errors.New("nothing was undone, because Consul did not say which color it made live"),
			"when Consul answers: bg current-color "+r.plan.Service+", then bg deploy or stop the other color")
	default:
		if failure.Undo = r.undoAll(undoing); failure.Undo == nil {
			failure.Err = r.afterwards(cause)
		}
	}
	outcome := Failed
	switch {
	case failure.Undo != nil:
		outcome = UndoFailed
	case errors.Is(cause, ErrInterrupted):
		outcome = Interrupted
	}
	if err := r.finish(undoing, outcome, failure.Error()); err != nil {
		r.warn(fmt.Errorf("write the outcome: %w", err))
	}
	return failure
}

// afterwards returns cause with a hint that still helps when the container that it
// names was removed.
func (r *run) afterwards(cause error) error {
	names := func(c engine.Container) bool { return strings.Contains(hint.Of(cause), c.Name) }
	if r.record.Kept || r.record.Evidence == nil || !slices.ContainsFunc(r.containers, names) {
		return cause
	}
	return hint.Wrap(cause, fmt.Sprintf("it was removed; its log: bg history %s %s", r.plan.Service, r.record.ID))
}

// undoAll undoes every step that was done, in reverse. It ends at the first
// failure: the new color is never stopped while nginx may still send to it.
func (r *run) undoAll(ctx context.Context) error {
	for _, u := range slices.Backward(r.undo) {
		if err := r.undoOne(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

// undoOne undoes one step. Its intent goes to the journal first, when Consul
// answers: an undo cannot wait for that. It ends when Consul says that the
// service is not ours any more.
func (r *run) undoOne(ctx context.Context, u undoing) error {
	started := time.Now()
	r.probe.Step("undo " + string(u.step.Verb))
	r.Report(Event{Time: started, Kind: Undoing, Step: u.step.Verb, Color: u.step.Color, Message: u.step.Cause})
	r.record.Undo = append(r.record.Undo, Record{Step: u.step.Verb, Color: u.step.Color, Cause: u.step.Cause, Started: started.UTC()})
	entry := &r.record.Undo[len(r.record.Undo)-1]
	observed, err := "", r.saveSoon(ctx)
	if err == nil {
		fault.Point("before", "undo-"+undoes(u.step.Verb))
		observed, err = u.do(ctx)
		fault.Point("after", "undo-"+undoes(u.step.Verb))
	}
	entry.Duration, entry.Observed = seconds(time.Since(started)), observed
	if err != nil {
		entry.Error = err.Error()
		return fmt.Errorf("%s: %w", u.step.Verb, err)
	}
	r.Report(Event{Time: time.Now(), Kind: Undone, Step: u.step.Verb, Color: u.step.Color, Message: observed, Seconds: time.Since(started).Seconds()})
	return nil
}

// undoes returns the name of the step that a verb of an undo undoes.
func undoes(verb Verb) string {
	if verb == Remove || verb == Stop {
		return string(Start)
	}
	return string(verb)
}

// saveSoon writes the document if that can be done soon. It fails only when
// Consul says that the lock is not held.
func (r *run) saveSoon(ctx context.Context) error {
	if r.lock == nil {
		return nil // given up to find out what a commit did, and not taken again
	}
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	err := r.save(ctx)
	if err == nil || errors.Is(err, registry.ErrConflict) {
		return err
	}
	r.warn(err)
	return nil
}

// finish writes the outcome.
func (r *run) finish(ctx context.Context, outcome Outcome, reason string) error {
	r.preparing.Wait()
	r.endProbe()
	ended := time.Now().UTC()
	r.record.Ended, r.record.Outcome, r.record.Reason = &ended, outcome, reason
	// The end is written also when an interrupt came after the commit.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.Settings.UndoTimeout)
	defer cancel()
	err := r.save(ctx)
	if err == nil {
		err = r.prune(ctx, r.plan.Service, r.Settings.History)
	}
	if err != nil && r.committed {
		r.warn(fmt.Errorf("finish the journal: %w", err))
		err = nil
	}
	r.Report(Event{Time: ended, Kind: Finished, Deployment: r.record})
	return err
}

// save writes the document as it is now.
func (r *run) save(ctx context.Context) error {
	if r.lock == nil {
		return errors.New("the lock is not held")
	}
	r.lock.At(r.record.ID, r.record.doing())
	document, err := r.record.document()
	if err != nil {
		return err
	}
	return r.Journal.Save(ctx, r.lock, r.plan.Service, r.record.ID, document)
}

// warn tells of err, with what can be done about it, and keeps that.
func (r *run) warn(err error) {
	message := err.Error()
	if h := hint.Of(err); h != "" {
		message += "; " + h
	}
	if !slices.Contains(r.record.Warnings, message) { // a deployment that is resumed sees the same again
		r.record.Warnings = append(r.record.Warnings, message)
	}
	r.Report(Event{Time: time.Now(), Kind: Warning, Message: message})
}
