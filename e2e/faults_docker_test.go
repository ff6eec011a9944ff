//go:build faults

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bg/internal/dockerdtest"
	"bg/internal/stacktest"
)

// engine is a Docker daemon that cells may restart one after the other, with the
// images that a service needs.
type engine struct {
	*dockerdtest.Daemon
	vars stacktest.Stack
}

// newEngine starts a daemon and loads the images.
func newEngine(t *testing.T, args ...string) *engine {
	t.Helper()
	// Ports are published by the kernel alone: a process of the daemon's that
	// stands in between would end with it.
	e := &engine{Daemon: dockerdtest.Start(t, append([]string{"--userland-proxy=false"}, args...)...)}
	e.vars = stacktest.Stack{Name: stack.Name, Root: root, Host: e.Address, Env: []string{"DOCKER_HOST=" + e.Host}}
	archive := filepath.Join(t.TempDir(), "images.tar")
	docker(t, "save", "-o", archive, "nginx:1.30", "redis:8", stack.Name+":1.0", stack.Name+":2.0")
	if _, err := e.vars.Output("docker", "load", "-i", archive); err != nil {
		t.Fatal(err)
	}
	// In the daemon's own network, like nginx: bridges are kept apart.
	if _, err := e.vars.Output("docker", "run", "-d", "--name", e.vars.Name+"-redis", "--network", "host", "--restart", "unless-stopped", "-l", "SERVICE_IGNORE=true", "redis:8"); err != nil {
		t.Fatal(err)
	}
	e.vars.Redis, e.vars.HostPort = e.Address+":6379", "80"
	return e
}

// site starts a Consul and a registrator for the daemon.
func (e *engine) site(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, Stack: e.vars, engine: e}
	s.startConsul(1)
	s.startRegistrator(e.Host, "-ip="+e.Address)
	return s
}

// onEngine runs the cells of one way of restarting.
func (m *matrix) onEngine(t *testing.T, list []cell) {
	e := newEngine(t, list[0].engine...)
	for _, c := range list {
		c.site = func(t *testing.T) *site { return e.site(t) }
		t.Run(c.name, func(t *testing.T) { m.cell(t, c) })
	}
}

// containersEnd is how a daemon that does not let containers live is in the data path.
const containersEnd = "all containers end"

// dockerCells restart the daemon. Where it lets containers live, it makes its rules
// for published ports anew as it starts, and a connection of that instant is refused;
// where it ends them, all clients notice, and each container has another port afterwards.
func dockerCells() []cell {
	var all []cell
	for _, mode := range []struct {
		group, dataPath string
		args            []string
	}{
		{"Docker restarted, live-restore on", "for an instant no published port leads anywhere", []string{"--live-restore"}},
		{"Docker restarted, live-restore off", containersEnd, []string{"--live-restore=false"}},
	} {
		for _, at := range []string{"before:start", "in:register", "before:switch", "in:switch", "before:posttest", "before:commit", "in:drain", "before:stop"} {
			all = append(all, cell{group: mode.group, name: named(at), dataPath: mode.dataPath, engine: mode.args, nginx: []string{"--restart", "unless-stopped"}, run: func(f *faulty) {
				e := f.parts.engine
				r := f.at(at, func() { e.Stop(); e.Start() }, "deploy", f.service)
				f.endsWith(r, append([]int{done, 4, undoFailed}, anyStep...)...)
				f.mend()
			}})
		}
	}
	return all
}

// mend does what bg says is to be done about a service whose containers may have
// been started again at other ports.
func (f *faulty) mend() {
	f.Helper()
	eventually(f, time.Minute, func() error {
		if state := f.docker("inspect", "-f", "{{.State.Status}}", f.nginx); state != "running" {
			return fmt.Errorf("nginx is %s", state)
		}
		return nil
	})
	live := strings.TrimSpace(f.kv("color"))
	switch outcome := f.newest().Outcome; {
	case live == "green":
		f.must([]int{done, usage}, "resume", f.service)
	case outcome == "running" || outcome == "undo failed":
		f.must([]int{done}, "abort", f.service)
	}
	if f.row.DataPath == containersEnd { // the containers were started again, at other ports
		f.must([]int{done}, "repair", f.service)
	}
	f.whole(live)
}
