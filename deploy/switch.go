package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"bg/color"
	"bg/hint"
	"bg/internal/fault"
	"bg/proxy"
	"bg/registry"
)

// proxyLockWait is how long another service's switch of the same nginx may take.
const proxyLockWait = time.Minute

// switchTo points nginx at a color, and remembers what it replaced.
func (r *run) switchTo(ctx context.Context, step Step) (string, error) {
	want, err := r.want(step.Color)
	if err != nil {
		return "", err
	}
	change, err := r.apply(ctx, step, proxy.RenderInput{Color: step.Color, Want: want})
	if err != nil {
		return "", err
	}
	r.changes[step.Color] = change
	if step.Color != r.plan.To {
		r.seen.Proxy.Files, r.seen.Proxy.Upstreams, r.seen.Proxy.Preview = change.Files, want, nil
	}
	return change.String(), nil
}

// apply makes nginx run with what input renders to. When that sends anybody to the
// new color, it is undone like a switch.
func (r *run) apply(ctx context.Context, step Step, input proxy.RenderInput) (change proxy.Change, err error) {
	ctx, done := context.WithTimeoutCause(ctx, r.Settings.SwitchTimeout+proxyLockWait, errors.New("nginx did not switch in time"))
	defer done()
	r.preparing.Wait()
	undone := Step{Verb: Switch, Color: step.Color, Cause: step.Cause}
	err = r.alone(ctx, step, func(ctx context.Context) error {
		// Rendered inside the lock: another service's switch changes the
		// configuration that this one is checked with.
		input.Forbid = r.forbid(ctx, input.Color, input.Want)
		files, err := r.Proxy.Render(ctx, input)
		if err != nil {
			return err
		}
		if change, err = r.Proxy.Apply(ctx, files); err != nil {
			return err
		}
		if step.Color == r.plan.To {
			r.undoes(undone, r.switchBack)
		}
		if input.Preview.Color == color.None { // all requests go elsewhere now
			r.switched(ctx, change, step.Color)
		}
		return nil
	})
	if errors.Is(err, proxy.ErrRestore) {
		r.undoes(undone, func(context.Context) (string, error) { return "", err })
	}
	return change, err
}

// want returns the addresses that nginx has to send to for color c.
func (r *run) want(c color.Color) ([]string, error) {
	if c == r.plan.To && len(r.addresses) > 0 { // none when what is live is only finished
		return r.addresses, nil
	}
	m := matching(r.seen.Containers[c], r.seen.Instances[c])
	if len(m.ours) == 0 {
		return nil, hint.Wrap(fmt.Errorf("%w: %s is live and none of its containers is registered", ErrInconsistent, c),
			"start them: docker start "+names(r.seen.Containers[c]))
	}
	return m.addresses(), nil
}

// forbid returns every address that is registered for the service and is not
// wanted.
func (r *run) forbid(ctx context.Context, c color.Color, want []string) []string {
	var forbidden []string
	for _, each := range []color.Color{c, color.Next(c)} {
		instances, err := r.Catalog.Instances(ctx, r.Source.Catalog(each))
		if err != nil {
			instances = r.seen.Instances[each] // as old as this run, and better than nothing
		}
		for _, i := range instances {
			if !slices.Contains(want, i.HostPort()) {
				forbidden = append(forbidden, i.HostPort())
			}
		}
	}
	return forbidden
}

// alone holds the lock of this nginx while it changes it: services share it.
// While Consul does not answer it goes on asking, until ctx ends.
func (r *run) alone(ctx context.Context, step Step, change func(context.Context) error) error {
	holder := r.request.holder(r.record.ID)
	for {
		held, lock, err := r.Locker.Acquire(ctx, r.Settings.ProxyLock, holder, proxyLockWait, func(h registry.Holder) {
			r.waiting(step, "another deployment that changes this nginx: "+h.String())
		})
		if errors.Is(err, registry.ErrUnreachable) && pause(ctx, time.Second) {
			continue
		}
		if err != nil {
			return err
		}
		defer r.release(ctx, lock)
		return change(held)
	}
}

// pause waits for d and reports whether ctx is still going on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// switchBack makes nginx send to the old color again, whatever its files say, and
// waits until no worker is left that sends to the new one, so that this can be
// stopped.
func (r *run) switchBack(ctx context.Context) (string, error) {
	step := Step{Verb: Switch, Color: r.plan.To}
	var back proxy.Change
	err := r.alone(ctx, step, func(ctx context.Context) error {
		files, err := r.backFiles(ctx)
		if err != nil {
			return err
		}
		back, err = r.Proxy.Restore(ctx, proxy.Change{Previous: files})
		r.switched(ctx, back, color.Next(step.Color))
		return err
	})
	if err != nil {
		return "", err
	}
	fault.Point("in", "undo-switch")
	limited, done := context.WithTimeout(ctx, r.Settings.DrainTimeout)
	defer done()
	drained, err := r.Proxy.Drain(limited, back, r.draining(step))
	if errors.Is(err, proxy.ErrDrain) {
		r.warn(err) // they had the time that every drain has
	} else if err != nil {
		return "", err
	}
	return back.String() + "; " + drained.String(), nil
}

// backFiles returns the files with which nginx sends to the old color: those
// that it had, or new ones when the old color is elsewhere by now.
func (r *run) backFiles(ctx context.Context) (proxy.Files, error) {
	if before := r.record.Before; before != nil && before.usable(r.plan.From, r.seen) {
		return before.files(r.plan.From), nil
	}
	want, err := r.want(r.plan.From)
	if err != nil {
		return proxy.Files{}, err
	}
	return r.Proxy.Render(ctx, proxy.RenderInput{Color: r.plan.From, Want: want, Forbid: r.forbid(ctx, r.plan.From, want)})
}

// drain waits until no worker of nginx is left that may have requests at a
// color.
func (r *run) drain(ctx context.Context, step Step) (string, error) {
	ctx, done := context.WithTimeoutCause(ctx, r.Settings.DrainTimeout, proxy.ErrDrain)
	defer done()
	drained, err := r.Proxy.Drain(ctx, r.changes[color.Next(step.Color)], r.draining(step))
	return drained.String(), err
}

// draining tells a person how far a drain is, until it is over.
func (r *run) draining(step Step) func(proxy.Draining) {
	return func(d proxy.Draining) {
		if d.OldWorkers > 0 {
			r.waiting(step, d.String())
		}
	}
}
