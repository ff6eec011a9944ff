package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"bg/hint"
	"bg/internal/fault"
)

const (
	// lookEvery is how often a drain looks at connections and tells of itself.
	lookEvery = time.Second
	// lastLook is how long the look at a drain's deadline may take.
	lastLook = 5 * time.Second
	// cutLook is how long before nginx's own deadline the connections are looked at
	// once more: more than lies between two looks at the workers.
	cutLook = 300 * time.Millisecond
)

// Draining is how far a drain is.
type Draining struct {
	OldWorkers int // that are still there
	// Connections are those of these workers, nil where that cannot be told.
	Connections *Connections
	Waited      time.Duration
}

func (d Draining) String() string {
	text := fmt.Sprintf("%d old nginx workers to end (%s)", d.OldWorkers, d.Waited.Round(time.Second))
	if d.Connections != nil {
		text += fmt.Sprintf(": connections: %s", d.Connections)
	}
	return text
}

// Drained is what a drain saw.
type Drained struct {
	Waited  time.Duration
	Workers []int // PIDs of old workers that are still there; none after success
	// Left are the connections of these, nil where that cannot be told.
	Left *Connections
	// Cut is how many connections with a request, a stream or a WebSocket nginx closed
	// at its worker_shutdown_timeout, as they were counted shortly before; 0 also where
	// that cannot be told.
	Cut int
}

func (d Drained) String() string {
	if len(d.Workers) > 0 {
		text := fmt.Sprintf("old nginx workers %v were still there after %s", d.Workers, d.Waited.Round(time.Millisecond))
		if d.Left != nil {
			text += fmt.Sprintf(": connections: %s", d.Left)
		}
		return text
	}
	text := fmt.Sprintf("every old nginx worker was gone after %s", d.Waited.Round(time.Millisecond))
	if d.Cut > 0 {
		text += fmt.Sprintf("; its worker_shutdown_timeout cut connections: %s", Connections{Busy: d.Cut})
	}
	return text
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
	fault.Point("in", "drain")
	var seen, open *Connections // last, and last before nginx's own deadline
	told, cut := start, n.cutAt(change)
	err = poll(ctx, 10*time.Millisecond, 200*time.Millisecond, func() (bool, error) {
		now, err := n.workers(ctx)
		if err != nil {
			return false, err
		}
		// A worker that serves is a new one that got an old one's PID.
		still := slices.DeleteFunc(slices.Clone(left), func(pid int) bool { return !slices.Contains(now.leaving, pid) })
		lastChance := told.Before(cut.Add(-cutLook)) && time.Now().After(cut.Add(-cutLook))
		if len(still) > 0 && (time.Since(told) >= lookEvery || lastChance) || len(still) < len(left) {
			told = time.Now()
			if len(still) > 0 {
				seen = n.connections(ctx)
			}
			if seen != nil && time.Now().Before(cut) {
				open = seen
			}
			if progress != nil {
				progress(Draining{OldWorkers: len(still), Connections: seen, Waited: time.Since(start)})
			}
		}
		left = still
		return len(left) == 0, nil
	})
	drained := Drained{Waited: time.Since(start), Workers: left}
	if err == nil && open != nil && time.Now().After(cut) {
		drained.Cut = open.Busy
	}
	if err != nil && ctx.Err() != nil {
		last, done := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
		defer done()
		drained.Left = n.connections(last)
		return drained, hint.Wrap(undrained(drained, err),
			"a connection is still open: give the drain more time, or set worker_shutdown_timeout in nginx.conf below it")
	}
	return drained, err
}

// cutAt returns when nginx closes what its old workers still have, zero when that
// is not known or never: they count from when they are told to quit
// (ngx_set_shutdown_timer in src/core/ngx_cycle.c).
func (n *Nginx) cutAt(change Change) time.Time {
	n.mu.Lock()
	config := n.seen.config
	n.mu.Unlock()
	limit, err := config.setting("worker_shutdown_timeout")
	if err != nil || limit == 0 || change.Sent.IsZero() {
		return time.Time{}
	}
	return change.Sent.Add(bothStart + limit)
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
func undrained(d Drained, cause error) error {
	left := fmt.Sprint(d.Workers)
	if d.Left != nil {
		left += fmt.Sprintf(", connections: %s", d.Left)
	}
	if errors.Is(cause, ErrDrain) {
		return fmt.Errorf("%w: %s", cause, left)
	}
	return fmt.Errorf("%w: %s: %w", ErrDrain, left, cause)
}
