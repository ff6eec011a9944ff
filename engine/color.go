package engine

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
	"golang.org/x/sync/errgroup"

	"bg/color"
	"bg/internal/fault"
)

// colored loads the Compose file of src and colors it.
func (e *Engine) colored(ctx context.Context, src Source, c color.Color) (*types.Project, string, error) {
	project, err := e.load(ctx, src.File, src.Project)
	if err != nil {
		return nil, "", err
	}
	return colored(project, src, c)
}

// Image returns the reference of the image that a deployment of c would run.
func (e *Engine) Image(ctx context.Context, src Source, c color.Color) (string, error) {
	project, name, err := e.colored(ctx, src, c)
	if err != nil {
		return "", err
	}
	return project.Services[name].Image, nil
}

// Start pulls the image of c as src.Pull says, recreates the containers of c
// for the deployment named id, and starts the services they depend on where
// these are missing: what exists of those is never recreated. It returns the
// new containers once the Engine has started them.
func (e *Engine) Start(ctx context.Context, src Source, c color.Color, id string) ([]Container, error) {
	project, name, err := e.colored(ctx, src, c)
	if err != nil {
		return nil, err
	}
	s := project.Services[name]
	watch := src.Pulling
	if watch == nil {
		watch = func(Pulling) {}
	}
	if err := e.pullWatched(ctx, s.Image, s.Platform, src.Pull, watch); err != nil {
		return nil, err
	}
	mark(&s, id)
	project.Services[name] = s
	if err := e.up(ctx, project, name); err != nil {
		return nil, err
	}
	fault.Point("in", "start")
	return e.list(ctx, project.Name, name)
}

// mark makes s tell which deployment its containers are of.
func mark(s *types.ServiceConfig, id string) {
	s.Environment[DeploymentVar] = &id
	s.Labels = s.Labels.Add(LabelDeployment, id)
}

// up recreates and starts the one service name and starts what it depends on.
func (e *Engine) up(ctx context.Context, project *types.Project, name string) error {
	project, err := project.WithSelectedServices([]string{name})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	err = e.compose.Up(ctx, project, api.UpOptions{
		Create: api.CreateOptions{
			Services: []string{name}, Recreate: api.RecreateForce, RecreateDependencies: api.RecreateNever,
			IgnoreOrphans: true, Inherit: false, QuietPull: true,
		},
		Start: api.StartOptions{Project: project, Services: []string{name}},
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", name, reach(err))
	}
	return nil
}

// Restart starts containers that were stopped and kept, and returns them as
// they are then: with new ports.
func (e *Engine) Restart(ctx context.Context, list []Container) ([]Container, error) {
	return e.each(ctx, list, func(c Container) error {
		return e.docker.ContainerStart(ctx, c.ID, container.StartOptions{})
	}, "start")
}

// Stop stops containers with their own stop signal, and kills those that are
// still there after timeout; 0 leaves that time to each container's own
// configuration, Docker's default being 10 s.
func (e *Engine) Stop(ctx context.Context, list []Container, timeout time.Duration) ([]Container, error) {
	var options container.StopOptions
	if timeout > 0 {
		seconds := int(math.Ceil(timeout.Seconds())) // 0 would kill at once
		options.Timeout = &seconds
	}
	return e.each(ctx, list, func(c Container) error { return e.docker.ContainerStop(ctx, c.ID, options) }, "stop")
}

// Remove kills and removes containers with their anonymous volumes.
func (e *Engine) Remove(ctx context.Context, list []Container) error {
	for _, c := range list {
		err := e.docker.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
		if err != nil && !gone(err) {
			return fmt.Errorf("remove %s: %w", c.Name, reach(err))
		}
	}
	return nil
}

// mostAtOnce is how many containers are started or stopped at a time. Docker 20.10
// can lock itself up for good when hundreds of one network end at the same instant.
const mostAtOnce = 32

// each does act to all of list, many at the same time, and returns the list anew.
// It does so to all of them, also when one fails.
func (e *Engine) each(ctx context.Context, list []Container, act func(Container) error, verb string) ([]Container, error) {
	var group errgroup.Group
	group.SetLimit(mostAtOnce)
	for _, c := range list {
		group.Go(func() error {
			if err := act(c); err != nil {
				return fmt.Errorf("%s %s: %w", verb, c.Name, reach(err))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return e.Refresh(ctx, list)
}

// Refresh asks the Engine again about each of list.
func (e *Engine) Refresh(ctx context.Context, list []Container) ([]Container, error) {
	fresh := make([]Container, 0, len(list))
	for _, c := range list {
		now, err := e.inspect(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		fresh = append(fresh, now)
	}
	return fresh, nil
}

// Logs returns the last lines that a container wrote to both of its streams.
func (e *Engine) Logs(ctx context.Context, id string, lines int) (string, error) {
	stream, err := e.docker.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: fmt.Sprint(lines)})
	if err != nil {
		return "", fmt.Errorf("read log of container %.12s: %w", id, reach(err))
	}
	defer stream.Close()
	var text bytes.Buffer
	if _, err := stdcopy.StdCopy(&text, &text, stream); err != nil {
		return "", fmt.Errorf("read log of container %.12s: %w", id, err)
	}
	return text.String(), nil
}

// Services returns the names of the services in the Compose file of src.
func (e *Engine) Services(ctx context.Context, src Source) ([]string, error) {
	project, err := e.load(ctx, src.File, src.Project)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(project.Services)), nil
}
