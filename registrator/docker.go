package registrator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"

	"bg/hint"
)

// ErrDocker is returned when the Docker daemon cannot be reached.
var ErrDocker = errors.New("docker cannot be reached")

// NewDocker returns a client for DOCKER_HOST and its companions. Without them it
// is the usual socket, or /tmp/docker.sock, where Registrator looks for it.
func NewDocker() (*client.Client, error) {
	opts := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	const usual, registrators = "/var/run/docker.sock", "/tmp/docker.sock"
	if os.Getenv("DOCKER_HOST") == "" && !exists(usual) && exists(registrators) {
		opts = append(opts, client.WithHost("unix://"+registrators))
	}
	docker, err := client.NewClientWithOpts(opts...)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("%w: %w", ErrDocker, err), "check DOCKER_HOST and DOCKER_CERT_PATH")
	}
	return docker, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// engine is the Docker daemon.
type engine struct{ client *client.Client }

// listed is one container of the daemon's list. Print changes whenever
// something does that the list shows and the contract depends on.
type listed struct {
	id      string
	state   string
	print   string
	created time.Time
}

// live reports whether the container may have services.
func (l listed) live() bool {
	return l.state == container.StateRunning || l.state == container.StatePaused
}

// list returns the containers that live, with exited also those that did.
func (e engine) list(ctx context.Context, exited bool) ([]listed, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, errSlow)
	defer cancel()
	summaries, err := e.client.ContainerList(ctx, container.ListOptions{All: exited})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", cause(ctx, err))
	}
	all := make([]listed, 0, len(summaries))
	for _, s := range summaries {
		all = append(all, listed{id: s.ID, state: s.State, print: print(s), created: time.Unix(s.Created, 0)})
	}
	return all, nil
}

// print is what of a container can change while it runs.
func print(s container.Summary) string {
	ports := make([]string, 0, len(s.Ports))
	for _, p := range s.Ports {
		ports = append(ports, fmt.Sprint(p.IP, p.PublicPort, p.PrivatePort, p.Type))
	}
	slices.Sort(ports)
	parts := append([]string{s.State}, append(s.Names, ports...)...)
	if s.NetworkSettings != nil {
		for _, name := range slices.Sorted(maps.Keys(s.NetworkSettings.Networks)) {
			parts = append(parts, name+"="+s.NetworkSettings.Networks[name].IPAddress)
		}
	}
	return strings.Join(parts, " ")
}

// state is a container when it was looked at.
type state struct {
	Container
	running  bool
	exitCode int
}

// inspect looks at a container, and at the one whose network it shares. It
// returns false when the container is gone.
func (e engine) inspect(ctx context.Context, id string) (state, bool, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, errSlow)
	defer cancel()
	answer, err := e.client.ContainerInspect(ctx, id)
	switch {
	case errdefs.IsNotFound(err):
		return state{}, false, nil
	case err != nil:
		return state{}, false, fmt.Errorf("inspect container %s: %w", short(id), cause(ctx, err))
	}
	s := *stateOf(answer)
	if peer, shares := strings.CutPrefix(s.Mode, "container:"); shares && s.running {
		answer, err := e.client.ContainerInspect(ctx, peer)
		switch {
		case err == nil:
			s.Peer = &stateOf(answer).Container
		case !errdefs.IsNotFound(err):
			return state{}, false, fmt.Errorf("inspect container %s, whose network %s shares: %w", short(peer), short(id), cause(ctx, err))
		}
	}
	return s, true, nil
}

// stateOf picks from Docker's answer what the contract depends on.
func stateOf(answer container.InspectResponse) *state {
	s := &state{Container: Container{
		ID:       answer.ID,
		Name:     strings.TrimPrefix(answer.Name, "/"),
		Image:    answer.Config.Image,
		Env:      answer.Config.Env,
		Labels:   answer.Config.Labels,
		Mode:     string(answer.HostConfig.NetworkMode),
		Bindings: map[string][]Binding{},
		Networks: map[string]string{},
	}}
	// A container between two attempts of its restart policy runs nothing.
	s.running = answer.State.Running && !answer.State.Restarting
	s.exitCode = answer.State.ExitCode
	s.Created, _ = time.Parse(time.RFC3339Nano, answer.Created) // only orders containers with the same SERVICE_ID
	for port := range answer.Config.ExposedPorts {
		s.Exposed = append(s.Exposed, string(port))
	}
	for port, bindings := range answer.NetworkSettings.Ports {
		list := make([]Binding, 0, len(bindings))
		for _, b := range bindings {
			list = append(list, Binding{IP: b.HostIP, Port: b.HostPort})
		}
		s.Bindings[string(port)] = list
	}
	for name, network := range answer.NetworkSettings.Networks {
		s.Networks[name] = network.IPAddress
	}
	return s
}

// failed reports whether the container ended with a failure of its own, rather
// than by a signal (exit codes from 128 on).
func (s state) failed() bool { return !s.running && s.exitCode != 0 && s.exitCode&128 == 0 }

// watch calls hint with the id of each container that something happened to,
// until the stream ends. It returns why. Connected is called when the stream
// is open.
func (e engine) watch(ctx context.Context, connected func(), hint func(id string)) error {
	ping, cancel := context.WithTimeoutCause(ctx, callTimeout, errSlow)
	defer cancel()
	if _, err := e.client.Ping(ping); err != nil {
		return cause(ping, err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	messages, errs := e.client.Events(ctx, events.ListOptions{Filters: interesting()})
	connected()
	for {
		select {
		case m := <-messages:
			if m.Type == events.NetworkEventType {
				hint(m.Actor.Attributes["container"])
			} else {
				hint(m.Actor.ID)
			}
		case err := <-errs:
			return err
		}
	}
}

// interesting selects the events after which services may differ. Filtered by
// the daemon, health checks and execs cost nothing here.
func interesting() filters.Args {
	args := filters.NewArgs(filters.Arg("type", string(events.ContainerEventType)), filters.Arg("type", string(events.NetworkEventType)))
	for _, action := range []events.Action{events.ActionStart, events.ActionDie, events.ActionDestroy, events.ActionRename,
		events.ActionConnect, events.ActionDisconnect} {
		args.Add("event", string(action))
	}
	return args
}

// host returns what identifies the daemon, and the name of the machine it runs on.
func (e engine) host(ctx context.Context) (id, name string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, errSlow)
	defer cancel()
	info, err := e.client.Info(ctx)
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", ErrDocker, cause(ctx, err))
	}
	sum := sha256.Sum256([]byte(info.ID))
	return hex.EncodeToString(sum[:6]), info.Name, nil
}
