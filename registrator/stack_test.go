package registrator

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/nat"
	"github.com/hashicorp/consul/api"
)

// testLabel is on everything that these tests leave to Docker, with the run's id.
const testLabel = "bg.registrator.test"

// childVariable holds the configuration of a registrator that runs as a process
// of its own, so that it can be killed.
const childVariable = "BG_REGISTRATOR_TEST_CHILD"

// TestMain runs the tests, or is the registrator that one of them started.
func TestMain(m *testing.M) {
	if config := os.Getenv(childVariable); config != "" {
		if err := beRegistrator(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func beRegistrator(config string) error {
	var child struct {
		Config Config
		URI    string
	}
	if err := json.Unmarshal([]byte(config), &child); err != nil {
		return err
	}
	consul, err := NewConsul(child.URI)
	if err != nil {
		return err
	}
	docker, err := NewDocker()
	if err != nil {
		return err
	}
	r, err := New(child.Config, docker, consul, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	return r.Run(context.Background())
}

// configFor returns what a test's registrator starts from.
func configFor(hostname string) Config {
	return Config{Hostname: hostname, Deregister: Always, RetryInterval: 100 * time.Millisecond, RetryAttempts: -1}
}

// unique returns a name that no other test, run or user has.
func unique(t *testing.T, what string) string {
	t.Helper()
	id := make([]byte, 4)
	if _, err := rand.Read(id); err != nil {
		t.Fatal(err)
	}
	return "bgreg-" + what + "-" + hex.EncodeToString(id)
}

// eventually fails the test when check still returns an error after the time given.
func eventually(t *testing.T, within time.Duration, check func() error) {
	t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("not within %s: %v", within, err)
		case <-tick.C:
		}
	}
}

// consul is a real Consul agent, a server of its own.
type consul struct {
	t    *testing.T
	args []string
	cmd  *exec.Cmd
	addr string
	data string // its directory
	api  *api.Client
}

// consulBinary finds Consul in BG_CONSUL_BIN, in PATH or among the pinned tools.
var consulBinary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("BG_CONSUL_BIN"); path != "" {
		return path, nil
	}
	if path, err := exec.LookPath("consul"); err == nil {
		return path, nil
	}
	out, err := exec.Command("go", "tool", "-modfile=../tools/go.mod", "-n", "consul").Output()
	if err != nil {
		return "", fmt.Errorf("no consul in BG_CONSUL_BIN or PATH, and the pinned one: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
})

// startConsul starts an agent that keeps its data on disk, with more arguments.
func startConsul(t *testing.T, more ...string) *consul {
	t.Helper()
	ports := freePorts(t, 4)
	c := &consul{t: t, addr: fmt.Sprintf("127.0.0.1:%d", ports[0]), data: filepath.Join(t.TempDir(), "data")}
	performance := `performance { raft_multiplier = 1 } disable_update_check = true`
	c.args = append([]string{"agent", "-server", "-bootstrap-expect=1", "-data-dir", c.data, "-bind=127.0.0.1",
		"-client=127.0.0.1", "-log-level=warn", "-node=" + unique(t, "node"), "-hcl=" + performance,
		fmt.Sprint("-http-port=", ports[0]), fmt.Sprint("-server-port=", ports[1]), fmt.Sprint("-serf-lan-port=", ports[2]),
		fmt.Sprint("-serf-wan-port=", ports[3]), "-dns-port=-1", "-grpc-port=-1", "-grpc-tls-port=-1"}, more...)
	config := api.DefaultConfig()
	config.Address = c.addr
	client, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	c.api = client
	c.start()
	t.Cleanup(c.kill)
	return c
}

func (c *consul) start() {
	c.t.Helper()
	binary, err := consulBinary()
	if err != nil {
		c.t.Fatal(err)
	}
	c.cmd = exec.CommandContext(context.WithoutCancel(c.t.Context()), binary, c.args...)
	c.cmd.Stdout, c.cmd.Stderr = testWriter{c.t}, testWriter{c.t}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	eventually(c.t, time.Minute, func() error {
		leader, err := c.api.Status().Leader()
		if err == nil && leader == "" {
			err = errors.New("consul has no leader")
		}
		return err
	})
}

// kill is kill -9. Killing twice is fine.
func (c *consul) kill() {
	if c.cmd.ProcessState == nil {
		_ = c.cmd.Process.Kill() // it may have ended
		_ = c.cmd.Wait()         // says that it was killed
	}
}

func (c *consul) uri() string { return "consul://" + c.addr }

// services returns the agent's services whose ids begin with prefix.
func (c *consul) services(prefix string) (map[string]*api.AgentService, error) {
	all, err := c.api.Agent().Services()
	for id := range all {
		if !strings.HasPrefix(id, prefix) {
			delete(all, id)
		}
	}
	return all, err
}

// catalogIDs returns the ids that the catalog, which lookups read, has for a service.
func (c *consul) catalogIDs(service string) (map[string]*api.CatalogService, error) {
	entries, _, err := c.api.Catalog().Service(service, "", &api.QueryOptions{RequireConsistent: true})
	ids := map[string]*api.CatalogService{}
	for _, e := range entries {
		ids[e.ServiceID] = e
	}
	return ids, err
}

func freePorts(t *testing.T, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer closes(t, l)
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}

// closes closes what a test has used.
func closes(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// testWriter hands lines on to the test's log as long as the test runs.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

// docker is a real daemon with the image of the test containers.
type docker struct {
	t     *testing.T
	api   *client.Client
	image string
}

// useDocker connects to the daemon of the environment and builds the image.
func useDocker(t *testing.T) *docker {
	t.Helper()
	api, err := NewDocker()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closes(t, api) })
	return (&docker{t: t, api: api}).build()
}

// imageName is fixed, so that runs share what the builder caches.
const imageName = "bg-registrator-test-app"

func (d *docker) build() *docker {
	d.t.Helper()
	binary, err := appBinary()
	if err != nil {
		d.t.Fatal(err)
	}
	answer, err := d.api.ImageBuild(d.t.Context(), imageContext(d.t, binary), build.ImageBuildOptions{
		Tags: []string{imageName}, Remove: true, ForceRemove: true, Labels: map[string]string{testLabel: "image"}})
	if err != nil {
		d.t.Fatalf("build the test image: %v", err)
	}
	defer answer.Body.Close()
	out, err := io.ReadAll(answer.Body)
	if err != nil || !bytes.Contains(out, []byte("Successfully built")) {
		d.t.Fatalf("build the test image: %v: %s", err, out)
	}
	d.image = imageName
	d.expose()
	return d
}

// expose makes the variant of the image that exposes port 80 by itself, the only
// way for a container that shares another one's network to expose one.
func (d *docker) expose() {
	d.t.Helper()
	id := d.create(spec{})
	_, err := d.api.ContainerCommit(d.t.Context(), id, container.CommitOptions{Reference: imageName + ":exposed",
		Changes: []string{"EXPOSE 80", "LABEL " + testLabel + "=image"}})
	if err != nil {
		d.t.Fatal(err)
	}
}

// appBinary compiles testdata/app without cgo, so that it needs no base image.
var appBinary = sync.OnceValues(func() (_ []byte, err error) {
	dir, err := os.MkdirTemp("", "bgreg")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "app"), "./testdata/app")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build testdata/app: %w: %s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "app"))
})

func imageContext(t *testing.T, binary []byte) io.Reader {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for name, content := range map[string][]byte{"app": binary, "Dockerfile": []byte("FROM scratch\nCOPY app /app\nCMD [\"/app\"]\n")} {
		if err := errors.Join(w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}), write(w, content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &out
}

func write(w io.Writer, content []byte) error {
	_, err := w.Write(content)
	return err
}

// spec is a container definition, in the words of Docker's API.
type spec struct {
	container.Config
	HostConfig container.HostConfig
	Name       string `json:"-"`
}

// serving is the definition of a container that publishes port 80 somewhere.
func serving(name string, env ...string) spec {
	s := spec{Name: name}
	s.Env = append([]string{"PORTS=80"}, env...)
	s.ExposedPorts = nat.PortSet{"80/tcp": {}}
	s.HostConfig.PortBindings = nat.PortMap{"80/tcp": {{}}}
	return s
}

// create makes a container that is removed when the test ends.
func (d *docker) create(s spec) string {
	d.t.Helper()
	if s.Image == "" {
		s.Image = d.image
	}
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	s.Labels[testLabel] = d.t.Name()
	made, err := d.api.ContainerCreate(d.t.Context(), &s.Config, &s.HostConfig, nil, nil, s.Name)
	if err != nil {
		d.t.Fatalf("create %s: %v", s.Name, err)
	}
	d.t.Cleanup(func() { d.remove(made.ID) })
	return made.ID
}

// run creates and starts a container.
func (d *docker) run(s spec) string {
	d.t.Helper()
	id := d.create(s)
	d.start(id)
	return id
}

func (d *docker) start(id string) {
	d.t.Helper()
	if err := d.api.ContainerStart(d.t.Context(), id, container.StartOptions{}); err != nil {
		d.t.Fatalf("start %s: %v", id, err)
	}
}

func (d *docker) stop(id string) {
	d.t.Helper()
	now := 0
	if err := d.api.ContainerStop(d.t.Context(), id, container.StopOptions{Timeout: &now}); err != nil {
		d.t.Fatalf("stop %s: %v", id, err)
	}
}

func (d *docker) remove(id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.t.Context()), time.Minute)
	defer cancel()
	err := d.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !errdefs.IsNotFound(err) && !strings.Contains(err.Error(), "already in progress") {
		d.t.Errorf("remove container %s: %v", id, err)
	}
}

// network makes a network that is removed when the test ends.
func (d *docker) network() string {
	d.t.Helper()
	made, err := d.api.NetworkCreate(d.t.Context(), unique(d.t, "net"), network.CreateOptions{Labels: map[string]string{testLabel: d.t.Name()}})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		if err := d.api.NetworkRemove(context.WithoutCancel(d.t.Context()), made.ID); err != nil {
			d.t.Errorf("remove network: %v", err)
		}
	})
	inspected, err := d.api.NetworkInspect(d.t.Context(), made.ID, network.InspectOptions{})
	if err != nil {
		d.t.Fatal(err)
	}
	return inspected.Name
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// running is a registrator under test.
type running struct {
	*Registrator
	stop func()
}

// startRegistrator runs a registrator until stop or the test's end.
func startRegistrator(t *testing.T, d *docker, uri string, cfg Config) running {
	t.Helper()
	consul, err := NewConsul(uri)
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(cfg, d.api, consul, slog.New(slog.NewTextHandler(testWriter{t}, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the registrator ended: %v", err)
		}
	})
	t.Cleanup(stop)
	return running{r, stop}
}

// synced waits until the registrator says that it is in step.
func (r running) synced(t *testing.T) {
	t.Helper()
	eventually(t, 30*time.Second, func() error {
		if h := r.status.health(); !h.Synced {
			return fmt.Errorf("health is %+v", h)
		}
		return nil
	})
}
