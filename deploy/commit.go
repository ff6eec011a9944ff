package deploy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"bg/color"
	"bg/internal/fault"
	"bg/registry"
)

// errUncertain says that Consul did not tell whether it made the commit.
var errUncertain = errors.New("it is unknown whether Consul recorded the new color")

// commit records the new color. What Consul did is found out when its answer
// was lost, because everything after depends on it.
func (r *run) commit(ctx context.Context) (string, error) {
	if err := context.Cause(ctx); err != nil {
		return "", err
	}
	// From here on an interrupt comes too late.
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), r.Settings.UndoTimeout)
	defer done()
	// What is written with the color says that the deployment has happened: bg
	// may be killed before it writes again.
	now := time.Now().UTC()
	r.record.Outcome, r.record.Committed = Done, &now
	if r.plan.Keep != "" {
		until := now.Add(r.request.Keep)
		r.record.WarmUntil = &until
	}
	document, err := r.record.document()
	if err != nil {
		return "", err
	}
	set := r.Colors.SetOp(r.plan.Service, r.seen.Live, r.plan.To)
	err = r.Journal.Save(ctx, r.lock, r.plan.Service, r.record.ID, document, set)
	fault.Point("in", "commit")
	if err != nil {
		if err = r.settle(ctx, err); err != nil {
			r.record.Outcome, r.record.Committed, r.record.WarmUntil = Running, nil, nil
			return "", err
		}
	}
	r.committed, r.undo = true, nil
	r.guardOff.Store(true)
	return fmt.Sprintf("%s = %s", set.KV.Key, r.plan.To), nil
}

// settle decides what a commit that returned err has done: nil when Consul
// recorded the color all the same, err when it surely did not and never will,
// and errUncertain when there is no telling. A transaction may still be on its
// way; it depends on the lock's session, so the end of that is the end of it.
func (r *run) settle(ctx context.Context, err error) error {
	var dial *net.OpError
	if errors.Is(err, registry.ErrConflict) || errors.As(err, &dial) && dial.Op == "dial" {
		return err
	}
	for r.lock != nil {
		if r.lock.Release(ctx) == nil {
			r.lock = nil
		} else if !pause(ctx, time.Second) {
			return fmt.Errorf("%w: %w", errUncertain, err)
		}
	}
	live, again := r.regain(ctx)
	switch {
	case again == nil && live.Color == r.plan.To:
		return nil
	case again == nil && live == r.seen.Live:
		return err
	case again == nil:
		r.letGo(ctx)
	}
	return fmt.Errorf("%w: %w", errUncertain, err)
}

// errMoved says that the service is not what it was when the deployment began.
var errMoved = errors.New("somebody else changed the service meanwhile")

// regain takes the service's lock again, and returns what is live now. It fails,
// without the lock, when somebody else has it or had it: a deployment that is
// paused holds none.
func (r *run) regain(ctx context.Context) (color.Live, error) {
	r.lock = nil
	for r.lock == nil {
		_, lock, err := r.Locker.Acquire(ctx, r.Journal.LockKey(r.plan.Service), r.request.holder(r.record.ID), 0, func(registry.Holder) {})
		if err != nil && (!errors.Is(err, registry.ErrUnreachable) || !pause(ctx, time.Second)) {
			return color.Live{}, err
		}
		r.lock = lock
	}
	if err := r.ours(ctx); err != nil {
		r.letGo(ctx)
		return color.Live{}, err
	}
	live, err := r.Colors.Live(ctx, r.plan.Service)
	if err != nil {
		r.letGo(ctx)
	}
	return live, err
}

// unchanged is regain for those who want the color live that was live when the
// deployment began.
func (r *run) unchanged(ctx context.Context) error {
	live, err := r.regain(ctx)
	if err == nil && live != r.seen.Live {
		r.letGo(ctx)
		return fmt.Errorf("%w: %s is live", errMoved, live.Color)
	}
	return err
}

// ours fails with errMoved when the newest deployment is another one than when this
// one wrote last, or was ended or resumed by somebody else.
func (r *run) ours(ctx context.Context) error {
	newest, err := r.newest(ctx, r.plan.Service)
	switch {
	case err != nil:
		return err
	case newest.ID == r.earlier && r.earlier != r.record.ID: // nothing of this one was written
		return nil
	case newest.ID != r.record.ID:
		return fmt.Errorf("%w: %s is the newest deployment", errMoved, newest.ID)
	case !r.resumedHere(newest) || !sameTime(newest.Ended, r.record.Ended):
		return fmt.Errorf("%w: %s is %s", errMoved, newest.ID, newest.Outcome)
	}
	return nil
}

// resumedHere reports whether this run knows of everybody who resumed newest.
func (r *run) resumedHere(newest Deployment) bool {
	known := r.record.Resumed[:min(len(newest.Resumed), len(r.record.Resumed))]
	return slices.EqualFunc(newest.Resumed, known, func(a, b Resumption) bool { return a.At.Equal(b.At) })
}

// sameTime reports whether two times are the same, or both unknown.
func sameTime(a, b *time.Time) bool {
	return a == nil && b == nil || a != nil && b != nil && a.Equal(*b)
}

// letGo gives the lock back and writes nothing more.
func (r *run) letGo(ctx context.Context) {
	r.release(ctx, r.lock)
	r.lock = nil
}
