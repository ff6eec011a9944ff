package proxy

import (
	"context"
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

// Drained is what a drain saw.
type Drained struct {
	Waited  time.Duration
	Workers []int // PIDs of old workers that are still there; none after success
}

// Drain waits until every worker that lived before the reload of change has
// exited: until then, requests that the old color began to answer are on their
// way. It calls progress, which may be nil, each time their number falls. When
// ctx ends first, the error is ErrDrain with the cause.
//
// nginx tells nobody that a worker exited (its master's log does, where and if
// the error log's level is notice), so the processes are polled.
func (n *Nginx) Drain(ctx context.Context, change Change, progress func(Draining)) (Drained, error) {
	start := time.Now()
	left := change.OldWorkers
	err := poll(ctx, 10*time.Millisecond, 200*time.Millisecond, func() (bool, error) {
		now, err := n.workers(ctx)
		if err != nil {
			return false, err
		}
		// A worker that serves is a new one that got an old one's PID.
		still := slices.DeleteFunc(slices.Clone(left), func(pid int) bool { return !slices.Contains(now.leaving, pid) })
		if len(still) != len(left) && progress != nil {
			progress(Draining{OldWorkers: len(still), Waited: time.Since(start)})
		}
		left = still
		return len(left) == 0, nil
	})
	drained := Drained{Waited: time.Since(start), Workers: left}
	if err != nil && ctx.Err() != nil {
		return drained, hint.Wrap(fmt.Errorf("%w: %v: %w", ErrDrain, left, err),
			"a connection is still open: give the drain more time, or set worker_shutdown_timeout in nginx.conf below it")
	}
	return drained, err
}
