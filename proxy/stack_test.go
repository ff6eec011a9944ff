package proxy_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/nat"

	"bg/engine"
	"bg/proxy"
)

// consulAddress is the Consul that all tests share; each has its own service
// names.
var consulAddress string

func TestMain(m *testing.M) {
	os.Exit(withConsul(m.Run))
}

// withConsul runs tests with a Consul of their own.
func withConsul(run func() int) int {
	if os.Getenv(insideVariable) != "" {
		return run() // TestLocal has no use for Consul
	}
	path := os.Getenv("BG_CONSUL_BIN")
	if path == "" {
		path, _ = exec.LookPath("consul")
	}
	if path == "" {
		fmt.Fprintln(os.Stderr, "these tests need Consul: set BG_CONSUL_BIN, or put consul into PATH")
		return 1
	}
	port := strconv.Itoa(freePort())
	consul := exec.CommandContext(context.Background(), path, "agent", "-dev", "-log-level=error", "-bind=127.0.0.1", "-http-port="+port,
		"-grpc-port=-1", "-grpc-tls-port=-1", "-dns-port=-1", "-server-port="+strconv.Itoa(freePort()),
		"-serf-lan-port="+strconv.Itoa(freePort()), "-serf-wan-port=-1")
	// It ends with this process, also when a test panics.
	runtime.LockOSThread()
	consul.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := consul.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "start Consul:", err)
		return 1
	}
	defer func() {
		_ = consul.Process.Kill()
		_ = consul.Wait()
	}()
	consulAddress = "http://127.0.0.1:" + port
	for deadline := time.Now().Add(20 * time.Second); ; {
		if leader, err := get(consulAddress + "/v1/status/leader"); err == nil && len(leader) > 4 {
			return run()
		}
		if time.Now().After(deadline) {
			fmt.Fprintln(os.Stderr, "Consul has no leader after 20 s")
			return 1
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func freePort() int {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// fresh opens a connection for each request: one that is kept open may belong
// to an old worker, which answers on it as before.
var fresh = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// get returns the body of a 200.
func get(url string) (string, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := fresh.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(body), err
}

// put sends a JSON document, or a string as it is, to Consul.
func put(t *testing.T, path string, value any) {
	t.Helper()
	body, isText := value.(string)
	if !isText {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		body = string(text)
	}
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPut, consulAddress+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("PUT %s: %s: %s", path, resp.Status, answer)
	}
}

// registration is a service in Consul's catalog.
type registration struct {
	Name, ID, Address string
	Port              int
	Tags              []string          `json:",omitempty"`
	Meta              map[string]string `json:",omitempty"`
	Check             map[string]any    `json:",omitempty"`
}

func register(t *testing.T, r registration) {
	t.Helper()
	put(t, "/v1/agent/service/register", r)
	t.Cleanup(func() {
		put(t, "/v1/agent/service/deregister/"+r.ID, "")
	})
}

var serial atomic.Int64

// unique returns a name that no other test, and no other run, has.
func unique(prefix string) string {
	return fmt.Sprintf("%s-%d-%d", prefix, os.Getpid(), serial.Add(1))
}

// backend is one instance of a color: an HTTP server of this process, which
// nginx reaches at the gateway of Docker's bridge.
type backend struct {
	color   string
	address string
	port    int
	// inFlight counts the requests that it has not answered.
	inFlight *atomic.Int64
}

func (b backend) String() string { return net.JoinHostPort(b.address, strconv.Itoa(b.port)) }

// serve starts an instance of a color. /slow answers after the number of
// milliseconds in its query.
func serve(t *testing.T, color string) backend {
	t.Helper()
	gateway := bridgeGateway(t)
	l := listen(t, gateway+":0")
	inFlight := new(atomic.Int64)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inFlight.Add(1)
		defer inFlight.Add(-1)
		if ms, err := strconv.Atoi(r.URL.Query().Get("ms")); err == nil {
			time.Sleep(time.Duration(ms) * time.Millisecond)
		}
		w.Header().Set("X-BG-Color", color)
		fmt.Fprint(w, color)
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return backend{color: color, address: gateway, port: l.Addr().(*net.TCPAddr).Port, inFlight: inFlight}
}

// listen takes a port until the test is over.
func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func docker(t *testing.T) *client.Client {
	t.Helper()
	cli, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatalf("these tests need Docker: %v", err)
	}
	t.Cleanup(func() { _ = cli.Close() })
	return cli
}

// bridgeGateway returns this machine's address on Docker's default bridge.
func bridgeGateway(t *testing.T) string {
	t.Helper()
	bridge, err := net.InterfaceByName("docker0")
	if err != nil {
		t.Fatalf("find Docker's bridge: %v", err)
	}
	addresses, err := bridge.Addrs()
	if err != nil || len(addresses) == 0 {
		t.Fatalf("Docker's bridge has no address: %v", err)
	}
	return addresses[0].(*net.IPNet).IP.String()
}

// mainConf is the nginx.conf of the tests.
const mainConf = `worker_processes 2;
worker_shutdown_timeout 20s;
error_log /dev/stderr notice;
pid /run/nginx.pid;
events { worker_connections 256; }
http {
    keepalive_min_timeout 1s;
    access_log off;
    include upstreams/*.conf;
    server {
        listen 80 default_server;
        location = /alive { return 200 yes; }
        include /etc/nginx/includes/*.conf;
    }
}
`

// stand is an nginx in a container, with a service's share of it.
type stand struct {
	*proxy.Nginx
	cfg       proxy.Config
	docker    *client.Client
	container string
	url       string
}

// plan is how the container of a stand is made.
type plan struct {
	host    container.HostConfig
	command []string
	files   map[string]string // by path; one that ends with a slash is a directory
	dir     string            // of upstreams and includes
}

// standOption changes a plan.
type standOption func(*plan)

// newStand starts an nginx and waits until it answers.
func newStand(t *testing.T, options ...standOption) *stand {
	t.Helper()
	cli, name, port := docker(t), unique("bg-proxy-test"), freePort()
	p := plan{
		host:    container.HostConfig{PortBindings: nat.PortMap{"80/tcp": {{HostIP: "127.0.0.1", HostPort: strconv.Itoa(port)}}}},
		command: []string{"nginx", "-g", "daemon off;"},
		files:   map[string]string{"etc/nginx/nginx.conf": mainConf, "etc/nginx/upstreams/": "", "etc/nginx/includes/": ""},
		dir:     "/etc/nginx",
	}
	for _, option := range options {
		option(&p)
	}
	created, err := cli.ContainerCreate(t.Context(), &container.Config{
		Image: image(), Cmd: p.command, ExposedPorts: nat.PortSet{"80/tcp": {}},
		Labels: map[string]string{"bg.test": "proxy"},
	}, &p.host, nil, nil, name)
	if err != nil {
		t.Fatalf("create nginx: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
		defer cancel()
		if err := cli.ContainerRemove(ctx, created.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
			t.Errorf("remove %s: %v", name, err)
		}
	})
	if err := cli.CopyToContainer(t.Context(), created.ID, "/", archive(t, p.files), container.CopyToContainerOptions{}); err != nil {
		t.Fatalf("copy nginx.conf: %v", err)
	}
	if err := cli.ContainerStart(t.Context(), created.ID, container.StartOptions{}); err != nil {
		t.Fatalf("start nginx: %v", err)
	}
	s := &stand{docker: cli, container: name, url: fmt.Sprintf("http://127.0.0.1:%d", port)}
	until(t, "nginx answers", func() bool {
		body, err := get(s.url + "/alive")
		return err == nil && body == "yes"
	})
	s.configure(t, p.dir)
	return s
}

// image returns the nginx image of the tests.
func image() string {
	if name := os.Getenv("BG_NGINX_IMAGE"); name != "" {
		return name
	}
	return "nginx:1.30"
}

func archive(t *testing.T, files map[string]string) io.Reader {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for name, text := range files {
		h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}
		if strings.HasSuffix(name, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &out
}

// The book's template and locations.
const (
	bookTemplate = `upstream %[1]s {
    {{range service "%[1]s-%[2]s" "any"}}
    server {{.Address}}:{{.Port}};
    {{end}}
}
`
	bookIncludes = `location / {
    proxy_pass http://%[1]s;
}
`
)

// configure gives the stand a service with the book's templates.
func (s *stand) configure(t *testing.T, nginxDir string) {
	t.Helper()
	dir, service := t.TempDir(), unique("books-ms")
	for _, c := range []string{"blue", "green"} {
		write(t, filepath.Join(dir, "upstreams-"+c+".ctmpl"), fmt.Sprintf(bookTemplate, service, c))
	}
	write(t, filepath.Join(dir, "includes.conf"), fmt.Sprintf(bookIncludes, service))
	s.cfg = proxy.Config{
		Service:   service,
		Upstreams: proxy.Managed{Source: filepath.Join(dir, "upstreams-{color}.ctmpl"), Path: nginxDir + "/upstreams/" + service + ".conf"},
		Includes:  proxy.Managed{Source: filepath.Join(dir, "includes.conf"), Path: nginxDir + "/includes/" + service + ".conf"},
		URL:       s.url,
	}
	s.build(t)
}

// build makes the stand's Nginx anew after a change of its configuration.
func (s *stand) build(t *testing.T) {
	s.Nginx = proxy.New(s.cfg, engine.NewContainerHost(s.docker, s.container), proxy.CatalogConfig{Address: consulAddress}, logger(t))
}

func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// until fails the test when done does not become true within 15 s.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 15 s: %s", what)
		}
	}
}
