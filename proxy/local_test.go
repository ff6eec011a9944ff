package proxy_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"bg/engine"
	"bg/proxy"
)

// insideVariable is set where TestLocalNginx runs a second time: next to an
// nginx, in a container.
const insideVariable = "BG_TEST_BESIDE_NGINX"

// TestLocalNginx runs itself in a container that has nginx, and there with a
// Host of this machine.
func TestLocalNginx(t *testing.T) {
	t.Parallel()
	if os.Getenv(insideVariable) != "" {
		localNginx(t)
		return
	}
	s := newStand(t)
	binary, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := s.docker.CopyToContainer(t.Context(), s.container, "/", archive(t, map[string]string{"bg.test": string(binary)}), container.CopyToContainerOptions{}); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("chmod +x /bg.test; cd /tmp; %s=1 /bg.test -test.run '^TestLocalNginx$' -test.v", insideVariable)
	out, stderr, err := engine.NewContainerHost(s.docker, s.container).Run(t.Context(), []string{"sh", "-c", script}, nil)
	if err != nil || !strings.Contains(string(out), "--- PASS: TestLocalNginx") {
		t.Fatalf("%v\n%s%s", err, out, stderr)
	}
}

func localNginx(t *testing.T) {
	dir := t.TempDir()
	upstreams := proxy.File{Path: "/etc/nginx/upstreams/local.conf"}
	includes := proxy.File{Path: "/etc/nginx/includes/local.conf"}
	n := proxy.New(proxy.Config{
		Service: "local", URL: "http://127.0.0.1", ProbePath: "/alive",
		Upstreams: proxy.Managed{Path: upstreams.Path}, Includes: proxy.Managed{Path: includes.Path},
	}, proxy.Local{ErrorLog: filepath.Join(dir, "none.log")}, proxy.CatalogConfig{}, logger(t))

	upstreams.Data = []byte("upstream local { server 127.0.0.1:9; }\n")
	includes.Data = []byte("location /local { proxy_pass http://local; }\n")
	change, err := n.Apply(t.Context(), proxy.Files{Upstreams: upstreams, Includes: includes})
	if err != nil || !change.Reloaded {
		t.Fatalf("apply: %+v, %v", change, err)
	}
	if _, err := n.Drain(t.Context(), change, nil); err != nil {
		t.Fatalf("drain: %v", err)
	}
	state, err := n.Observe(t.Context())
	if err != nil || !slices.Equal(state.Upstreams, []string{"127.0.0.1:9"}) || !slices.Equal(state.Workers, change.NewWorkers) {
		t.Errorf("observed %+v, %v", state, err)
	}
	bad := proxy.Files{Upstreams: upstreams, Includes: proxy.File{Path: includes.Path, Data: []byte("nonsense;\n")}}
	if _, err := n.Apply(t.Context(), bad); !errors.Is(err, proxy.ErrRefused) {
		t.Errorf("refused: %v", err)
	}
	if _, err := n.Restore(t.Context(), change); err != nil {
		t.Errorf("restore: %v", err)
	}
	for _, f := range []proxy.File{upstreams, includes} {
		if _, err := os.Stat(f.Path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", f.Path, err)
		}
	}
}

func TestLocalWithoutNginxIsUnreachable(t *testing.T) {
	t.Parallel()
	n := proxy.New(proxy.Config{}, proxy.Local{PidFile: filepath.Join(t.TempDir(), "none.pid")}, proxy.CatalogConfig{}, logger(t))
	_, err := n.Observe(t.Context())
	refused(t, err, proxy.ErrUnreachable, "proxy.container")
}

func TestLocalWritesAtOnceOrNotAtAll(t *testing.T) {
	t.Parallel()
	dir, host := t.TempDir(), proxy.Local{}
	path := filepath.Join(dir, "a.conf")
	for _, text := range []string{"one", "two", ""} {
		if err := host.WriteFile(t.Context(), path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := host.ReadFile(t.Context(), path); err != nil || string(got) != text {
			t.Errorf("read %q, %v; want %q", got, err, text)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	// A directory in the file's place makes the rename fail.
	if err := os.MkdirAll(filepath.Join(dir, "b.conf", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := host.WriteFile(t.Context(), filepath.Join(dir, "b.conf"), nil); err == nil {
		t.Error("a directory was replaced")
	}
	if err := host.WriteFile(t.Context(), filepath.Join(dir, "none", "c.conf"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without its directory: %v", err)
	}
	for range 2 {
		if err := host.RemoveFile(t.Context(), path); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestLocalRunNamesTheExitCode(t *testing.T) {
	t.Parallel()
	out, stderr, err := proxy.Local{}.Run(t.Context(), []string{"sh", "-c", "cat; echo why >&2; exit 3"}, []byte("in"))
	if err == nil || !strings.Contains(err.Error(), "exit code 3: why") || string(out) != "in" || string(stderr) != "why\n" {
		t.Errorf("%q %q %v", out, stderr, err)
	}
}

func TestLocalLogLeavesOutWhatIsOlder(t *testing.T) {
	t.Parallel()
	path, now := filepath.Join(t.TempDir(), "error.log"), time.Now()
	stamp := func(at time.Time) string { return at.Format("2006/01/02 15:04:05") }
	write(t, path, stamp(now.Add(-time.Minute))+" [emerg] 1#1: old\n"+stamp(now)+" [emerg] 1#1: new\n")
	got, err := proxy.Local{ErrorLog: path}.Log(t.Context(), now)
	if err != nil || strings.Contains(string(got), "old") || !strings.Contains(string(got), "new") {
		t.Errorf("%q, %v", got, err)
	}
}

func TestLocalReloadCommandReplacesTheSignal(t *testing.T) {
	t.Parallel()
	mark := filepath.Join(t.TempDir(), "reloaded")
	if err := (proxy.Local{ReloadCommand: []string{"touch", mark}}).Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Errorf("the command did not run: %v", err)
	}
}
