package proxy

import (
	"context"
	"errors"
	"fmt"
	"regexp"
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
// closes its listening sockets. So the titles are polled, after these 100 ms: no
// look before can find it done, and each takes nginx some of its processor. When
// none is new for a while, refused is asked whether to wait no longer.
func (n *Nginx) reload(ctx context.Context, change *Change, refused func(context.Context, time.Time) error) error {
	before, err := n.workers(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, n.cfg.ReloadTimeout,
		fmt.Errorf("nginx did not replace its workers within %s", n.cfg.ReloadTimeout))
	defer cancel()
	change.before, change.Sent, change.OldWorkers = before, time.Now(), before.all()
	// From here on nginx may have read the new files, also when the reload fails and
	// when the log has a refusal: that may be about something else.
	change.Reloaded = true
	if err := n.host.Reload(ctx); err != nil {
		return hosted("reload", "nginx", err)
	}
	change.NewWorkers, err = n.awaitWorkers(ctx, before, change.Sent, refused)
	change.refused = errors.Is(err, ErrRefused)
	change.Reload = time.Since(change.Sent)
	if err == nil {
		n.log.Info("nginx reloaded", "service", n.cfg.Service, "took", change.Reload.Round(time.Millisecond),
			"old", change.OldWorkers, "new", change.NewWorkers)
	}
	return err
}

// bothStart is the time for which nginx lets old workers accept beside the new
// ones, whatever happens.
const bothStart = 100 * time.Millisecond

// bindTries is how long nginx tries to listen at an address that is taken, with a
// line at the level emerg each time: five times, 500 ms apart
// (ngx_open_listening_sockets in src/core/ngx_connection.c), and then some.
const bindTries = 3 * time.Second

// settle waits until a reload that was asked for is over, one way or the other: as
// its workers say, since nginx may take what its log calls refused. It leaves most
// of the time of ctx to what comes next.
func (n *Nginx) settle(ctx context.Context, change Change) error {
	most := n.cfg.RestoreTimeout / 3
	if change.refused {
		most = min(most, bindTries)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, most, errors.New("no new worker has appeared by now"))
	defer cancel()
	_, err := n.awaitWorkers(ctx, change.before, change.Sent, unasked)
	return err
}

// unasked leaves the log alone.
func unasked(context.Context, time.Time) error { return nil }

// awaitWorkers returns the PIDs of the new workers as soon as they run and the
// old ones do not accept any more. When nginx refused, its log, which refused
// reads, says so before the deadline does.
func (n *Nginx) awaitWorkers(ctx context.Context, before workers, sent time.Time, refused func(context.Context, time.Time) error) ([]int, error) {
	var fresh []int
	asked := sent
	select {
	case <-ctx.Done():
	case <-time.After(time.Until(sent.Add(bothStart))):
	}
	err := poll(ctx, 5*time.Millisecond, 10*time.Millisecond, func() (bool, error) {
		now, err := n.workers(ctx)
		if err != nil {
			return false, err
		}
		isOld := func(pid int) bool { return slices.Contains(before.serving, pid) }
		fresh = slices.DeleteFunc(slices.Clone(now.serving), isOld)
		if len(fresh) == 0 && time.Since(asked) > 200*time.Millisecond {
			asked = time.Now()
			return false, refused(ctx, sent)
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

// maxErrorLines is how many lines of nginx's log are told of.
const maxErrorLines = 200

// ErrorLines returns the warnings and errors that nginx logged since then, the
// newest of them when there are many.
func (n *Nginx) ErrorLines(ctx context.Context, since time.Time) ([]string, error) {
	log, err := n.host.Log(ctx, since)
	if err != nil {
		return nil, hosted("read", "nginx's log", err)
	}
	var list []string
	for line := range strings.Lines(string(log)) {
		if serious.MatchString(line) {
			list = append(list, strings.TrimSpace(strings.ToValidUTF8(line, "?")))
		}
	}
	return list[max(0, len(list)-maxErrorLines):], nil
}

// serious matches a line of nginx's error log of level warn and above.
var serious = regexp.MustCompile(`^[0-9/]{10} [0-9:]{8} \[(warn|error|crit|alert|emerg)\] `)

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
