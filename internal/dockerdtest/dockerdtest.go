// Package dockerdtest runs a Docker daemon of a test's own, in a network
// namespace of its own, so that it can be restarted and killed. It needs root.
package dockerdtest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout is how long the daemon may take until it answers.
const startTimeout = 3 * time.Minute

// Daemon is a Docker daemon that ends with its test.
type Daemon struct {
	Host    string // for DOCKER_HOST
	Address string // of its machine: where it publishes ports

	t       testing.TB
	dir     string
	args    []string
	command *exec.Cmd
	exited  chan struct{} // closed when the process has ended
	log     log
}

// Start starts a daemon with more arguments of dockerd, such as --live-restore.
func Start(t testing.TB, args ...string) *Daemon {
	t.Helper()
	// Short, because the path of a socket may have 107 bytes only.
	dir, err := os.MkdirTemp("/tmp", "bgdock")
	if err != nil {
		t.Fatal(err)
	}
	d := &Daemon{t: t, dir: dir, Host: "unix://" + filepath.Join(dir, "docker.sock")}
	t.Cleanup(d.remove)
	d.connect(filepath.Base(dir))
	config := filepath.Join(dir, "daemon.json") // instead of the one of the machine's daemon
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.args = append([]string{"--net=/run/netns/" + filepath.Base(dir), "dockerd", "--config-file", config, "--storage-driver", d.run("docker", "info", "-f", "{{.Driver}}"),
		"-H", d.Host, "--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "pid"), "--log-level=warn"}, args...)
	d.Start()
	return d
}

// connect makes the network namespace, and a cable between it and this machine.
func (d *Daemon) connect(name string) {
	net := fmt.Sprintf("10.%d.%d.", 200+rand.IntN(50), rand.IntN(250))
	d.Address = net + "2"
	here, there := "h"+name[len(name)-9:], "n"+name[len(name)-9:]
	for _, line := range []string{
		"netns add " + name,
		"-n " + name + " link set lo up",
		"link add " + here + " type veth peer name " + there + " netns " + name,
		"addr add " + net + "1/30 dev " + here, "link set " + here + " up",
		"-n " + name + " addr add " + d.Address + "/30 dev " + there, "-n " + name + " link set " + there + " up",
		"-n " + name + " route add default via " + net + "1",
	} {
		d.run("ip", strings.Fields(line)...)
	}
}

// run runs a command on this machine and returns what it printed.
func (d *Daemon) run(name string, args ...string) string {
	d.t.Helper()
	out, err := exec.CommandContext(context.WithoutCancel(d.t.Context()), name, args...).CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// Start starts the daemon again, after Stop or Kill, and waits until it answers.
// One that gives up, as it does when its containerd is slow to come back, is
// started again, as a supervisor does.
func (d *Daemon) Start() {
	d.t.Helper()
	d.launch()
	deadline := time.Now().Add(startTimeout)
	for {
		err := exec.CommandContext(context.WithoutCancel(d.t.Context()), "docker", "-H", d.Host, "version").Run()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("dockerd does not answer: %v\n%s", err, d.log.String())
		}
		select {
		case <-d.exited:
			d.launch()
		case <-time.After(100 * time.Millisecond): // it announces nothing
		}
	}
}

func (d *Daemon) launch() {
	d.t.Helper()
	command := exec.CommandContext(context.WithoutCancel(d.t.Context()), "nsenter", d.args...)
	command.Stdout, command.Stderr = &d.log, &d.log
	command.WaitDelay = time.Second // its containerd may hold the log open
	if err := command.Start(); err != nil {
		d.t.Fatal(err)
	}
	exited := make(chan struct{})
	d.command, d.exited = command, exited
	go func() {
		_ = command.Wait() // why it gave up is in its log
		close(exited)
	}()
}

// Kill ends the daemon at once, and not its containers.
func (d *Daemon) Kill() {
	_ = d.command.Process.Kill() // it may have ended
	<-d.exited
}

// Stop ends the daemon in order: with its containers, unless it was told to
// let them live.
func (d *Daemon) Stop() {
	_ = d.command.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-d.exited:
	case <-time.After(time.Minute):
		d.t.Error("dockerd does not end")
		d.Kill()
	}
}

// remove ends the daemon and takes away all that it made.
func (d *Daemon) remove() {
	if d.command != nil {
		d.Stop()
	}
	if d.t.Failed() {
		d.t.Logf("dockerd wrote:\n%s", d.log.String())
	}
	d.endLeftovers()
	d.unmount()
	d.run("ip", "netns", "delete", filepath.Base(d.dir)) // its end of the cable goes with it, and so does the other
	if err := os.RemoveAll(d.dir); err != nil {
		d.t.Error(err)
	}
}

// endLeftovers ends what outlives a daemon: the processes that serve its
// containers carry its directory's name, and the containers are their children.
func (d *Daemon) endLeftovers() {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		d.t.Fatal(err)
	}
	var shims []int
	for _, file := range files {
		command, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(command), d.dir) {
			continue // it ended, or is somebody else's
		}
		var pid int
		if _, err := fmt.Sscanf(file, "/proc/%d/", &pid); err == nil {
			shims = append(shims, pid)
		}
	}
	for _, pid := range append(children(shims), shims...) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	}
}

// children returns the processes whose parents are among those given.
func children(parents []int) []int {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	var list []int
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it ended
		}
		var pid, parent int
		_, rest, _ := bytes.Cut(text, []byte(") "))
		var state string
		if _, err := fmt.Sscanf(file, "/proc/%d/", &pid); err != nil {
			continue
		}
		if _, err := fmt.Sscanf(string(rest), "%s %d", &state, &parent); err == nil && slices.Contains(parents, parent) {
			list = append(list, pid)
		}
	}
	return list
}

// unmount takes the containers' mounts away, the newest first: they may lie in
// older ones.
func (d *Daemon) unmount() {
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		d.t.Fatal(err)
	}
	lines := strings.Split(string(mounts), "\n")
	for _, line := range slices.Backward(lines) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], d.dir+"/") {
			if err := syscall.Unmount(fields[1], syscall.MNT_DETACH); err != nil {
				d.t.Errorf("unmount %s: %v", fields[1], err)
			}
		}
	}
}

// log keeps what the daemon writes.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
