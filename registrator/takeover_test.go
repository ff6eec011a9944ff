package registrator

import (
	"fmt"
	"testing"

	"github.com/hashicorp/consul/api"
)

// TestTakingOverFromRegistratorKeepsTheServiceAndItsStatus registers a service as
// Registrator does, and starts bg next to it.
func TestTakingOverFromRegistratorKeepsTheServiceAndItsStatus(t *testing.T) {
	t.Parallel()
	c, d := startConsul(t), useDocker(t)
	host, name := unique(t, "host"), unique(t, "web")
	container := d.run(serving(name, "SERVICE_NAME="+name, "SERVICE_CHECK_TTL=10m"))
	id := host + ":" + name + ":80"
	stock := &api.AgentServiceRegistration{ID: id, Name: name, Address: "192.0.2.7", Port: publishedPort(t, d, container),
		Meta: map[string]string{"check_ttl": "10m"}, Check: &api.AgentServiceCheck{TTL: "10m"}}
	if err := c.api.Agent().ServiceRegister(stock); err != nil {
		t.Fatal(err)
	}
	if err := c.api.Agent().UpdateTTL(checkID(id), "", api.HealthPassing); err != nil {
		t.Fatal(err)
	}
	var index uint64
	eventually(t, func() error { return passing(c, name, &index) })
	cfg := configFor(host)
	cfg.IP = "192.0.2.7"
	startRegistrator(t, d, c.uri(), cfg).synced(t)
	eventually(t, func() error {
		services, err := c.services(id)
		if err == nil && markOf(services[id].TaggedAddresses).Container != short(container) {
			err = fmt.Errorf("not taken over: %+v", services[id])
		}
		return err
	})
	if err := passing(c, name, &index); err != nil {
		t.Error(err)
	}
	checks, _, err := c.api.Health().Checks(name, nil)
	if err != nil || len(checks) != 1 || checks[0].CreateIndex > index {
		t.Errorf("the check was replaced: %v %v", checks, err)
	}
}

// passing fails unless the catalog has one passing instance, and notes at which index.
func passing(c *consul, name string, index *uint64) error {
	entries, meta, err := c.api.Health().Service(name, "", true, &api.QueryOptions{RequireConsistent: true})
	if err == nil && len(entries) != 1 {
		err = fmt.Errorf("%d passing instances", len(entries))
	}
	if err == nil {
		*index = meta.LastIndex
	}
	return err
}

func TestACheckThatIsNoLongerAskedForGoes(t *testing.T) {
	t.Parallel()
	c, d := startConsul(t), useDocker(t)
	host, name := unique(t, "host"), unique(t, "web")
	startRegistrator(t, d, c.uri(), configFor(host)).synced(t)
	id := host + ":" + name + ":80"
	checked := func(want bool) func() error {
		return func() error {
			services, err := c.services(id)
			if err != nil {
				return err
			}
			if services[id] == nil {
				return fmt.Errorf("Consul has %v", services)
			}
			checks, err := c.api.Agent().Checks()
			if _, has := checks[checkID(id)]; err == nil && has != want {
				err = fmt.Errorf("checked: %t", has)
			}
			return err
		}
	}
	first := d.run(serving(name, "SERVICE_CHECK_TCP=true"))
	eventually(t, checked(true))
	// The successor has the same name and so the same id; the old one is only
	// renamed, and leaves after the new one came.
	old := name + "-old"
	if err := d.api.ContainerRename(t.Context(), first, old); err != nil {
		t.Fatal(err)
	}
	d.run(serving(name))
	d.remove(first)
	eventually(t, checked(false))
}
