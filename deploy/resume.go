package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"bg/hint"
	"bg/registry"
)

// PausedError says that a service is taken by a deployment that is paused.
type PausedError struct{ Deployment Deployment }

func (e *PausedError) Error() string {
	d := e.Deployment
	text := fmt.Sprintf("%s is taken by deployment %s of %s@%s, paused after %s", d.Service, d.ID, d.By.User, d.By.Host, d.done())
	if d.Paused != nil {
		text += " since " + d.Paused.Format(time.RFC3339)
	}
	if d.By.Build != "" {
		text += ", " + d.By.Build
	}
	return text
}

// Resume goes on with the newest deployment of the service, which was paused or
// interrupted, from wherever it is asked for. Its errors are those of Deploy, and
// those of ResumePlan.
func (d *Deployer) Resume(ctx context.Context, request Request) (*Deployment, error) {
	ctx, lock, err := d.lock(ctx, request)
	if err != nil {
		return nil, err
	}
	defer func() { d.release(ctx, lock) }()
	open, seen, err := d.open(ctx, request)
	if err != nil {
		return nil, err
	}
	plan, err := ResumePlan(request, open, seen)
	if err != nil {
		return nil, before(err)
	}
	run := newRun(d, request, plan, seen, lock)
	run.takeUp(open)
	err = run.execute(ctx)
	lock = run.lock
	return run.record, err
}

// Abort undoes the newest deployment of the service, which was paused or
// interrupted. What fails on the way is a *StepError with an Undo.
func (d *Deployer) Abort(ctx context.Context, request Request) (*Deployment, error) {
	ctx, lock, err := d.lock(ctx, request)
	if err != nil {
		return nil, err
	}
	defer func() { d.release(ctx, lock) }()
	open, seen, err := d.open(ctx, request)
	if err != nil {
		return nil, err
	}
	plan, err := AbortPlan(open, seen)
	if err != nil {
		return nil, before(err)
	}
	run := newRun(d, request, plan, seen, lock)
	run.record = &open
	by := request.By
	return run.record, run.abort(ctx, Aborted, fmt.Sprintf("aborted by %s@%s", by.User, by.Host))
}

// newest returns the newest deployment, which has no ID when there was none.
func (d *Deployer) newest(ctx context.Context, service string) (Deployment, error) {
	var newest Deployment
	document, err := d.Journal.Newest(ctx, service)
	if err != nil || document == nil {
		return newest, before(err)
	}
	if err := json.Unmarshal(document, &newest); err != nil {
		return newest, before(hint.Wrap(fmt.Errorf("read the newest deployment of %s: %w", service, err),
			"somebody edited it: see the key "+service+"/deploy, and write there what is in "+service+"/deploys/"))
	}
	return newest, nil
}

// open returns the deployment that is to be resumed or aborted, and what there
// is.
func (d *Deployer) open(ctx context.Context, request Request) (Deployment, Observation, error) {
	newest, err := d.newest(ctx, request.Service)
	if err != nil {
		return newest, Observation{}, err
	}
	meant, err := d.meant(ctx, request)
	switch {
	case err != nil:
		return newest, Observation{}, before(err)
	case meant != "" && newest.ID != meant:
		return newest, Observation{}, before(hint.Wrap(fmt.Errorf("%w: it is %s, which is %s, and not %s", ErrOtherDeployment, newest.ID, newest.Outcome, request.ID),
			"bg status "+request.Service))
	case newest.ID == "":
		return newest, Observation{}, before(hint.Wrap(fmt.Errorf("%w: %s was never deployed", ErrNothingOpen, request.Service), "bg deploy "+request.Service))
	case !newest.Open():
		return newest, Observation{}, before(hint.Wrap(fmt.Errorf("%w: %s, the newest one of %s, is %s", ErrNothingOpen, newest.ID, request.Service, newest.Outcome),
			"bg deploy "+request.Service))
	}
	seen, err := d.Observe(ctx, request)
	return newest, seen, err
}

// meant returns the id of the deployment that request names by it or by a part of it,
// what it names when there is no such deployment, and "" when it names none.
func (d *Deployer) meant(ctx context.Context, request Request) (string, error) {
	if request.ID == "" {
		return "", nil
	}
	ids, err := d.Journal.List(ctx, request.Service)
	if err != nil {
		return "", err
	}
	id, err := named(ids, request.Service, request.ID)
	if errors.Is(err, ErrNoDeployment) {
		return request.ID, nil
	}
	return id, err
}

// refusePaused returns a *PausedError when earlier is paused and request does
// not supersede it.
func refusePaused(request Request, earlier Deployment) error {
	if earlier.Outcome != Paused || request.Supersede {
		return nil
	}
	name := earlier.Service
	return before(hint.Wrap(&PausedError{Deployment: earlier},
		fmt.Sprintf("bg resume %s goes on with it, bg abort %s undoes it, --supersede aborts it first", name, name)))
}

// clear finishes or undoes an earlier deployment before another one, and returns
// what is there then.
func (d *Deployer) clear(ctx context.Context, request Request, earlier Deployment, seen Observation, lock *registry.Lock) (Observation, error) {
	run := newRun(d, request, Plan{Service: earlier.Service, From: earlier.From, To: earlier.To}, seen, lock)
	run.record = &earlier
	if err := run.clear(ctx); err != nil {
		return seen, err
	}
	if ctx.Err() != nil {
		return seen, before(context.Cause(ctx))
	}
	return d.Observe(ctx, request)
}

// clear does what ClearPlan says about the run's deployment.
func (r *run) clear(ctx context.Context) error {
	if err := unmoved(*r.record, r.seen); err != nil {
		// Somebody else's word counts, and its leavings are planned with as they are.
		r.warn(fmt.Errorf("deployment %s is given up: %w", r.record.ID, err))
		return r.finish(ctx, Interrupted, "given up: "+err.Error())
	}
	var err error
	if r.plan, err = ClearPlan(*r.record, r.seen); err != nil {
		return before(err)
	}
	if r.record.Live() {
		return r.finishEarlier(ctx)
	}
	outcome, reason := Interrupted, fmt.Sprintf("killed in %s; undone by the next deployment", r.record.At())
	if r.record.Outcome == Paused {
		outcome, reason = Aborted, fmt.Sprintf("superseded by %s@%s", r.request.By.User, r.request.By.Host)
	}
	return r.abort(ctx, outcome, reason)
}

// finishEarlier takes the steps that an earlier deployment left after its
// commit. The next one replaces the old color, so they have to succeed. That it
// did not begin is no failure of one of its own steps.
func (r *run) finishEarlier(ctx context.Context) error {
	r.committed = true
	r.Report(Event{Time: time.Now(), Kind: Planned, Plan: &r.plan})
	for _, step := range r.plan.Steps {
		if err := r.take(ctx, step, func(error) {}); err != nil {
			return halfway(fmt.Errorf("finish %s: %s: %w", r.record.ID, step.Verb, err))
		}
	}
	r.record.Left = ""
	return r.finish(ctx, Done, "")
}

// takeUp makes the run go on with a deployment that is open: what was done
// before is undone too when a later step fails.
func (r *run) takeUp(open Deployment) {
	r.record = &open
	r.committed = open.Live()
	open.Resumed = append(open.Resumed, Resumption{By: r.request.By, At: time.Now().UTC()})
	open.Paused, open.Reason, open.Preview = nil, "", ""
	if !r.committed {
		open.Outcome = Running
	}
	r.containers = open.ours(r.seen)
	if r.committed {
		return
	}
	if open.begun(Start) {
		r.undoes(Step{Verb: Start, Color: open.To}, r.downNew)
	}
	if open.begun(Switch) || open.begun(Expose) {
		r.undoes(Step{Verb: Switch, Color: open.To}, r.switchBack)
	}
}

// abort takes the steps of an AbortPlan, each with its intent in the journal
// before it, on a context of its own that an interrupt does not cancel.
func (r *run) abort(ctx context.Context, outcome Outcome, reason string) error {
	r.Report(Event{Time: time.Now(), Kind: Planned, Plan: &r.plan})
	limited, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), r.Settings.UndoTimeout+r.Settings.DrainTimeout, errors.New("the time for the undo is over"))
	defer cancel()
	was := fmt.Errorf("deployment %s was %s in %s", r.record.ID, r.record.Outcome, r.record.At())
	r.record.Outcome, r.record.Paused, r.record.Preview = Running, nil, ""
	for _, step := range r.plan.Steps {
		do := r.downNew
		if step.Verb == Switch {
			do = r.switchBack
		}
		if err := r.undoOne(limited, undoing{step, do}); err != nil {
			failure := &StepError{Verb: step.Verb, Err: was, Undo: err}
			return errors.Join(failure, r.finish(limited, UndoFailed, failure.Error()))
		}
	}
	return halfway(r.finish(limited, outcome, reason))
}
