package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"bg/hint"
)

// maxRestarts is the number of restarts after which a container counts as one
// that loops. A container may die once or twice while its database comes up.
const maxRestarts = 3

// ErrRestarted is returned when a container was restarted: its published ports
// are others now.
var ErrRestarted = errors.New("container was restarted")

// ErrContainer is returned when a container of the new color ended, loops or
// says of itself that it is unhealthy.
var ErrContainer = errors.New("container does not stay up")

// Healthy waits until every container of list runs and, where it has a
// HEALTHCHECK, is healthy. It fails with ErrContainer as soon as one of them
// ended or restarts again and again.
func (e *Engine) Healthy(ctx context.Context, list []Container) error {
	return e.watch(ctx, list, func(now []Container) (bool, error) {
		for _, c := range now {
			if err := alive(c); err != nil {
				return false, err
			}
			if !c.Running() || c.Health != "" && c.Health != container.Healthy {
				return false, nil
			}
		}
		return true, nil
	})
}

// Guard watches containers until ctx is done, which is no error, or until one
// of them ends, loops or becomes unhealthy, which is ErrContainer, or is not the
// process any more that list describes, which is ErrRestarted.
func (e *Engine) Guard(ctx context.Context, list []Container) error {
	err := e.watch(ctx, list, func(now []Container) (bool, error) {
		for i, c := range now {
			if err := alive(c); err != nil {
				return false, err
			}
			if c.State == container.StateRestarting || !c.Since.Equal(list[i].Since) {
				return false, fmt.Errorf("%w: %s", ErrRestarted, c.Name)
			}
		}
		return false, nil
	})
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the end of watching is what the caller asked for
	}
	return err
}

// alive returns ErrContainer for a container that will not serve.
func alive(c Container) error {
	switch {
	case c.State == container.StateExited || c.State == container.StateDead:
		return hint.Wrap(fmt.Errorf("%w: %s exited with code %d", ErrContainer, c.Name, c.ExitCode), "docker logs "+c.Name)
	case c.Restarts >= maxRestarts:
		return hint.Wrap(fmt.Errorf("%w: %s restarted %d times, last with code %d", ErrContainer, c.Name, c.Restarts, c.ExitCode), "docker logs "+c.Name)
	case c.Health == container.Unhealthy:
		return hint.Wrap(fmt.Errorf("%w: %s is unhealthy", ErrContainer, c.Name), "docker inspect -f '{{json .State.Health}}' "+c.Name)
	}
	return nil
}

// watch calls look with the state of list now and after each event of one of
// them, until look says that it is done or fails. An event is only a hint that
// something changed; the state is always asked for.
func (e *Engine) watch(ctx context.Context, list []Container, look func([]Container) (bool, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	filter := filters.NewArgs(filters.Arg("type", string(events.ContainerEventType)))
	for _, c := range list {
		filter.Add("container", c.ID)
	}
	messages, errs := e.docker.Events(ctx, events.ListOptions{Filters: filter})
	for {
		now, err := e.Refresh(ctx, list)
		if err != nil {
			return causeOf(ctx, err)
		}
		if done, err := look(now); done || err != nil {
			return err
		}
		select {
		case <-messages:
		case err := <-errs:
			return causeOf(ctx, fmt.Errorf("read Docker's events: %w", reach(err)))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// causeOf returns why ctx ended, when it did, and err otherwise.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
