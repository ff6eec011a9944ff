//go:build burst

package registrator

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestIdleCost holds the registrator of a host with 500 containers to what it may
// cost while nothing happens: 1 % of a core and 60 MB beyond the binary.
func TestIdleCost(t *testing.T) {
	const containers, minute = 500, time.Minute
	w, d := startDaemon(t) // of its own, so that really nothing happens
	b := &burst{d: d, c: startConsul(t), host: unique(t, "host"), prefix: unique(t, "idle"), ids: make([]string, containers)}
	b.wait(b.each(func(i int, _ string) error {
		_, err := b.d.addAndStart(serving(fmt.Sprintf("%s-%03d", b.prefix, i)))
		return err
	}))
	cfg := configFor(b.host)
	cfg.IP = "192.0.2.7"
	child := startChild(t, b.c.uri(), cfg, "DOCKER_HOST="+w.host)
	eventually(t, func() error {
		found, err := b.c.services(b.host + ":" + b.prefix)
		if err == nil && len(found) != containers {
			err = fmt.Errorf("%d services", len(found))
		}
		return err
	})
	before := cpuTime(t, child.Process.Pid)
	<-time.After(minute) // the measurement itself
	used := cpuTime(t, child.Process.Pid) - before
	memory := anonymousMemory(t, child.Process.Pid)
	t.Logf("%d containers: %s of CPU in %s, %d MB beyond the binary", containers, used, minute, memory>>20)
	if used > minute/100 || memory > 60<<20 {
		t.Error("too much")
	}
}

// cpuTime returns what a process has used, from /proc/<pid>/stat, whose times are
// in hundredths of a second on Linux.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name may contain anything
	fields := strings.Fields(rest)
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// anonymousMemory returns the bytes that a process has beyond its files.
func anonymousMemory(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	var kilobytes int64
	if _, err := fmt.Sscan(rest, &kilobytes); err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}
