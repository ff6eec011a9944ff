package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"bg/color"
	"bg/engine"
	"bg/hint"
	"bg/proxy"
	"bg/registry"
)

// logLines is how much of each container's log a failure keeps.
const logLines = 200

// evidenceTimeout is how long reading the logs of a failure may take.
const evidenceTimeout = 5 * time.Second

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

	containers []engine.Container // of the new color
	addresses  []string           // where they are registered
	changes    map[color.Color]proxy.Change
	undo       []undoing
	committed  bool
	output     string      // of the tests of this step
	guardOff   atomic.Bool // the new containers may stop now
}

// undoing is how a step that was done is undone.
type undoing struct {
	step Step
	do   func(context.Context) (observed string, err error)
}

func newRun(d *Deployer, request Request, plan Plan, seen Observation, lock *registry.Lock) *run {
	now := time.Now().UTC()
	record := &Deployment{
		ID: newID(now), Service: plan.Service, From: plan.From, To: plan.To, Image: plan.Image,
		Rollback: request.Rollback, By: request.By, Config: request.Config, Started: now, Outcome: Running,
	}
	return &run{Deployer: d, request: request, plan: plan, seen: seen, lock: lock, record: record, changes: map[color.Color]proxy.Change{}}
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
	for _, step := range r.plan.Steps {
		err := r.take(ctx, step, cancel)
		switch {
		case err != nil && !r.committed:
			return r.fail(ctx, step, err)
		case err != nil:
			// What follows depends on it: a color is only stopped when its last
			// request has ended.
			r.warn(fmt.Errorf("%s: %w (%s is live; when nothing is left at %s: docker stop %s)",
				step.Verb, err, r.plan.To, r.plan.From, names(r.seen.Containers[r.plan.From])))
			return r.finish(ctx, Done, "")
		}
	}
	return r.finish(ctx, Done, "")
}

// take takes one step: the intent goes to the journal before it, the
// observation after it.
func (r *run) take(ctx context.Context, step Step, cancel context.CancelCauseFunc) error {
	started := time.Now()
	r.record.Steps = append(r.record.Steps, Record{Step: step.Verb, Color: step.Color, Cause: step.Cause, Started: started.UTC()})
	entry := &r.record.Steps[len(r.record.Steps)-1]
	r.Report(Event{Time: started, Kind: Begin, Step: step.Verb, Color: step.Color, Message: step.Cause})
	var observed string
	err := r.save(ctx)
	if err == nil {
		observed, err = r.step(ctx, step, cancel)
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
	}
	return "", fmt.Errorf("no such step: %s", step.Verb)
}

// fail undoes what was done, in reverse, on a context of its own that an
// interrupt does not cancel, and returns the *StepError that tells of both.
func (r *run) fail(ctx context.Context, step Step, cause error) error {
	undoing, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), r.Settings.UndoTimeout+r.Settings.DrainTimeout, errors.New("the time for the undo is over"))
	defer cancel()
	r.keepEvidence(undoing)
	failure := &StepError{Verb: step.Verb, Err: cause}
	if errors.Is(cause, registry.ErrLost) {
		r.release(undoing, r.lock)
		failure.Undo = r.regain(undoing)
	}
	switch {
	case failure.Undo != nil:
		r.warn(errors.New("nothing was undone: the service may be somebody else's now"))
	case errors.Is(cause, errUncertain):
		failure.Undo = hint.Wrap(errors.New("nothing was undone, because Consul did not say which color it made live"),
			"when Consul answers: bg current-color "+r.plan.Service+", then bg deploy or stop the other color")
	default:
		failure.Undo = r.undoAll(undoing)
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

// undoAll undoes every step that was done, in reverse. It ends at the first
// failure: the new color is never stopped while nginx may still send to it.
func (r *run) undoAll(ctx context.Context) error {
	for _, u := range slices.Backward(r.undo) {
		started := time.Now()
		r.Report(Event{Time: started, Kind: Undoing, Step: u.step.Verb, Color: u.step.Color})
		observed, err := u.do(ctx)
		entry := Record{Step: u.step.Verb, Color: u.step.Color, Started: started.UTC(), Duration: seconds(time.Since(started)), Observed: observed}
		if err != nil {
			entry.Error = err.Error()
			r.record.Undo = append(r.record.Undo, entry)
			return fmt.Errorf("%s: %w", u.step.Verb, err)
		}
		r.record.Undo = append(r.record.Undo, entry)
		r.Report(Event{Time: time.Now(), Kind: Undone, Step: u.step.Verb, Color: u.step.Color, Message: observed, Seconds: time.Since(started).Seconds()})
	}
	return nil
}

// keepEvidence keeps the end of the new containers' logs before these are
// removed.
func (r *run) keepEvidence(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, evidenceTimeout) // an undo cannot wait for logs
	defer cancel()
	var all strings.Builder
	for _, c := range r.containers {
		text, err := r.Engine.Logs(ctx, c.ID, logLines)
		if err != nil {
			text = err.Error()
		}
		fmt.Fprintf(&all, "%s:\n%s\n", c.Name, text)
	}
	if r.record.Evidence = last(all.String(), maxEvidence); r.record.Evidence != "" {
		r.Report(Event{Time: time.Now(), Kind: Log, Message: r.record.Evidence})
	}
}

// finish writes the outcome.
func (r *run) finish(ctx context.Context, outcome Outcome, reason string) error {
	ended := time.Now().UTC()
	r.record.Ended, r.record.Outcome, r.record.Reason = &ended, outcome, reason
	// The end is written also when an interrupt came after the commit.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.Settings.UndoTimeout)
	defer cancel()
	err := r.save(ctx)
	if err == nil {
		err = r.Journal.Prune(ctx, r.plan.Service, r.Settings.History)
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
	r.record.Warnings = append(r.record.Warnings, message)
	r.Report(Event{Time: time.Now(), Kind: Warning, Message: message})
}
