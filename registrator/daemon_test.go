//go:build burst

package registrator

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"golang.org/x/sync/errgroup"
)

// daemon is a Docker daemon of the test's own, in a network namespace of its own,
// so that it can be killed. It needs root.
type daemon struct {
	t    *testing.T
	cmd  *exec.Cmd
	args []string
	host string
}

func startDaemon(t *testing.T) (*daemon, *docker) {
	t.Helper()
	// Short, because the path of a socket may have 107 bytes only.
	dir, err := os.MkdirTemp("/tmp", "bgreg")
	if err != nil {
		t.Fatal(err)
	}
	namespace := filepath.Base(dir)
	must(t, "ip", "netns", "add", namespace)
	must(t, "ip", "-n", namespace, "link", "set", "lo", "up")
	w := &daemon{t: t, host: "unix://" + filepath.Join(dir, "docker.sock")}
	w.args = []string{"--net=/run/netns/" + namespace, "dockerd", "-H", w.host, "--data-root", filepath.Join(dir, "data"),
		"--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "pid"), "--log-level=warn"}
	w.start()
	t.Cleanup(func() {
		w.end()
		must(t, "ip", "netns", "delete", namespace)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	api, err := client.NewClientWithOpts(client.WithHost(w.host), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	d := &docker{t: t, api: api}
	w.answers(api)
	return w, d.build()
}

func must(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

func (w *daemon) start() {
	w.t.Helper()
	w.cmd = exec.Command("nsenter", w.args...)
	w.cmd.Stdout, w.cmd.Stderr = testWriter{w.t}, testWriter{w.t}
	if err := w.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *daemon) answers(api *client.Client) {
	w.t.Helper()
	eventually(w.t, time.Minute, func() error {
		_, err := api.Ping(context.WithoutCancel(w.t.Context()))
		return err
	})
}

func (w *daemon) kill() { kill9(w.t, w.cmd) }

// end stops the daemon, which stops its containers and its containerd.
func (w *daemon) end() {
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		w.t.Error(err)
	}
	_ = w.cmd.Wait() // what it says on its way is of no interest
}

// TestTheDockerDaemonKilled kills dockerd in the middle of bursts. A daemon that
// comes back ends the containers that ran, unless it is told to keep them.
func TestTheDockerDaemonKilled(t *testing.T) {
	w, d := startDaemon(t)
	b := &burst{d: d, c: startConsul(t), host: unique(t, "host"), prefix: unique(t, "burst")}
	b.create(40)
	t.Setenv("DOCKER_HOST", w.host)
	cfg := configFor(b.host)
	cfg.IP = "192.0.2.7"
	startChild(t, b.c.uri(), cfg)
	for round := range 3 {
		starting := b.start(round)
		b.someRegistered(t)
		w.kill()
		t.Logf("round %d: %v", round, ended(starting))
		w.start()
		w.answers(d.api)
		b.wait(b.each(func(i int, id string) error {
			if i%2 == 0 {
				return b.d.api.ContainerStart(t.Context(), id, container.StartOptions{})
			}
			return nil
		}))
		t.Logf("round %d: %s until Consul had exactly what ran", round, b.settled(t, afterRestart))
		b.wait(b.stopAll())
		t.Logf("round %d: %s until Consul had nothing of it", round, b.settled(t, soon))
	}
}

// ended waits for calls of which some fail, because the daemon went away.
func ended(g *errgroup.Group) error {
	if err := g.Wait(); err != nil {
		return fmt.Errorf("as expected: %w", err)
	}
	return nil
}
