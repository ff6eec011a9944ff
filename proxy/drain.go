package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"bg/hint"
)

// Draining is how far a drain is.
type Draining struct {
	OldWorkers int // that are still there
	Waited     time.Duration
}

func (d Draining) String() string {
	return fmt.Sprintf("%d old nginx workers have requests left (%s)", d.OldWorkers, d.Waited.Round(time.Second))
}

// Drained is what a drain saw.
type Drained struct {
	Waited  time.Duration
	Workers []int // PIDs of old workers that are still there; none after success
}

func (d Drained) String() string {
	if len(d.Workers) > 0 {
		return fmt.Sprintf("old nginx workers %v were still there after %s", d.Workers, d.Waited.Round(time.Millisecond))
	}
	return fmt.Sprintf("every old nginx worker was gone after %s", d.Waited.Round(time.Millisecond))
}

// Drain waits until every worker that lived before the reload of change has
// exited: until then, requests that the old color began to answer are on their
// way. Without a change to know them from, those are meant that are shutting
// down when it begins. It calls progress, which may be nil, when their number
// falls and every second. When ctx ends first, the error is ErrDrain with the
// cause.
//
// nginx tells nobody that a worker exited (its error log does, where its level
// is notice), so the processes are polled.
func (n *Nginx) Drain(ctx context.Context, change Change, progress func(Draining)) (Drained, error) {
	start := time.Now()
	left, err := n.oldWorkers(ctx, change)
	if err != nil {
		return Drained{}, err
	}
	told := start
	err = poll(ctx, 10*time.Millisecond, 200*time.Millisecond, func() (bool, error) {
		now, err := n.workers(ctx)
		if err != nil {
			return false, err
		}
		// A worker that serves is a new one that got an old one's PID.
		still := slices.DeleteFunc(slices.Clone(left), func(pid int) bool { return !slices.Contains(now.leaving, pid) })
		if progress != nil && (len(still) < len(left) || time.Since(told) >= time.Second) {
			told = time.Now()
			progress(Draining{OldWorkers: len(still), Waited: time.Since(start)})
		}
		left = still
		return len(left) == 0, nil
	})
	drained := Drained{Waited: time.Since(start), Workers: left}
	if err != nil && ctx.Err() != nil {
		return drained, hint.Wrap(undrained(left, err),
			"a connection is still open: give the drain more time, or set worker_shutdown_timeout in nginx.conf below it")
	}
	return drained, err
}

// oldWorkers returns the PIDs that a drain waits for.
func (n *Nginx) oldWorkers(ctx context.Context, change Change) ([]int, error) {
	if len(change.OldWorkers) > 0 || len(change.NewWorkers) > 0 {
		return change.OldWorkers, nil
	}
	now, err := n.workers(ctx)
	return now.leaving, err
}

// undrained is the error of a drain that ended early.
func undrained(left []int, cause error) error {
	if errors.Is(cause, ErrDrain) {
		return fmt.Errorf("%w: %v", cause, left)
	}
	return fmt.Errorf("%w: %v: %w", ErrDrain, left, cause)
}
