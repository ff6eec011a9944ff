package registrator

import (
	"fmt"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"
	"github.com/hashicorp/consul/api"
)

func TestAContainerIsRegisteredWhileItRuns(t *testing.T) {
	t.Parallel()
	c, d := startConsul(t), useDocker(t)
	host, name := unique(t, "host"), unique(t, "web")
	startRegistrator(t, d, c.uri(), configFor(host)).synced(t)

	id := d.run(serving(name, "SERVICE_NAME="+name, "SERVICE_BG_DEPLOY=20261121-010203-7f3a"))
	want := host + ":" + name + ":80"
	eventually(t, func() error { return c.has(want, want) })
	eventually(t, func() error {
		found, err := c.catalogIDs(name)
		if err == nil && (found[want] == nil || found[want].ServiceMeta["bg_deploy"] != "20261121-010203-7f3a") {
			err = fmt.Errorf("the catalog has %v", found)
		}
		return err
	})

	first := publishedPort(t, d, id)
	d.stop(id)
	eventually(t, func() error { return c.has(want) })
	d.start(id)
	if first == publishedPort(t, d, id) {
		t.Log("Docker gave the same port again")
	}
	eventually(t, func() error {
		services, err := c.services(want)
		if err == nil && (services[want] == nil || services[want].Port != publishedPort(t, d, id)) {
			err = fmt.Errorf("Consul has %v", services)
		}
		return err
	})
}

func publishedPort(t *testing.T, d *docker, id string) int {
	t.Helper()
	inspected, err := d.api.ContainerInspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	bindings := inspected.NetworkSettings.Ports["80/tcp"]
	if len(bindings) == 0 {
		t.Fatal("no published port")
	}
	port, err := nat.ParsePort(bindings[0].HostPort)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestAContainerThatDiesAtOnceLeavesNothing(t *testing.T) {
	t.Parallel()
	c, d := startConsul(t), useDocker(t)
	host := unique(t, "host")
	startRegistrator(t, d, c.uri(), configFor(host)).synced(t)
	base := unique(t, "dying")
	for i := range 5 {
		d.run(serving(fmt.Sprint(base, "-", i), "EXIT=1"))
	}
	last := base + "-last"
	d.run(serving(last))
	eventually(t, func() error { return c.has(host+":"+base, host+":"+last+":80") })
}

func TestACrashLoopIsNotRegisteredBetweenItsAttempts(t *testing.T) {
	t.Parallel()
	c, d := startConsul(t), useDocker(t)
	host := unique(t, "host")
	startRegistrator(t, d, c.uri(), configFor(host)).synced(t)
	name := unique(t, "looping")
	loop := serving(name, "EXIT=3")
	loop.HostConfig.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyAlways}
	id := d.run(loop)
	eventually(t, func() error {
		inspected, err := d.api.ContainerInspect(t.Context(), id)
		if err == nil && inspected.RestartCount < 3 {
			err = fmt.Errorf("%d restarts", inspected.RestartCount)
		}
		return err
	})
	eventually(t, func() error { return c.has(host + ":" + name) })
}

func TestARenamedContainerChangesItsID(t *testing.T) {
	t.Parallel()
	c, d := startConsul(t), useDocker(t)
	host, before, after := unique(t, "host"), unique(t, "before"), unique(t, "after")
	startRegistrator(t, d, c.uri(), configFor(host)).synced(t)
	id := d.run(serving(before))
	eventually(t, func() error { return c.has(host+":"+before, host+":"+before+":80") })
	if err := d.api.ContainerRename(t.Context(), id, after); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { return c.has(host+":"+after, host+":"+after+":80") })
	eventually(t, func() error { return c.has(host + ":" + before) })
}

func TestOnlyItsOwnServicesAreRemoved(t *testing.T) {
	t.Parallel()
	c, d := startConsul(t), useDocker(t)
	host := unique(t, "host")
	engine, _, err := engine{d.api}.host(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	marked := func(id string, m Mark) *api.AgentServiceRegistration {
		return &api.AgentServiceRegistration{ID: id, Name: "x", Port: 1, Address: "10.0.0.1",
			TaggedAddresses: map[string]api.ServiceAddress{m.key(): {Address: "10.0.0.2", Port: 1}}}
	}
	const gone = "0123456789ab"
	for _, s := range []*api.AgentServiceRegistration{
		{ID: "by-hand", Name: "x"},
		{ID: host + ":stock:80", Name: "x"},
		marked("other-host", Mark{"elsewhere", engine, gone}),
		marked("other-engine", Mark{host, "ffffffffffff", gone}),
		marked("own-custom-id", Mark{host, engine, gone}),
		marked(host+":own:80", Mark{host, engine, gone}),
	} {
		if err := c.api.Agent().ServiceRegister(s); err != nil {
			t.Fatal(err)
		}
	}
	r := startRegistrator(t, d, c.uri(), configFor(host))
	r.synced(t)
	for prefix, want := range map[string][]string{
		"own-": nil, host + ":own": nil, "by-hand": {"by-hand"}, "other-": {"other-engine", "other-host"},
		host + ":stock": {host + ":stock:80"},
	} {
		if err := c.has(prefix, want...); err != nil {
			t.Error(err)
		}
	}
	r.stop()

	cleaning := configFor(host)
	cleaning.Cleanup = true
	startRegistrator(t, d, c.uri(), cleaning)
	// A container that Docker is busy with holds up the cleanup, not the health.
	for prefix, want := range map[string][]string{
		"by-hand": {"by-hand"}, "other-": {"other-host"}, host + ":stock": nil,
	} {
		eventually(t, func() error { return c.has(prefix, want...) })
	}
}

func TestTwoHostsShareOneConsul(t *testing.T) {
	t.Parallel()
	c, d := startConsul(t), useDocker(t)
	one, two, name := unique(t, "one"), unique(t, "two"), unique(t, "web")
	startRegistrator(t, d, c.uri(), configFor(one)).synced(t)
	second := startRegistrator(t, d, c.uri(), configFor(two))
	second.synced(t)
	id := d.run(serving(name))
	both := func() error {
		if err := c.has(one+":"+name, one+":"+name+":80"); err != nil {
			return err
		}
		return c.has(two+":"+name, two+":"+name+":80")
	}
	eventually(t, both)
	second.stop()
	d.stop(id)
	eventually(t, func() error { return c.has(one + ":" + name) })
	if err := c.has(two+":"+name, two+":"+name+":80"); err != nil {
		t.Errorf("the stopped registrator's service: %v", err)
	}
}

func TestOnSuccessKeepsTheServicesOfAFailedContainer(t *testing.T) {
	t.Parallel()
	c, d := startConsul(t), useDocker(t)
	host := unique(t, "host")
	cfg := configFor(host)
	cfg.Deregister = OnSuccess
	r := startRegistrator(t, d, c.uri(), cfg)
	r.synced(t)
	failing, killed := unique(t, "failing"), unique(t, "killed")
	idFailing := d.run(serving(failing, "FAIL_AFTER=1s"))
	idKilled := d.run(serving(killed))
	eventually(t, func() error { return c.has(host+":"+failing, host+":"+failing+":80") })
	eventually(t, func() error { return c.has(host+":"+killed, host+":"+killed+":80") })
	if err := d.api.ContainerKill(t.Context(), idKilled, "KILL"); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { return c.has(host + ":" + killed) })
	eventually(t, func() error {
		inspected, err := d.api.ContainerInspect(t.Context(), idFailing)
		if err == nil && inspected.State.Running {
			err = fmt.Errorf("it still runs")
		}
		return err
	})
	// A later container shows that the end of the first one was seen.
	later := unique(t, "later")
	d.run(serving(later))
	eventually(t, func() error { return c.has(host+":"+later, host+":"+later+":80") })
	if err := c.has(host+":"+failing, host+":"+failing+":80"); err != nil {
		t.Error(err)
	}
	d.remove(idFailing)
	eventually(t, func() error { return c.has(host + ":" + failing) })
}
