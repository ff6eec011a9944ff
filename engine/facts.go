package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"

	"bg/color"
)

// Facts are what the Engine tells about itself.
type Facts struct {
	Version string
	API     string        // the newest version of the API that it speaks
	Ahead   time.Duration // of this machine's clock
}

// Facts asks the Engine for them.
func (e *Engine) Facts(ctx context.Context) (Facts, error) {
	version, err := e.docker.ServerVersion(ctx)
	if err != nil {
		return Facts{}, reach(err)
	}
	asked := time.Now()
	info, err := e.docker.Info(ctx)
	if err != nil {
		return Facts{}, reach(err)
	}
	there, err := time.Parse(time.RFC3339Nano, info.SystemTime)
	if err != nil {
		return Facts{}, fmt.Errorf("read the Engine's clock: %w", err)
	}
	return Facts{Version: version.Version, API: version.APIVersion, Ahead: there.Sub(asked)}, nil
}

// Mounts returns where directories and files of the outside are mounted in the
// container name.
func (e *Engine) Mounts(ctx context.Context, name string) ([]string, error) {
	info, err := e.docker.ContainerInspect(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("inspect container %s: %w", name, reach(err))
	}
	var list []string
	for _, m := range info.Mounts {
		list = append(list, m.Destination)
	}
	return list, nil
}

// Published returns the ports that the Compose file gives to a container of c:
// Host is 0 where Docker chooses it.
func (e *Engine) Published(ctx context.Context, src Source, c color.Color) ([]Port, error) {
	project, name, err := e.colored(ctx, src, c)
	if err != nil {
		return nil, err
	}
	var list []Port
	for _, p := range project.Services[name].Ports {
		port := Port{Container: int(p.Target), Protocol: p.Protocol}
		if p.Published != "" {
			if _, err := fmt.Sscan(p.Published, &port.Host); err != nil {
				port.Host = 0 // a range, from which Docker chooses
			}
		}
		list = append(list, port)
	}
	return list, nil
}

// trialPort is the container port that a trial publishes.
const trialPort = "80/tcp"

// Trial starts a container that does nothing, from the image of the container
// like, with a published port, so that it can be seen how Registrator registers
// it under name. The function that it returns removes the container.
func (e *Engine) Trial(ctx context.Context, like, name string) (Container, func(context.Context) error, error) {
	info, err := e.docker.ContainerInspect(ctx, like)
	if err != nil {
		return Container{}, nil, fmt.Errorf("inspect container %s: %w", like, reach(err))
	}
	config := &container.Config{
		Image: info.Image, Entrypoint: []string{"sleep", "60"}, Env: []string{"SERVICE_NAME=" + name, "SERVICE_80_NAME=" + name},
		ExposedPorts: nat.PortSet{trialPort: {}}, Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
	}
	host := &container.HostConfig{PortBindings: nat.PortMap{trialPort: {{}}}, AutoRemove: true}
	created, err := e.docker.ContainerCreate(ctx, config, host, &network.NetworkingConfig{}, nil, name)
	if err != nil {
		return Container{}, nil, fmt.Errorf("create container %s: %w", name, reach(err))
	}
	remove := func(ctx context.Context) error {
		return e.Remove(ctx, []Container{{ID: created.ID, Name: name}})
	}
	if err := e.docker.ContainerStart(ctx, created.ID, container.StartOptions{}); err != nil {
		return Container{}, remove, fmt.Errorf("start container %s: %w", name, reach(err))
	}
	started, err := e.inspect(ctx, created.ID)
	return started, remove, err
}
