package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bg/hint"
)

// reload tells nginx to read its configuration again, and waits until new
// workers run and no old one accepts connections.
//
// nginx reports nothing of this to whoever sent the signal. It starts the new
// workers, waits 100 ms and tells the old ones to quit (ngx_master_process_cycle
// in src/os/unix/ngx_process_cycle.c); an old worker changes its title as it
// closes its listening sockets. So the titles are polled.
func (n *Nginx) reload(ctx context.Context, change *Change) error {
	before, err := n.workers(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, n.cfg.ReloadTimeout,
		fmt.Errorf("nginx did not replace its workers within %s", n.cfg.ReloadTimeout))
	defer cancel()
	change.before, change.sent, change.OldWorkers = before, time.Now(), before.all()
	// From here on nginx may have read the new files, also when the reload fails.
	change.Reloaded = true
	if err := n.host.Reload(ctx); err != nil {
		return hosted("reload", "nginx", err)
	}
	change.NewWorkers, err = n.awaitWorkers(ctx, before, change.sent)
	if errors.Is(err, ErrRefused) {
		change.Reloaded = false
	}
	change.Reload = time.Since(change.sent)
	if err == nil {
		n.log.Info("nginx reloaded", "service", n.cfg.Service, "took", change.Reload.Round(time.Millisecond),
			"old", change.OldWorkers, "new", change.NewWorkers)
	}
	return err
}

// settle waits until a reload that was asked for is over, one way or the other.
// It leaves most of the time of ctx to what comes next.
func (n *Nginx) settle(ctx context.Context, change Change) error {
	ctx, cancel := context.WithTimeoutCause(ctx, n.cfg.RestoreTimeout/3, errors.New("nginx is still at it"))
	defer cancel()
	_, err := n.awaitWorkers(ctx, change.before, change.sent)
	return err
}

// awaitWorkers returns the PIDs of the new workers as soon as they run and the
// old ones do not accept any more. When nginx refused, its log says so before
// the deadline does.
func (n *Nginx) awaitWorkers(ctx context.Context, before workers, sent time.Time) ([]int, error) {
	var fresh []int
	asked := sent
	err := poll(ctx, 5*time.Millisecond, 50*time.Millisecond, func() (bool, error) {
		now, err := n.workers(ctx)
		if err != nil {
			return false, err
		}
		isOld := func(pid int) bool { return slices.Contains(before.serving, pid) }
		fresh = slices.DeleteFunc(slices.Clone(now.serving), isOld)
		if len(fresh) == 0 && time.Since(asked) > 200*time.Millisecond {
			asked = time.Now()
			return false, n.refusedSince(ctx, sent)
		}
		return len(fresh) > 0 && !slices.ContainsFunc(now.serving, isOld), nil
	})
	if err != nil && ctx.Err() != nil && len(fresh) == 0 {
		return nil, hint.Wrap(fmt.Errorf("%w: no new worker appeared: %w", ErrUnconfirmed, err), "read nginx's error log for the reason")
	}
	return fresh, err
}

// refusedSince returns ErrRefused when nginx's log since then has a reason.
func (n *Nginx) refusedSince(ctx context.Context, since time.Time) error {
	log, err := n.host.Log(ctx, since)
	if err != nil {
		return hosted("read", "nginx's log", err)
	}
	if reason := refusal(log); reason != "" {
		return fmt.Errorf("%w: %s", ErrRefused, reason)
	}
	return nil
}

// poll calls done until it says so or fails. It waits first between two calls,
// then longer, up to most.
func poll(ctx context.Context, first, most time.Duration, done func() (bool, error)) error {
	for wait := first; ; wait = min(wait*3/2, most) {
		ok, err := done()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// blames reports whether nginx's complaint err is about the file at path, as in
// "… in /etc/nginx/upstreams/books-ms.conf:3".
func blames(err error, path string) bool { return strings.Contains(err.Error(), " "+path+":") }
