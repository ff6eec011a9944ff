package registrator

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/nat"
	"golang.org/x/sync/errgroup"
)

// callsAtOnce bounds the calls to Docker when there is much to do: it gets no
// faster with more.
const callsAtOnce = 8

// docker is a real daemon, with what a test made there.
type docker struct {
	t   *testing.T
	api *client.Client

	mu         sync.Mutex
	containers []string
	networks   []string
}

// useDocker connects to the daemon of the environment, which has the images of
// the test containers then.
func useDocker(t *testing.T) *docker {
	t.Helper()
	api, err := NewDocker()
	if err != nil {
		t.Fatal(err)
	}
	d := manage(t, api)
	if err := machinesImages(); err != nil {
		t.Fatal(err)
	}
	return d
}

// manage returns a daemon that is left as it was when the test ends.
func manage(t *testing.T, api *client.Client) *docker {
	d := &docker{t: t, api: api}
	t.Cleanup(func() {
		d.removeAll()
		closes(t, api)
	})
	return d
}

// imageName is fixed, so that runs share what the builder caches. The variant
// with the tag exposed exposes port 80 by itself, the only way for a container
// that shares another one's network to expose one.
const imageName = "bg-registrator-test-app"

const dockerfile = `FROM scratch AS latest
COPY app /app
CMD ["/app"]
FROM latest AS exposed
EXPOSE 80
`

// machinesImages builds the images once for all tests that share the machine's daemon.
var machinesImages = sync.OnceValue(func() error {
	api, err := NewDocker()
	if err != nil {
		return err
	}
	return errors.Join(buildImages(context.Background(), api), api.Close())
})

func buildImages(ctx context.Context, api *client.Client) error {
	binary, err := appBinary()
	if err != nil {
		return err
	}
	for _, tag := range []string{"latest", "exposed"} {
		if err := buildImage(ctx, api, tag, binary); err != nil {
			return fmt.Errorf("build the test image: %w", err)
		}
	}
	return nil
}

func buildImage(ctx context.Context, api *client.Client, tag string, binary []byte) error {
	files, err := imageContext(binary)
	if err != nil {
		return err
	}
	answer, err := api.ImageBuild(ctx, files, build.ImageBuildOptions{Tags: []string{imageName + ":" + tag}, Target: tag,
		Remove: true, ForceRemove: true, Labels: map[string]string{testLabel: "image"}})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	out, err := io.ReadAll(answer.Body)
	if err == nil && !bytes.Contains(out, []byte("Successfully built")) {
		err = fmt.Errorf("docker says %s", out)
	}
	return err
}

// appBinary compiles testdata/app without cgo, so that it needs no base image.
var appBinary = sync.OnceValues(func() (_ []byte, err error) {
	dir, err := os.MkdirTemp("", "bgreg")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cmd := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "app"), "./testdata/app")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build testdata/app: %w: %s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "app"))
})

func imageContext(binary []byte) (io.Reader, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, file := range []struct {
		name    string
		content []byte
	}{{"app", binary}, {"Dockerfile", []byte(dockerfile)}} {
		if err := w.WriteHeader(&tar.Header{Name: file.name, Mode: 0o755, Size: int64(len(file.content))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(file.content); err != nil {
			return nil, err
		}
	}
	return &out, w.Close()
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

// add makes a container that is removed when the test ends.
func (d *docker) add(s spec) (string, error) {
	if s.Image == "" {
		s.Image = imageName
	}
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	s.Labels[testLabel] = d.t.Name()
	made, err := d.api.ContainerCreate(d.t.Context(), &s.Config, &s.HostConfig, nil, nil, s.Name)
	if err != nil {
		return "", fmt.Errorf("create %s: %w", s.Name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.containers = append(d.containers, made.ID)
	return made.ID, nil
}

// addAndStart makes a container that runs.
func (d *docker) addAndStart(s spec) (string, error) {
	id, err := d.add(s)
	if err != nil {
		return "", err
	}
	if err := d.api.ContainerStart(d.t.Context(), id, container.StartOptions{}); err != nil {
		return "", fmt.Errorf("start %s: %w", s.Name, err)
	}
	return id, nil
}

// run is addAndStart for a test that cannot go on without the container.
func (d *docker) run(s spec) string {
	d.t.Helper()
	id, err := d.addAndStart(s)
	if err != nil {
		d.t.Fatal(err)
	}
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

// remove removes a container. One that is gone already is fine.
func (d *docker) remove(id string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.t.Context()), soon)
	defer cancel()
	err := d.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !errdefs.IsNotFound(err) && !strings.Contains(err.Error(), "already in progress") {
		d.t.Errorf("remove container %s: %v", id, err)
	}
}

// removeAll removes what the test made, containers before the networks they are on.
func (d *docker) removeAll() {
	g := errgroup.Group{}
	g.SetLimit(callsAtOnce)
	for _, id := range d.containers {
		g.Go(func() error { d.remove(id); return nil })
	}
	_ = g.Wait() // what fails is the test's error
	for _, name := range d.networks {
		if err := d.api.NetworkRemove(context.WithoutCancel(d.t.Context()), name); err != nil {
			d.t.Errorf("remove network %s: %v", name, err)
		}
	}
}

// network makes a network that is removed when the test ends.
func (d *docker) network() (string, error) {
	name := "bgreg-net-" + rand.Text()
	_, err := d.api.NetworkCreate(d.t.Context(), name, network.CreateOptions{Labels: map[string]string{testLabel: d.t.Name()}})
	if err != nil {
		return "", fmt.Errorf("create a network: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.networks = append(d.networks, name)
	return name, nil
}
