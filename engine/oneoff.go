package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// cleanupTimeout is the time that removing what a test left may take after the
// deployment was cancelled.
const cleanupTimeout = 30 * time.Second

// hostGateway is the name by which a container reaches this host; Docker
// resolves "host-gateway" since 20.10.
const hostGateway = "host.docker.internal"

// Tests runs services of Compose files to their end, in the project of the
// service that is being deployed.
type Tests struct {
	Engine  *Engine
	Project string
}

// RunService runs service of the Compose file to its end with env added to its
// environment, and copies what it writes to out. It returns an error when the
// exit code is not 0. The container is removed, also when ctx is cancelled.
func (t Tests) RunService(ctx context.Context, file, service string, env map[string]string, out io.Writer) (err error) {
	e := t.Engine
	var list []string
	for key, value := range env {
		list = append(list, key+"="+value)
	}
	project, err := e.read(ctx, file, t.Project, list...)
	if err != nil {
		return err
	}
	s, ok := project.Services[service]
	if !ok {
		return fmt.Errorf("%w %s: no service %s", ErrConfig, file, service)
	}
	asTest(&s, env)
	project.Services[service] = s
	defer func() { err = errors.Join(err, e.sweep(ctx, project.Name, service)) }()
	if err := e.Pull(ctx, s.Image, s.Platform, PullAlways); err != nil {
		return err
	}
	if err := e.up(ctx, project, service); err != nil {
		return err
	}
	return e.follow(ctx, project.Name, service, out)
}

// asTest makes s run once, with env, and able to reach what this host serves.
func asTest(s *types.ServiceConfig, env map[string]string) {
	one := 1
	s.Scale, s.Restart, s.Build, s.PullPolicy = &one, types.RestartPolicyNo, nil, ""
	if s.Environment == nil {
		s.Environment = types.MappingWithEquals{}
	}
	bridged := s.NetworkMode == "" || s.NetworkMode == "bridge" // else the host's names hold
	for key, value := range env {
		if bridged {
			value = fromInside(value)
		}
		s.Environment[key] = &value
	}
	if bridged {
		hosts := types.HostsList{hostGateway: []string{"host-gateway"}}
		for name, addresses := range s.ExtraHosts {
			hosts[name] = addresses
		}
		s.ExtraHosts = hosts
	}
}

// fromInside returns a URL on this machine's loopback as a container has to
// write it, and every other value as it is.
func fromInside(value string) string {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" {
		return value
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return value
	}
	host := hostGateway
	if u.Port() != "" {
		host = net.JoinHostPort(host, u.Port())
	}
	u.Host = host
	return u.String()
}

// follow copies the log of the one container of service to out until it ends.
func (e *Engine) follow(ctx context.Context, project, service string, out io.Writer) error {
	list, err := e.list(ctx, project, service)
	if err != nil {
		return err
	}
	if len(list) != 1 {
		return fmt.Errorf("run %s: %d containers instead of one", service, len(list))
	}
	id := list[0].ID
	done, failed := e.docker.ContainerWait(ctx, id, container.WaitConditionNotRunning)
	stream, err := e.docker.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Follow: true})
	if err != nil {
		return fmt.Errorf("read log of %s: %w", service, reach(err))
	}
	defer stream.Close()
	if _, err := stdcopy.StdCopy(out, out, stream); err != nil {
		return causeOf(ctx, fmt.Errorf("read log of %s: %w", service, err))
	}
	select {
	case result := <-done:
		if result.StatusCode != 0 {
			return fmt.Errorf("service %s exited with code %d", service, result.StatusCode)
		}
		return nil
	case err := <-failed:
		return causeOf(ctx, fmt.Errorf("wait for %s: %w", service, reach(err)))
	}
}

// sweep removes the containers of a test.
func (e *Engine) sweep(ctx context.Context, project, service string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	list, err := e.list(ctx, project, service)
	if err != nil {
		return err
	}
	return e.Remove(ctx, list)
}
