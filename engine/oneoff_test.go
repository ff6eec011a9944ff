package engine

import (
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"
)

func TestAURLOnThisMachinesLoopbackIsRewrittenForAContainer(t *testing.T) {
	tests := []struct{ name, value, want string }{
		{"localhost with a port", "http://localhost:8000", "http://host.docker.internal:8000"},
		{"localhost without one", "http://localhost/api?x=1", "http://host.docker.internal/api?x=1"},
		{"IPv4", "http://127.0.0.1:8000/api", "http://host.docker.internal:8000/api"},
		{"any of the loopback", "http://127.0.0.53:53", "http://host.docker.internal:53"},
		{"IPv6", "http://[::1]:8000", "http://host.docker.internal:8000"},
		{"with a user", "redis://user:word@localhost:6379/0", "redis://user:word@host.docker.internal:6379/0"},
		{"another address", "http://10.0.0.1:8000", "http://10.0.0.1:8000"},
		{"another name", "http://nginx:80", "http://nginx:80"},
		{"a name that begins the same", "http://localhost.example:80", "http://localhost.example:80"},
		{"an address and no URL", "127.0.0.1:8000", "127.0.0.1:8000"},
		{"a word", "blue", "blue"},
		{"nothing", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := fromInside(tt.value); got != tt.want {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestATestRunsOnceAndReachesThisMachine(t *testing.T) {
	env := map[string]string{"DOMAIN": "http://127.0.0.1:8000"}
	tests := []struct {
		name    string
		service types.ServiceConfig
		domain  string
		hosts   types.HostsList
	}{
		{"on a network of its own", types.ServiceConfig{}, "http://host.docker.internal:8000", types.HostsList{"host.docker.internal": {"host-gateway"}}},
		{
			"with hosts of its own", types.ServiceConfig{NetworkMode: "bridge", ExtraHosts: types.HostsList{"db": {"10.0.0.2"}}},
			"http://host.docker.internal:8000", types.HostsList{"host.docker.internal": {"host-gateway"}, "db": {"10.0.0.2"}},
		},
		{"on the host's network", types.ServiceConfig{NetworkMode: "host"}, "http://127.0.0.1:8000", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.service
			three, kept := 3, "kept"
			s.Scale, s.Restart, s.Environment = &three, "always", types.MappingWithEquals{"OTHER": &kept}
			asTest(&s, env)
			if got := *s.Environment["DOMAIN"]; got != tt.domain || *s.Environment["OTHER"] != "kept" {
				t.Errorf("DOMAIN is %s", got)
			}
			if diff := cmp.Diff(tt.hosts, s.ExtraHosts); diff != "" {
				t.Errorf("hosts (-want +got):\n%s", diff)
			}
			if s.GetScale() != 1 || s.Restart != "no" {
				t.Errorf("scale %d, restart %s", s.GetScale(), s.Restart)
			}
		})
	}
}
