package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"bg/engine"
)

// nginxHost starts an nginx and returns its host.
func nginxHost(t *testing.T) *engine.ContainerHost {
	t.Helper()
	h, _, _ := nginxContainer(t, "")
	return h
}

// nginxContainer is nginxHost for a container that runs cmd as user, without them
// nginx as its image says; it returns the container's name with a client.
func nginxContainer(t *testing.T, user string, cmd ...string) (*engine.ContainerHost, *client.Client, string) {
	t.Helper()
	cli, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatalf("this test needs Docker: %v", err)
	}
	t.Cleanup(func() { _ = cli.Close() })
	image := "nginx:1.30"
	if name := os.Getenv("BG_NGINX_IMAGE"); name != "" {
		image = name
	}
	name := fmt.Sprintf("bg-nginxhost-test-%d", time.Now().UnixNano())
	if len(cmd) == 0 {
		cmd = []string{"nginx", "-g", "daemon off;"}
	}
	created, err := cli.ContainerCreate(t.Context(), &container.Config{Image: image, User: user, Cmd: cmd},
		&container.HostConfig{Tmpfs: map[string]string{"/small": "size=64k"}}, nil, nil, name)
	if err != nil {
		t.Fatalf("create nginx: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
		defer cancel()
		if err := cli.ContainerRemove(ctx, created.ID, container.RemoveOptions{Force: true}); err != nil {
			t.Errorf("remove %s: %v", name, err)
		}
	})
	if err := cli.ContainerStart(t.Context(), created.ID, container.StartOptions{}); err != nil {
		t.Fatalf("start nginx: %v", err)
	}
	return engine.NewContainerHost(cli, name), cli, name
}

func TestContainerHostKeepsFilesWhole(t *testing.T) {
	t.Parallel()
	h := nginxHost(t)
	large := bytes.Repeat([]byte("a\x00b\n\xff"), 200_000)
	for name, data := range map[string][]byte{"text": []byte("a;\n"), "nothing": {}, "a megabyte of anything": large} {
		if err := h.WriteFile(t.Context(), "/tmp/x $'.conf", data); err != nil {
			t.Fatalf("write %s: %v", name, err)
		}
		if got, err := h.ReadFile(t.Context(), "/tmp/x $'.conf"); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: read %d bytes of %d, %v", name, len(got), len(data), err)
		}
	}
	if err := h.WriteFile(t.Context(), "/small/a.conf", large); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("a full disk: %v", err)
	}
	if err := h.WriteFile(t.Context(), "/none/a.conf", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	if err := h.WriteFile(t.Context(), "/tmp", nil); err == nil {
		t.Error("a directory was replaced")
	}
	for range 2 {
		if err := h.RemoveFile(t.Context(), "/tmp/x $'.conf"); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	if _, err := h.ReadFile(t.Context(), "/tmp/x $'.conf"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after removal: %v", err)
	}
	if out, _, err := h.Run(t.Context(), []string{"ls", "-A", "/tmp", "/small"}, nil); err != nil || string(out) != "/small:\n\n/tmp:\n" {
		t.Errorf("left behind: %q, %v", out, err)
	}
}

func TestContainerHostRunsCommandsAsItsOwnUserAndWritesAsRoot(t *testing.T) {
	t.Parallel()
	for user, want := range map[string]string{"": "0:0", "root": "0:0", "101": "101:0", "0:101": "0:101"} {
		t.Run("user "+user, func(t *testing.T) {
			t.Parallel()
			h, cli, name := nginxContainer(t, user, "sleep", "60")
			h.Open(t.Context())
			if err := h.WriteFile(t.Context(), "/etc/nginx/conf.d/mine.conf", nil); err != nil {
				t.Fatal(err)
			}
			out, stderr, err := h.Run(t.Context(), []string{"sh", "-c", "echo $(id -u):$(id -g) $(stat -c %u /etc/nginx/conf.d/mine.conf)"}, nil)
			if got := strings.TrimSpace(string(out)); err != nil || got != want+" 0" {
				t.Errorf("it ran as %q, not %q: %v %s", got, want+" 0", err, stderr)
			}
			info, err := cli.ContainerInspect(t.Context(), name)
			if shells := 1 + min(1, strings.Count(want, "101")); err != nil || len(info.ExecIDs) != shells {
				t.Errorf("%d shells were started instead of %d: %v", len(info.ExecIDs), shells, err)
			}
		})
	}
}

func TestContainerHostRunsAndEndsWithItsContext(t *testing.T) {
	t.Parallel()
	h := nginxHost(t)
	out, stderr, err := h.Run(t.Context(), []string{"sh", "-c", "cat; echo why >&2; exit 3"}, []byte("in"))
	if err == nil || !strings.Contains(err.Error(), "exit code 3: why") || string(out) != "in" || string(stderr) != "why\n" {
		t.Errorf("%q %q %v", out, stderr, err)
	}
	// A command that does not read its input ends all the same.
	if _, _, err := h.Run(t.Context(), []string{"true"}, bytes.Repeat([]byte("x"), 10<<20)); err != nil {
		t.Errorf("unread input: %v", err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, errors.New("too long"))
	defer cancel()
	if _, _, err := h.Run(ctx, []string{"sleep", "60"}, nil); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("interrupted: %v", err)
	}
}

func TestContainerHostSignalsNginxAndReadsItsLog(t *testing.T) {
	t.Parallel()
	h := nginxHost(t)
	workers := func() []string {
		lines, err := h.Processes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(lines, func(l string) bool { return !strings.HasSuffix(l, "nginx: worker process") })
	}
	before := workers()
	sent := time.Now()
	if err := h.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(15 * time.Second); slices.Equal(before, workers()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no new workers within 15 s: %v", before)
		}
	}
	if _, err := h.Log(t.Context(), sent); err != nil {
		t.Errorf("log: %v", err)
	}
}

// TestContainerHostTellsProcessesOfTwoStartsApart holds for a container whose
// processes have the same PIDs each time.
func TestContainerHostTellsProcessesOfTwoStartsApart(t *testing.T) {
	t.Parallel()
	h, docker, name := nginxContainer(t, "")
	pids := func() (list []string) {
		lines, err := h.Processes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			list = append(list, strings.Fields(line)[0])
		}
		return list
	}
	before := pids()
	if len(before) < 2 || before[0] != "1" {
		t.Errorf("a master and its workers: %v", before)
	}
	if err := docker.ContainerRestart(t.Context(), name, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids() {
		if slices.Contains(before, pid) {
			t.Errorf("%s is a process before and after", pid)
		}
	}
}
