package engine

import (
	"slices"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
	"github.com/google/go-cmp/cmp"
)

// inspected is Docker's answer about a container that runs.
func inspected(change func(*container.InspectResponse)) container.InspectResponse {
	info := container.InspectResponse{
		ContainerJSONBase: &container.ContainerJSONBase{
			ID: "4711", Name: "/books-ms-app-blue-1", Image: "sha256:1111", RestartCount: 2,
			State:      &container.State{Status: "running", StartedAt: "2026-11-21T01:02:03.000000004Z"},
			HostConfig: &container.HostConfig{},
		},
		Config:          &container.Config{Image: "books-ms:1.0", Labels: map[string]string{LabelDeployment: "20261121-010203-7f3a"}},
		NetworkSettings: &container.NetworkSettings{},
	}
	if change != nil {
		change(&info)
	}
	return info
}

func TestAContainerIsWhatDockerTells(t *testing.T) {
	basic := Container{
		ID: "4711", Name: "books-ms-app-blue-1", Image: "books-ms:1.0", ImageID: "sha256:1111", Deployment: "20261121-010203-7f3a",
		State: "running", Restarts: 2, Since: time.Date(2026, 11, 21, 1, 2, 3, 4, time.UTC),
	}
	tests := []struct {
		name   string
		info   func(*container.InspectResponse)
		change func(*Container)
	}{
		{name: "it runs", change: func(*Container) {}},
		{
			name: "it exited", change: func(c *Container) { c.State, c.ExitCode = "exited", 3 },
			info: func(i *container.InspectResponse) { i.State.Status, i.State.ExitCode = "exited", 3 },
		},
		{
			name: "it never started", change: func(c *Container) { c.State, c.Since = "created", time.Time{} },
			info: func(i *container.InspectResponse) {
				i.State.Status, i.State.StartedAt = "created", "0001-01-01T00:00:00Z"
			},
		},
		{
			name: "it is healthy", change: func(c *Container) { c.Health = "healthy" },
			info: func(i *container.InspectResponse) { i.State.Health = &container.Health{Status: "healthy"} },
		},
		{
			name: "its health check is switched off", change: func(*Container) {},
			info: func(i *container.InspectResponse) { i.State.Health = &container.Health{Status: "none"} },
		},
		{
			name: "it has an address on each network", change: func(c *Container) { c.Addresses = []string{"172.18.0.5", "172.19.0.5"} },
			info: func(i *container.InspectResponse) {
				i.NetworkSettings.Networks = map[string]*network.EndpointSettings{"a": {IPAddress: "172.18.0.5"}, "b": {IPAddress: "172.19.0.5"}, "c": {}}
			},
		},
		{
			name: "it has the host's network", change: func(c *Container) { c.HostMode, c.Ports = true, []Port{{8080, 8080, "tcp"}} },
			info: func(i *container.InspectResponse) {
				i.HostConfig.NetworkMode, i.Config.ExposedPorts = "host", nat.PortSet{"8080/tcp": {}}
			},
		},
		{
			name: "it exposes a port and publishes it", change: func(c *Container) { c.Ports = []Port{{8080, 32001, "tcp"}} },
			info: func(i *container.InspectResponse) {
				i.Config.ExposedPorts = nat.PortSet{"8080/tcp": {}}
				i.NetworkSettings.Ports = nat.PortMap{"8080/tcp": {{HostIP: "0.0.0.0", HostPort: "32001"}}}
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := basic
			tt.change(&want)
			got := fromInspect(inspected(tt.info))
			slices.Sort(got.Addresses)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAPortIsThereAsOftenAsItIsPublished(t *testing.T) {
	tests := []struct {
		name     string
		port     nat.Port
		bindings []nat.PortBinding
		want     []Port
	}{
		{"exposed only", "8080/tcp", nil, []Port{{8080, 0, "tcp"}}},
		{"published", "8080/tcp", []nat.PortBinding{{HostIP: "0.0.0.0", HostPort: "32001"}}, []Port{{8080, 32001, "tcp"}}},
		{"IPv4 and IPv6", "8080/tcp", []nat.PortBinding{{HostIP: "0.0.0.0", HostPort: "32001"}, {HostIP: "::", HostPort: "32002"}}, []Port{{8080, 32001, "tcp"}, {8080, 32002, "tcp"}}},
		{"UDP", "53/udp", []nat.PortBinding{{HostPort: "32053"}}, []Port{{53, 32053, "udp"}}},
		{"not bound yet", "8080/tcp", []nat.PortBinding{{}}, []Port{{8080, 0, "tcp"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, published(tt.port, tt.bindings)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAContainerServesAtItsPublishedPortsAndItsOwnAddress(t *testing.T) {
	c := Container{Addresses: []string{"172.18.0.5"}, Ports: []Port{{8080, 32001, "tcp"}, {8080, 32002, "tcp"}, {9090, 0, "tcp"}}}
	tests := []struct {
		name string
		host string
		port int
		want bool
	}{
		{"published", "10.0.0.1", 32001, true},
		{"published for IPv6", "fd00::1", 32002, true},
		{"its own address", "172.18.0.5", 8080, true},
		{"its own address and a port that is not published", "172.18.0.5", 9090, true},
		{"another address", "172.18.0.6", 8080, false},
		{"a port that it does not have", "10.0.0.1", 32003, false},
		{"no port", "10.0.0.1", 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := c.Serves(tt.host, tt.port); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestAStateSaysWhetherAContainerRunsAndWhetherItStaysDown(t *testing.T) {
	for state, want := range map[string]struct{ running, stopped bool }{
		"created": {false, true}, "running": {true, false}, "paused": {false, false}, "restarting": {false, false}, "exited": {false, true}, "dead": {false, true},
	} {
		t.Run(state, func(t *testing.T) {
			if c := (Container{State: state}); c.Running() != want.running || c.Stopped() != want.stopped {
				t.Errorf("running %t, stopped %t", c.Running(), c.Stopped())
			}
		})
	}
}
