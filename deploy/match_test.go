package deploy

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"bg/engine"
	"bg/registry"
)

// The deployment whose containers these tests look for.
const deployment = "20261121-010203-7f3a"

// container is one container of the deployment with published ports.
func container(name string, hostPorts ...int) engine.Container {
	c := engine.Container{Name: name, Deployment: deployment, Addresses: []string{"172.18.0.5"}}
	for _, port := range hostPorts {
		c.Ports = append(c.Ports, engine.Port{Container: 8080, Host: port, Protocol: "tcp"})
	}
	return c
}

// instance is one registration of the deployment.
func instance(id, address string, port int, checks ...registry.Check) registry.Instance {
	return registry.Instance{ID: id, Address: address, Port: port, Deployment: deployment, Checks: checks}
}

// of changes the deployment of an instance.
func of(id string, i registry.Instance) registry.Instance {
	i.Deployment = id
	return i
}

func TestARegistrationBelongsToTheContainerOfItsDeploymentAndPort(t *testing.T) {
	passing := registry.Check{Name: "ping", Status: "passing"}
	tests := []struct {
		name       string
		containers []engine.Container
		instances  []registry.Instance
		complete   bool
		addresses  []string
		lack       string
	}{
		{
			name:       "one container, one registration",
			containers: []engine.Container{container("a", 32001)},
			instances:  []registry.Instance{instance("host:a:8080", "10.0.0.1", 32001, passing)},
			complete:   true, addresses: []string{"10.0.0.1:32001"},
		},
		{
			name:       "not registered yet",
			containers: []engine.Container{container("a", 32001)},
			lack:       "not registered: a",
		},
		{
			name:       "a ghost with the same service id and the port of before",
			containers: []engine.Container{container("a", 32001)},
			instances:  []registry.Instance{instance("host:a:8080", "10.0.0.1", 31999)},
			lack:       "not registered: a; registered, and not of this deployment: host:a:8080 at 10.0.0.1:31999",
		},
		{
			name:       "a ghost of another deployment that had the same port",
			containers: []engine.Container{container("a", 32001)},
			instances:  []registry.Instance{of("20260101-000000-0000", instance("host:a:8080", "10.0.0.1", 32001))},
			lack:       "not registered: a; registered, and not of this deployment: host:a:8080 at 10.0.0.1:32001",
		},
		{
			name:       "a ghost beside the container",
			containers: []engine.Container{container("a", 32001)},
			instances:  []registry.Instance{instance("host:a:8080", "10.0.0.1", 32001), of("", instance("other:a:8080", "10.0.0.2", 32001))},
			addresses:  []string{"10.0.0.1:32001"},
			lack:       "registered, and not of this deployment: other:a:8080 at 10.0.0.2:32001",
		},
		{
			name:       "IPv4 and IPv6 published under different ports",
			containers: []engine.Container{container("a", 32001, 32002)},
			instances:  []registry.Instance{instance("host:a:8080", "fd00::1", 32002)},
			complete:   true, addresses: []string{"[fd00::1]:32002"},
		},
		{
			name:       "registered on its own address, as -internal does",
			containers: []engine.Container{container("a", 0)},
			instances:  []registry.Instance{instance("host:a:8080", "172.18.0.5", 8080)},
			complete:   true, addresses: []string{"172.18.0.5:8080"},
		},
		{
			name:       "the container's port on an address that is not its own",
			containers: []engine.Container{container("a", 0)},
			instances:  []registry.Instance{instance("host:a:8080", "172.18.0.6", 8080)},
			lack:       "not registered: a; registered, and not of this deployment: host:a:8080 at 172.18.0.6:8080",
		},
		{
			name:       "a check that does not pass",
			containers: []engine.Container{container("a", 32001)},
			instances:  []registry.Instance{instance("host:a:8080", "10.0.0.1", 32001, passing, registry.Check{Name: "db", Status: "critical", Output: "connection refused\n"})},
			addresses:  []string{"10.0.0.1:32001"}, lack: "db is critical: connection refused",
		},
		{
			name:       "two replicas",
			containers: []engine.Container{container("a", 32001), container("b", 32002)},
			instances:  []registry.Instance{instance("host:b:8080", "10.0.0.1", 32002), instance("host:a:8080", "10.0.0.1", 32001)},
			complete:   true, addresses: []string{"10.0.0.1:32001", "10.0.0.1:32002"},
		},
		{
			name:       "one of two replicas",
			containers: []engine.Container{container("a", 32001), container("b", 32002)},
			instances:  []registry.Instance{instance("host:b:8080", "10.0.0.1", 32002)},
			addresses:  []string{"10.0.0.1:32002"}, lack: "not registered: a",
		},
		{
			name:       "one registration does not do for two replicas",
			containers: []engine.Container{container("a", 32001), container("b", 32001)},
			instances:  []registry.Instance{instance("host:a:8080", "10.0.0.1", 32001)},
			addresses:  []string{"10.0.0.1:32001"}, lack: "not registered: b",
		},
		{
			name:       "two replicas where the IPv6 port of one is the IPv4 port of the other",
			containers: []engine.Container{container("a", 32001, 32002), container("b", 32002, 32003)},
			instances:  []registry.Instance{instance("host:b:8080", "10.0.0.1", 32002), instance("host:a:8080", "10.0.0.1", 32001)},
			complete:   true, addresses: []string{"10.0.0.1:32001", "10.0.0.1:32002"},
		},
		{
			name:       "containers that bg did not start",
			containers: []engine.Container{{Name: "a", Ports: []engine.Port{{Container: 8080, Host: 32001}}}},
			instances:  []registry.Instance{of("", instance("host:a:8080", "10.0.0.1", 32001))},
			complete:   true, addresses: []string{"10.0.0.1:32001"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := matching(tt.containers, tt.instances)
			if m.complete() != tt.complete || m.lack() != tt.lack {
				t.Errorf("complete %t, lack %q", m.complete(), m.lack())
			}
			if diff := cmp.Diff(append([]string{}, tt.addresses...), m.addresses()); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatIsLackingComesWithAdvice(t *testing.T) {
	tests := []struct {
		name      string
		instances []registry.Instance
		want      string
	}{
		{"foreign", []registry.Instance{of("", instance("host:a:8080", "10.0.0.1", 32001))}, "remove the stale entry: consul services deregister -id=host:a:8080"},
		{"missing", nil, "is Registrator running, and does the container publish a port and set SERVICE_NAME=books-ms-blue?"},
		{"failing", []registry.Instance{instance("host:a:8080", "10.0.0.1", 32001, registry.Check{Status: "critical"})}, "see the checks of books-ms-blue in the Consul UI"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := matching([]engine.Container{container("a", 32001)}, tt.instances).advice("books-ms-blue"); got != tt.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestWhatRemainsOfStoppedContainersIsTheirs(t *testing.T) {
	foreign := engine.Container{Name: "old", Ports: []engine.Port{{Container: 8080, Host: 32009}}}
	tests := []struct {
		name       string
		containers []engine.Container
		instances  []registry.Instance
		left       int
	}{
		{"nothing is registered", []engine.Container{container("a", 32001)}, nil, 0},
		{"the container's own registration", []engine.Container{container("a", 32001)}, []registry.Instance{instance("x", "10.0.0.1", 32001)}, 1},
		{"its deployment under a port of before a restart", []engine.Container{container("a", 32001)}, []registry.Instance{instance("x", "10.0.0.1", 31999)}, 1},
		{"another deployment under the same port", []engine.Container{container("a", 32001)}, []registry.Instance{of("20260101-000000-0000", instance("x", "10.0.0.1", 32001))}, 0},
		{"what bg did not start, under its port", []engine.Container{foreign}, []registry.Instance{of("", instance("x", "10.0.0.1", 32009))}, 1},
		{"two things that bg did not start", []engine.Container{foreign}, []registry.Instance{of("", instance("x", "10.0.0.1", 32010))}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if left := remaining(tt.containers, tt.instances); len(left) != tt.left {
				t.Errorf("left: %v", left)
			}
		})
	}
}
