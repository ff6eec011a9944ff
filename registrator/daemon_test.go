//go:build burst

package registrator

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/client"
)

// daemon is a Docker daemon of the test's own, in a network namespace of its own,
// so that it can be killed. It needs root.
type daemon struct {
	t    *testing.T
	cmd  *exec.Cmd
	args []string
	host string
	log  *diary

	exited chan struct{} // closed when the process has ended
}

func startDaemon(t *testing.T) (*daemon, *docker) {
	t.Helper()
	driver := storageDriver(t) // first, because it fails where there is nothing to clean up yet
	// Short, because the path of a socket may have 107 bytes only.
	dir, err := os.MkdirTemp("/tmp", "bgreg")
	if err != nil {
		t.Fatal(err)
	}
	namespace := filepath.Base(dir)
	must(t, "ip", "netns", "add", namespace)
	must(t, "ip", "-n", namespace, "link", "set", "lo", "up")
	config := filepath.Join(dir, "daemon.json") // instead of the one of the machine's daemon
	if err := writeFile(config, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	w := &daemon{t: t, host: "unix://" + filepath.Join(dir, "docker.sock"), log: keepDiary(t, "dockerd")}
	w.args = []string{"--net=/run/netns/" + namespace, "dockerd", "--config-file", config, "--storage-driver", driver, "-H", w.host, "--data-root", filepath.Join(dir, "data"),
		"--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "pid"), "--log-level=warn"}
	w.start()
	t.Cleanup(func() {
		w.end()
		leftovers(t, dir)
		must(t, "ip", "netns", "delete", namespace)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	api, err := client.NewClientWithOpts(client.WithHost(w.host), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	w.answers(api)
	d := manage(t, api)
	if err := buildImages(t.Context(), api); err != nil {
		t.Fatal(err)
	}
	return w, d
}

// storageDriver returns the machine's daemon's: it works here.
func storageDriver(t *testing.T) string {
	t.Helper()
	api, err := NewDocker()
	if err != nil {
		t.Fatal(err)
	}
	defer closes(t, api)
	info, err := api.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info.Driver
}

func must(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

func (w *daemon) start() {
	w.t.Helper()
	w.cmd = exec.CommandContext(context.WithoutCancel(w.t.Context()), "nsenter", w.args...)
	w.cmd.Stdout, w.cmd.Stderr = w.log, w.log
	w.cmd.WaitDelay = time.Second // its containerd may hold the log open
	if err := w.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
}

// answers waits for the daemon. One that gives up, as it does when its containerd
// is slow to come back, is started again, as a supervisor does.
func (w *daemon) answers(api *client.Client) {
	w.t.Helper()
	exited := make(chan struct{})
	watch := func() {
		_ = w.cmd.Wait() // why it gave up is in its log
		close(exited)
	}
	go watch()
	eventuallyWithin(w.t, 10*time.Minute, func() error {
		select {
		case <-exited:
			exited = make(chan struct{})
			w.start()
			go watch()
		default:
		}
		_, err := api.Ping(context.WithoutCancel(w.t.Context()))
		return err
	})
	w.exited = exited
}

// leftovers ends what outlives a daemon that was killed, the processes that serve
// its containers, and takes their mounts away. All carry the directory's name.
func leftovers(t *testing.T, dir string) {
	t.Helper()
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range commands {
		command, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(command), dir) {
			continue // it ended, or is somebody else's
		}
		var pid int
		if _, err := fmt.Sscanf(file, "/proc/%d/", &pid); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
	}
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(mounts), "\n")
	for i := len(lines) - 1; i >= 0; i-- { // the newest first: they may lie in older ones
		if fields := strings.Fields(lines[i]); len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			if err := syscall.Unmount(fields[1], syscall.MNT_DETACH); err != nil {
				t.Errorf("unmount %s: %v", fields[1], err)
			}
		}
	}
}

func (w *daemon) kill() {
	w.t.Helper()
	if err := w.cmd.Process.Kill(); err != nil {
		w.t.Fatal(err)
	}
	<-w.exited
}

// end stops the daemon, which stops its containers and its containerd.
func (w *daemon) end() {
	_ = w.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-w.exited:
	case <-time.After(time.Minute):
		w.t.Error("the daemon does not end")
	}
}

// TestBurstWithDockerKilled kills dockerd in the middle of bursts. A daemon that
// comes back ends the containers that ran, unless it is told to keep them.
func TestBurstWithDockerKilled(t *testing.T) {
	w, d := startDaemon(t)
	b := newBurst(t, d, startConsul(t), crowd)
	cfg := configFor(b.host)
	cfg.IP = "192.0.2.7"
	startChild(t, b.c.uri(), cfg, "DOCKER_HOST="+w.host)
	for round := range rounds {
		var interrupted, refused atomic.Int32
		starting := b.each(counting(&interrupted, b.startAll(round)))
		b.underWay(t)
		w.kill()
		b.wait(starting)
		w.start()
		w.answers(d.api)
		// Docker cannot start again each of the containers that it was starting.
		b.wait(b.each(counting(&refused, func(i int, id string) error {
			if i%2 == 0 {
				return b.start(id)
			}
			return nil
		})))
		t.Logf("round %d: %s until Consul had exactly the %d that ran, after %d interrupted and %d refused calls",
			round, b.settled(t), b.count(t), interrupted.Load(), refused.Load())
		b.wait(b.each(b.stopAll))
		t.Logf("round %d: %s until Consul had nothing of it", round, b.settled(t))
	}
}

// counting counts the calls that fail because the daemon went away.
func counting(failed *atomic.Int32, do func(i int, id string) error) func(i int, id string) error {
	return func(i int, id string) error {
		if do(i, id) != nil {
			failed.Add(1)
		}
		return nil
	}
}
