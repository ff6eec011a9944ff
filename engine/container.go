package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/docker/compose/v5/pkg/api"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/go-connections/nat"

	"bg/color"
)

// Container is one container of a color, as the Engine last told.
type Container struct {
	ID         string
	Name       string
	Image      string // the reference that it was created from
	ImageID    string // what that reference meant then
	Deployment string // the deployment that created it, "" when bg did not
	State      string // created, running, paused, restarting, exited, dead
	Health     string // starting, healthy, unhealthy, or "" without a HEALTHCHECK
	// HealthOutput is what its HEALTHCHECK wrote last.
	HealthOutput string
	ExitCode     int
	Restarts     int
	Since        time.Time // when it was started last
	Ports        []Port
	Addresses    []string // its IP addresses on Docker's networks
	HostMode     bool     // it has the host's network, so its ports are the host's
}

// Port is a port of a container and a port of the host that it is published on,
// 0 when it is not.
type Port struct {
	Container int
	Host      int
	Protocol  string
}

// Running reports whether the container runs and is not between two restarts.
func (c Container) Running() bool { return c.State == container.StateRunning }

// Stopped reports whether c stays down until somebody starts it.
func (c Container) Stopped() bool {
	return c.State == container.StateExited || c.State == container.StateCreated || c.State == container.StateDead
}

// Serves reports whether c is reached at host and port: by a published port, or
// at an address of its own.
func (c Container) Serves(host string, port int) bool {
	return slices.ContainsFunc(c.Ports, func(p Port) bool {
		return p.Host != 0 && p.Host == port || p.Container == port && slices.Contains(c.Addresses, host)
	})
}

// List returns the containers of color c, running or not, ordered by name.
// They are recognised by the labels of Compose, so that those that were started
// by Compose itself are found too.
func (e *Engine) List(ctx context.Context, src Source, c color.Color) ([]Container, error) {
	project, name, err := e.colored(ctx, src, c)
	if err != nil {
		return nil, err
	}
	return e.list(ctx, project.Name, name)
}

// list returns the containers of one Compose service.
func (e *Engine) list(ctx context.Context, project, service string) ([]Container, error) {
	summaries, err := e.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("label", api.ProjectLabel+"="+project),
		filters.Arg("label", api.ServiceLabel+"="+service),
		filters.Arg("label", api.OneoffLabel+"=False"),
	)})
	if err != nil {
		return nil, fmt.Errorf("list containers of %s: %w", service, reach(err))
	}
	var list []Container
	for _, s := range summaries {
		c, err := e.inspect(ctx, s.ID)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// inspect returns one container.
func (e *Engine) inspect(ctx context.Context, id string) (Container, error) {
	info, err := e.docker.ContainerInspect(ctx, id)
	if err != nil {
		return Container{}, fmt.Errorf("inspect container %.12s: %w", id, reach(err))
	}
	return fromInspect(info), nil
}

// fromInspect is a pure function over Docker's answer.
func fromInspect(info container.InspectResponse) Container {
	c := Container{
		ID: info.ID, Name: info.Name[1:], Image: info.Config.Image, ImageID: info.Image,
		Deployment: info.Config.Labels[LabelDeployment],
		State:      info.State.Status, ExitCode: info.State.ExitCode, Restarts: info.RestartCount,
		HostMode: info.HostConfig.NetworkMode.IsHost(),
	}
	c.Since, _ = time.Parse(time.RFC3339Nano, info.State.StartedAt) // zero when it never started
	if info.State.Health != nil && info.State.Health.Status != container.NoHealthcheck {
		c.Health = info.State.Health.Status
		if n := len(info.State.Health.Log); n > 0 {
			c.HealthOutput = info.State.Health.Log[n-1].Output
		}
	}
	for port, bindings := range info.NetworkSettings.Ports {
		c.Ports = append(c.Ports, published(port, bindings)...)
	}
	for port := range info.Config.ExposedPorts {
		if c.HostMode {
			c.Ports = append(c.Ports, Port{Container: port.Int(), Host: port.Int(), Protocol: port.Proto()})
		}
	}
	for _, n := range info.NetworkSettings.Networks {
		if n.IPAddress != "" {
			c.Addresses = append(c.Addresses, n.IPAddress)
		}
	}
	return c
}

// published returns a port as often as it is published: IPv4 and IPv6 get
// different ports of the host when Docker chooses them.
func published(port nat.Port, bindings []nat.PortBinding) []Port {
	if len(bindings) == 0 {
		return []Port{{Container: port.Int(), Protocol: port.Proto()}}
	}
	list := make([]Port, 0, len(bindings))
	for _, b := range bindings {
		host, _ := strconv.Atoi(b.HostPort) // 0 when it is empty: not bound yet
		list = append(list, Port{Container: port.Int(), Host: host, Protocol: port.Proto()})
	}
	return list
}
