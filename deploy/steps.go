package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bg/color"
	"bg/engine"
	"bg/hint"
	"bg/integration"
	"bg/internal/fault"
	"bg/registry"
)

// deregisterTimeout is how long Registrator may take to remove what stopped.
const deregisterTimeout = 15 * time.Second

// start creates the containers of the new color, or starts the kept ones again.
func (r *run) start(ctx context.Context, step Step) (string, error) {
	limited, done := context.WithTimeoutCause(ctx, r.Settings.StartTimeout, fmt.Errorf("not started within %s", r.Settings.StartTimeout))
	defer done()
	var err error
	r.undoes(step, r.downNew)
	if r.plan.Restart {
		r.containers, err = r.Engine.Restart(limited, r.record.ours(r.seen))
	} else {
		source := r.Source
		if r.plan.Image != r.seen.Image || r.plan.Pin != "" {
			source.Image, source.Tag = cmp.Or(r.plan.Pin, r.plan.Image), "" // a rollback to an image of the history
		}
		r.containers, err = r.Engine.Start(limited, source, step.Color, r.record.ID)
	}
	if err != nil {
		return "", waited(limited, err)
	}
	r.record.ImageID, r.record.Containers = r.containers[0].ImageID, ids(r.containers)
	if r.record.Digest, err = r.Engine.Digest(limited, r.record.ImageID); err != nil {
		return "", waited(limited, err)
	}
	return "started " + names(r.containers), nil
}

// downNew takes the new color down again.
func (r *run) downNew(ctx context.Context) (string, error) {
	r.guardOff.Store(true)
	if r.record.Kept {
		return r.stopAgain(ctx, r.record.ours(r.seen))
	}
	return r.removeNew(ctx)
}

// removeNew removes what this deployment created: a version that failed is
// nothing to roll back to.
func (r *run) removeNew(ctx context.Context) (string, error) {
	all, err := r.Engine.List(ctx, r.Source, r.plan.To)
	if err != nil {
		return "", err
	}
	created := slices.DeleteFunc(all, func(c engine.Container) bool { return c.Deployment != r.record.ID })
	if len(created) > 0 {
		stopped, err := r.Engine.Stop(ctx, created, r.Settings.StopTimeout)
		if err != nil {
			return "", err
		}
		fault.Point("in", "undo-start")
		if err := r.Engine.Remove(ctx, stopped); err != nil {
			return "", err
		}
	}
	// Also when a bg that was killed here has removed them: they may still be registered.
	gone := append(slices.Clone(created), engine.Container{Deployment: r.record.ID})
	said := "removed " + names(created)
	if len(created) == 0 {
		said = "no container was made"
	}
	return said, r.waitGone(ctx, r.plan.To, gone)
}

// stopAgain stops the kept containers that were started again.
func (r *run) stopAgain(ctx context.Context, kept []engine.Container) (string, error) {
	if len(kept) == 0 {
		return "its containers are gone", nil
	}
	now, err := r.Engine.Refresh(ctx, kept)
	if err != nil {
		return "", err
	}
	if _, err := r.Engine.Stop(ctx, now, r.Settings.StopTimeout); err != nil {
		return "", err
	}
	return "stopped " + names(kept), r.waitGone(ctx, r.plan.To, now)
}

// register waits until Consul has exactly the new containers, all healthy, and
// each of them answers its readiness path several times in a row. From then on
// the containers are watched: when one ends or restarts, the deployment ends.
func (r *run) register(ctx context.Context, step Step, cancel context.CancelCauseFunc) (string, error) {
	timeout := r.Settings.Health.Timeout
	limited, done := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not ready within %s", timeout))
	defer done()
	for {
		err := r.settled(limited, step)
		if errors.Is(err, engine.ErrRestarted) {
			continue // it may have waited for its database; its ports are new
		}
		if err != nil {
			return "", err
		}
		break
	}
	watched := r.containers
	go func() {
		if err := r.Engine.Guard(ctx, watched); err != nil && !r.guardOff.Load() {
			cancel(err)
		}
	}()
	return fmt.Sprintf("%s at %s", r.Source.Catalog(step.Color), strings.Join(r.addresses, ", ")), nil
}

// settled waits for all that register waits for. It fails with
// engine.ErrRestarted when a container was restarted meanwhile.
func (r *run) settled(ctx context.Context, step Step) error {
	r.waiting(step, "health of "+names(r.containers))
	if err := r.Engine.Healthy(ctx, r.containers); err != nil {
		return fmt.Errorf("health of %s: %w", names(r.containers), err)
	}
	fault.Point("in", "register")
	var err error
	if r.containers, err = r.Engine.Refresh(ctx, r.containers); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	watched := r.containers
	go func() {
		if err := r.Engine.Guard(ctx, watched); err != nil {
			stop(err)
		}
	}()
	if err := r.registered(ctx, step); err != nil {
		return err
	}
	r.prepare(ctx, step)
	return r.ready(ctx, step)
}

// registered waits until Consul has exactly the containers.
func (r *run) registered(ctx context.Context, step Step) error {
	name := r.Source.Catalog(step.Color)
	var m match
	said := ""
	err := r.Catalog.Wait(ctx, name, func(instances []registry.Instance) bool {
		m = matching(r.containers, instances)
		if lack := m.lack(); lack != said {
			said = lack
			r.waiting(step, name+" in Consul: "+lack)
		}
		return m.complete()
	})
	if err != nil {
		return hint.Default(fmt.Errorf("%s in Consul: %w: %s", name, err, m.lack()), m.advice(name))
	}
	r.addresses = m.addresses()
	r.record.Addresses = r.addresses
	return nil
}

// test runs integration tests against domain, the way a user of the service
// reaches it.
func (r *run) test(ctx context.Context, tests []integration.Test, domain string) (string, error) {
	target := integration.Target{
		URL: domain, Service: r.plan.Service, Color: r.plan.To.String(), Address: r.addresses[0], Deployment: r.record.ID,
	}
	report, err := integration.Run(ctx, tests, target, r.Output)
	for _, result := range report.Results {
		r.output = last(r.output+result.Output, maxOutput)
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s passed at %s", report.Count(), domain), nil
}

// stop stops a color and keeps its containers. It is done when the catalog
// knows them no more.
func (r *run) stop(ctx context.Context, step Step) (string, error) {
	old := r.seen.Containers[step.Color]
	if _, err := r.Engine.Stop(ctx, old, r.Settings.StopTimeout); err != nil {
		return "", hint.Wrap(err, "docker stop "+names(old))
	}
	fault.Point("in", "stop")
	return "stopped " + names(old), r.waitGone(ctx, step.Color, old)
}

// waitGone waits until none of the containers is registered any more.
func (r *run) waitGone(ctx context.Context, c color.Color, containers []engine.Container) error {
	ctx, done := context.WithTimeoutCause(ctx, deregisterTimeout, fmt.Errorf("still there after %s", deregisterTimeout))
	defer done()
	name := r.Source.Catalog(c)
	var left []registry.Instance
	err := r.Catalog.Wait(ctx, name, func(instances []registry.Instance) bool {
		left = remaining(containers, instances)
		return len(left) == 0
	})
	if err != nil && len(left) > 0 {
		return hint.Wrap(fmt.Errorf("%s in Consul: %s at %s: %w", name, left[0].ID, left[0].HostPort(), err),
			"consul services deregister -id="+left[0].ID)
	}
	return err
}

// waiting tells a person what a step waits for.
func (r *run) waiting(step Step, message string) {
	r.Report(Event{Time: time.Now(), Kind: Waiting, Step: step.Verb, Color: step.Color, Message: message})
}

// waited returns the cause of ctx's end when it ended, with err's text.
func waited(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// ids returns the short ids of containers.
func ids(list []engine.Container) []string {
	all := make([]string, 0, len(list))
	for _, c := range list {
		all = append(all, fmt.Sprintf("%.12s", c.ID))
	}
	return all
}

func names(list []engine.Container) string {
	all := make([]string, 0, len(list))
	for _, c := range list {
		all = append(all, c.Name)
	}
	return strings.Join(all, " ")
}
