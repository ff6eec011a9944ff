package registrator

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"golang.org/x/sync/errgroup"
)

// burst is a crowd of containers that start and stop all at once.
type burst struct {
	d      *docker
	c      *consul
	host   string // of the registrator
	prefix string // of the containers' names
	ids    []string
	within time.Duration // of the last event Consul has to be right
}

// TestBurst starts and stops crowds of containers, some of which end at once or
// have ids of their own, while something is killed, and compares what Consul has
// in the end with what runs.
func TestBurst(t *testing.T) {
	for _, test := range []struct {
		name string
		kill func(t *testing.T, b *burst, child *exec.Cmd) *exec.Cmd
	}{
		{"undisturbed", func(_ *testing.T, _ *burst, child *exec.Cmd) *exec.Cmd { return child }},
		{"registrator killed", killRegistrator},
		{"Consul killed", killConsul},
	} {
		t.Run(test.name, func(t *testing.T) {
			besideOthers(t)
			b := newBurst(t, useDocker(t), startConsul(t), crowd)
			child := startChild(t, b.c.uri(), configFor(b.host))
			for round := range rounds {
				starting := b.each(b.startAll(round))
				child = test.kill(t, b, child)
				b.wait(starting)
				t.Logf("round %d: %s until Consul had exactly the %d that ran", round, b.settled(t), b.count(t))
				b.wait(b.each(b.stopAll))
				t.Logf("round %d: %s until Consul had nothing of it", round, b.settled(t))
			}
		})
	}
}

func killRegistrator(t *testing.T, b *burst, child *exec.Cmd) *exec.Cmd {
	b.underWay(t)
	kill9(t, child)
	return startChild(t, b.c.uri(), configFor(b.host))
}

func killConsul(t *testing.T, b *burst, child *exec.Cmd) *exec.Cmd {
	b.underWay(t)
	b.c.kill()
	b.c.start()
	return child
}

// newBurst makes the crowd. Every tenth ends at once, every seventh has an id of its own.
func newBurst(t *testing.T, d *docker, c *consul, size int) *burst {
	t.Helper()
	b := &burst{d: d, c: c, host: unique(t, "host"), prefix: unique(t, "burst"), ids: make([]string, size), within: afterBurst}
	b.wait(b.each(func(i int, _ string) (err error) {
		s := serving(fmt.Sprintf("%s-%03d", b.prefix, i))
		if i%7 == 0 {
			s.Env = append(s.Env, fmt.Sprintf("SERVICE_ID=%s:custom-%s", b.host, s.Name))
		}
		if i%10 == 0 {
			s.Env = append(s.Env, "EXIT=1")
		}
		b.ids[i], err = d.add(s)
		return err
	}))
	return b
}

// startAll starts all containers and stops every third as soon as it has started.
func (b *burst) startAll(round int) func(i int, id string) error {
	return func(i int, id string) error {
		if err := b.start(id); err != nil || (i+round)%3 != 0 {
			return err
		}
		return b.stop(id)
	}
}

func (b *burst) stopAll(_ int, id string) error { return b.stop(id) }

func (b *burst) start(id string) error {
	return b.d.api.ContainerStart(b.d.t.Context(), id, container.StartOptions{})
}

func (b *burst) stop(id string) error {
	now := 0
	return b.d.api.ContainerStop(b.d.t.Context(), id, container.StopOptions{Timeout: &now})
}

func (b *burst) each(do func(i int, id string) error) *errgroup.Group {
	g := &errgroup.Group{}
	g.Go(func() error {
		workers := errgroup.Group{}
		workers.SetLimit(callsAtOnce)
		for i, id := range b.ids {
			workers.Go(func() error { return do(i, id) })
		}
		return workers.Wait()
	})
	return g
}

func (b *burst) wait(g *errgroup.Group) {
	b.d.t.Helper()
	if err := g.Wait(); err != nil {
		b.d.t.Fatal(err)
	}
}

// underWay waits until the burst is in its middle: six in ten of a crowd stay. How fast
// Docker starts them is not what is measured.
func (b *burst) underWay(t *testing.T) {
	t.Helper()
	eventuallyWithin(t, 10*soon, func() error {
		services, err := b.c.services(b.host)
		registered := 0
		for id := range services {
			if strings.Contains(id, b.prefix) {
				registered++
			}
		}
		if err == nil && registered < len(b.ids)/4 {
			err = fmt.Errorf("only %d are registered yet", registered)
		}
		return err
	})
}

// settled waits until Consul's catalog has exactly the containers that run, with
// their ports, and returns how long that took.
func (b *burst) settled(t *testing.T) time.Duration {
	t.Helper()
	start := time.Now()
	eventuallyWithin(t, b.within, func() error {
		want, err := b.running()
		if err != nil {
			return err
		}
		found, err := b.c.catalogIDs(imageName)
		if err != nil {
			return err
		}
		for id, s := range found {
			if strings.HasPrefix(id, b.host+":") && strings.Contains(id, b.prefix) && want[id] != s.ServicePort {
				return fmt.Errorf("Consul has %s with port %d, Docker %d", id, s.ServicePort, want[id])
			}
		}
		for id := range want {
			if found[id] == nil {
				return fmt.Errorf("Consul lacks %s", id)
			}
		}
		return nil
	})
	return time.Since(start).Round(time.Millisecond)
}

// count returns how many of the crowd run.
func (b *burst) count(t *testing.T) int {
	t.Helper()
	ids, err := b.running()
	if err != nil {
		t.Fatal(err)
	}
	return len(ids)
}

// running returns the ids that the crowd's running containers should have, with their ports.
func (b *burst) running() (map[string]int, error) {
	list, err := b.d.api.ContainerList(b.d.t.Context(), container.ListOptions{Filters: filters.NewArgs(filters.Arg("name", b.prefix))})
	want := map[string]int{}
	for _, c := range list {
		name := strings.TrimPrefix(c.Names[0], "/")
		id := b.host + ":" + name + ":80"
		var i int
		if _, err := fmt.Sscanf(strings.TrimPrefix(name, b.prefix), "-%d", &i); err != nil {
			return nil, err
		}
		if i%7 == 0 {
			id = b.host + ":custom-" + name
		}
		for _, p := range c.Ports {
			if p.IP == "0.0.0.0" { // its IPv6 twin may have another port
				want[id] = int(p.PublicPort)
			}
		}
	}
	return want, err
}
