//go:build bench

package bench

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bg/internal/consultest"
	"bg/internal/dockerdtest"
	"bg/internal/stacktest"
)

// callsAtOnce is how many calls of the floor the Engine has at a time, where it
// makes many containers: one after the other it would take longer than bg.
const callsAtOnce = 8

func TestBenchInstances(t *testing.T) {
	up, down := newGrowth("instances"), newGrowth("instances")
	s := newSiteOf(t, ownStack(t))
	services := []*service{s.add(byBG), s.add(byFloor)}
	for _, v := range services {
		v.atOnce = callsAtOnce
		v.deploy()
		v.deploy()
	}
	for _, size := range []struct{ instances, rounds int }{{1, *rounds}, {10, few(5)}, {100, few(3)}, {500, few(1)}} {
		if size.instances > *most {
			continue
		}
		more := &contest{services: services, got: map[string][]measured{}}
		less := &contest{services: services, got: map[string][]measured{}}
		for range size.rounds {
			for _, v := range services {
				v.instances = size.instances
				more.got[v.way] = append(more.got[v.way], v.deploy())
				v.instances = 1
				less.got[v.way] = append(less.got[v.way], v.deploy())
			}
		}
		up.add(size.instances, more)
		down.add(size.instances, less)
	}
	text := fmt.Sprintf(`First a deployment of so many instances that takes the place of one, then a deployment of one that takes the place of so many.
A Docker of its own runs them. What Docker takes to create, start and stop so many is the floor's, whose calls are %d at a time here; what bg adds
is the difference.`, callsAtOnce)
	slope := (up.last.own() - up.first.own()) / float64(max(1, up.size-1))
	found.add(Section{Title: "7. Growth: instances of a color", Text: text, Tables: []Table{up.table, down.table}},
		Goal{Key: "instances", Words: "each further instance, wall of bg without the floor", Limit: 20, Got: 1000 * slope, Unit: "ms"})
}

// ownStack starts a Docker of the test's own, with the images, a database, and a
// Consul and a registrator beside it: hundreds of containers that end at once may
// lock a Docker Engine up.
func ownStack(t *testing.T) *stacktest.Stack {
	t.Helper()
	// Ports are published by the kernel alone: not two processes for each container.
	daemon := dockerdtest.Start(t, "--userland-proxy=false")
	s := stack
	s.Host, s.HostPort, s.Redis = daemon.Address, "80", daemon.Address+":6379"
	s.Env, s.Consul = []string{"DOCKER_HOST=" + daemon.Host}, consultest.Start(t, "")
	archive := filepath.Join(t.TempDir(), "images.tar")
	images := []string{"nginx:1.30", "redis:8", s.Name + ":" + stacktest.Tags[0], s.Name + ":" + stacktest.Tags[1]}
	for _, c := range []struct {
		at   *stacktest.Stack
		args []string
	}{
		{&stack, append([]string{"save", "-o", archive}, images...)},
		{&s, []string{"load", "-i", archive}},
		{&s, []string{"run", "-d", "--name", s.Name + "-redis", "--network", "host", "-l", "SERVICE_IGNORE=true", "redis:8"}},
	} {
		if _, err := c.at.Output("docker", c.args...); err != nil {
			t.Fatal(err)
		}
	}
	startRegistrator(t, &s)
	return &s
}

// startRegistrator runs bg's registrator until the end of the test.
func startRegistrator(t *testing.T, s *stacktest.Stack) {
	t.Helper()
	log := &strings.Builder{}
	cmd := exec.CommandContext(t.Context(), s.BG, "registrator", "-cleanup", "-retry-attempts=-1", "-hostname="+s.Name, "-ip="+s.Host,
		"-listen="+net.JoinHostPort("127.0.0.1", fmt.Sprint(stacktest.FreePort())), "consul://"+s.Consul)
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // it says that it was killed
		if t.Failed() {
			t.Logf("the registrator wrote:\n%s", log)
		}
	})
}
