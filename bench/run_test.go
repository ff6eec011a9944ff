//go:build bench

package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runTimeout is how long one measured command may take.
const runTimeout = 30 * time.Minute

// command is something to measure.
type command struct {
	dir  string
	env  []string
	args []string
}

// measured is what a command took. Times are in seconds.
type measured struct {
	began  time.Time
	wall   float64
	cpu    float64 // of its processes
	engine float64 // of dockerd, meanwhile
	peak   float64 // bytes of its largest process
	out    string
	steps  []step
}

// step is a part of a deployment, in the order in which they ended.
type step struct {
	name string
	took float64
	end  time.Time
}

// step returns what a step took, 0 when it was not there.
func (m measured) step(name string) (took float64) {
	for _, s := range m.steps {
		if s.name == name {
			took += s.took
		}
	}
	return took
}

// ended returns when a step ended.
func (m measured) ended(t testing.TB, name string) time.Time {
	t.Helper()
	for _, s := range m.steps {
		if s.name == name {
			return s.end
		}
	}
	t.Fatalf("there is no step %s: %s", name, m.out)
	return time.Time{}
}

// measure runs a command that has to succeed.
func measure(t testing.TB, c command) measured {
	t.Helper()
	m, err := try(t, c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// try is measure for goroutines. The process that starts another one is small, as
// GNU time is: Linux counts what it has as memory of the other one.
func try(t testing.TB, c command) (measured, error) {
	peak := filepath.Join(t.TempDir(), "peak")
	c.args = append([]string{"time", "-o", peak, "-f", "%M"}, c.args...)
	m, err := timed(t, c)
	if err != nil {
		return m, err
	}
	text, err := os.ReadFile(peak)
	if err != nil {
		return m, err
	}
	if _, err := fmt.Sscan(string(text), &m.peak); err != nil {
		return m, fmt.Errorf("time: %q: %w", text, err)
	}
	m.peak *= 1024
	return m, nil
}

// timed is try without the memory, for what takes a few milliseconds.
func timed(t testing.TB, c command) (measured, error) {
	ctx, cancel := context.WithTimeout(t.Context(), runTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), c.env...)
	var out, report bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &report
	engine, err := engineTime(ctx)
	if err != nil {
		return measured{}, err
	}
	m := measured{began: time.Now()}
	if err := cmd.Run(); err != nil {
		return m, fmt.Errorf("%s: %w\n%s\n%s", strings.Join(c.args, " "), err, out.String(), report.String())
	}
	m.wall, m.out = time.Since(m.began).Seconds(), out.String()
	m.cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	m.engine, err = engineTime(ctx)
	m.engine -= engine
	return m, err
}

// engineTime returns the processor time of dockerd and of its children that ended.
func engineTime(ctx context.Context) (float64, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", "/var/run/docker.sock")
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *syscall.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		peer, failed = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(err, failed); err != nil {
		return 0, err
	}
	return processTime(int(peer.Pid))
}

// processTime reads /proc/PID/stat, whose times are in hundredths of a second.
func processTime(pid int) (total float64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	for _, field := range fields[11:15] {
		ticks, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, err
		}
		total += ticks / 100
	}
	return total, nil
}
