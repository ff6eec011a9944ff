package e2e

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bg/internal/stacktest"
	"bg/load"
)

// world is one service with its folder, its nginx and its load.
type world struct {
	*testing.T
	site    *stacktest.Stack // what it shares with other worlds
	service string
	dir     string
	nginx   string // the container
	conf    string // its nginx.conf; "" is the stack's own
	url     string // the service through nginx
	env     []string
	prefix  string // before its keys in Consul KV
	load    *load.Load
}

const compose = `services:
  base:
    image: IMAGE:1.0
    ports: ["8080"]
    environment:
      REDIS_ADDR: REDIS
      REDIS_PREFIX: "SERVICE-"
      START_DELAY:
      CRASH:
      FAIL_HEALTH:
      FAIL_AFTER:
    healthcheck: { disable: true }
    stop_grace_period: 20s
  app-blue:
    extends: base
    environment: { SERVICE_NAME: SERVICE-blue, COLOR: blue }
  app-green:
    extends: base
    environment: { SERVICE_NAME: SERVICE-green, COLOR: green }
`

const upstreams = `upstream SERVICE {
  {{range service "SERVICE-COLOR" "any"}}
  server {{.Address}}:{{.Port}};
  {{end}}
}
map "" $live_color { default COLOR; }
`

const includes = `location / {
  proxy_pass http://SERVICE;
  add_header X-BG-Color $live_color always;
}
`

const settings = `service: SERVICE
tests:
  pre:  [ { http: { path: /ping } } ]
  post: [ { http: { path: /ping } } ]
proxy: { container: NGINX, url: "URL" }
health: { timeout: 30s }
`

// newWorld makes a service that was never deployed.
func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	w := newWorldOf(t, &stack)
	w.startNginx("-v", "/etc/nginx/upstreams", "-v", "/etc/nginx/includes")
	w.files()
	return w
}

// newWorldOf makes a service that has neither an nginx nor files yet.
func newWorldOf(t *testing.T, site *stacktest.Stack) *world {
	id := stacktest.Random()
	w := &world{T: t, site: site, service: "svc-" + id, dir: t.TempDir(), nginx: stack.Name + "-" + id}
	w.env = []string{"CONSUL_HTTP_ADDR=" + site.Consul}
	t.Cleanup(w.clean)
	return w
}

// files writes the service's folder.
func (w *world) files() {
	w.Helper()
	w.file("docker-compose.yml", compose)
	w.file("nginx-upstreams-blue.ctmpl", strings.ReplaceAll(upstreams, "COLOR", "blue"))
	w.file("nginx-upstreams-green.ctmpl", strings.ReplaceAll(upstreams, "COLOR", "green"))
	w.file("nginx-includes.conf", includes)
	w.file("bg.yml", settings)
}

// docker runs the docker command against this world's Engine.
func (w *world) docker(args ...string) string {
	w.Helper()
	out, err := w.site.Output("docker", args...)
	if err != nil {
		w.Fatal(err)
	}
	return out
}

// startNginx starts this world's nginx with the stack's own configuration.
func (w *world) startNginx(mounts ...string) {
	switch {
	case w.site.HostPort != "":
		mounts = append(mounts, "--network", "host")
	case !slices.Contains(mounts, "-p"):
		mounts = append(mounts, "-p", "80")
	}
	args := append([]string{"run", "-d", "--name", w.nginx, "-l", "SERVICE_IGNORE=true",
		"-v", cmp.Or(w.conf, filepath.Join(root, "templates/nginx.conf")) + ":/etc/nginx/nginx.conf:ro"}, mounts...)
	w.docker(append(args, "nginx:1.30")...)
	port := w.site.HostPort
	if port == "" {
		port = w.docker("inspect", "-f", `{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}`, w.nginx)
	}
	w.url = "http://" + w.site.Host + ":" + port
	eventually(w, time.Minute, func() error { _, _, err := w.get("/nothing"); return err })
}

// clean removes what the scenario left, also when it failed.
func (w *world) clean() {
	if w.load != nil {
		w.load.Stop()
	}
	left := strings.Fields(w.docker("ps", "-aq", "--filter", "label=com.docker.compose.project="+w.service))
	w.docker(append([]string{"rm", "-fv", w.nginx}, left...)...)
	if volumes := strings.Fields(w.docker("volume", "ls", "-q", "--filter", "name="+w.service)); len(volumes) > 0 {
		w.docker(append([]string{"volume", "rm"}, volumes...)...)
	}
	if networks := strings.Fields(w.docker("network", "ls", "-q", "--filter", "label=com.docker.compose.project="+w.service)); len(networks) > 0 {
		w.docker(append([]string{"network", "rm"}, networks...)...)
	}
	if images := strings.Fields(w.docker("images", "--filter", "reference="+w.service+"*", "--format", "{{.Repository}}:{{.Tag}}")); len(images) > 0 {
		w.docker(append([]string{"rmi"}, images...)...)
	}
}

// file writes a file of the service's folder; the words in capitals become this
// world's own.
func (w *world) file(name, content string) {
	w.Helper()
	content = strings.NewReplacer("SERVICE-", w.service+"-", "service: SERVICE", "service: "+w.service,
		"upstream SERVICE", "upstream "+w.service, "http://SERVICE", "http://"+w.service,
		"IMAGE", stack.Name, "REDIS_", "REDIS_", "REDIS", w.site.Redis, "NGINX", w.nginx, "URL", w.url).Replace(content)
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o600); err != nil {
		w.Fatal(err)
	}
}

// append adds to bg.yml.
func (w *world) settings(lines string) { w.file("bg.yml", settings+lines) }

// bg runs bg in the service's folder.
func (w *world) bg(args ...string) result {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 3*time.Minute)
	defer cancel()
	r, err := execute(ctx, w.dir, w.env, bg, args...)
	if err != nil {
		w.Fatalf("bg %s: %v\n%s", strings.Join(args, " "), err, r.report)
	}
	return r
}

// deploy runs a command that has to succeed.
func (w *world) deploy(args ...string) result {
	w.Helper()
	r := w.bg(append([]string{"deploy", w.service}, args...)...)
	w.code(r, 0)
	return r
}

// code compares an exit code.
func (w *world) code(r result, want int) {
	w.Helper()
	if r.code != want {
		w.Fatalf("exit code %d instead of %d\n%s\n%s", r.code, want, r.out, r.report)
	}
}

// says asks for words in what a person reads.
func (w *world) says(r result, words ...string) {
	w.Helper()
	for _, word := range words {
		if !strings.Contains(r.report+r.out, word) {
			w.Errorf("it does not say %q:\n%s\n%s", word, r.out, r.report)
		}
	}
}

// begin sends keep-alive, non-keep-alive and slow requests until end.
func (w *world) begin() {
	w.Helper()
	var err error
	w.load, err = load.Start(w.Context(), w.url,
		load.Clients{Name: "keep-alive", Number: 2, Path: "/ping", KeepAlive: true, Pause: time.Millisecond, Label: "X-Color"},
		load.Clients{Name: "non-keep-alive", Number: 2, Path: "/ping", Pause: time.Millisecond, Label: "X-Color"},
		load.Clients{Name: "slow", Number: 8, Path: "/api/v1/slow?ms=700", KeepAlive: true, Label: "X-Color"})
	if err != nil {
		w.Fatal(err)
	}
}

// end ends the load: none of its requests may have failed.
func (w *world) end() []load.Result {
	w.Helper()
	results := w.load.Stop()
	w.load = nil
	for _, r := range results {
		if r.Failed > 0 || r.Sent == 0 {
			w.Errorf("%d of %d %s requests failed: %v", r.Failed, r.Sent, r.Name, r.Errors)
		}
	}
	return results
}

// live compares the color in KV with the one that answers through nginx.
func (w *world) live(want string) {
	w.Helper()
	if got := strings.TrimSpace(w.kv("color")); got != want {
		w.Errorf("KV says %q instead of %q", got, want)
	}
	_, header, err := w.get("/ping")
	if err != nil || header.Get("X-Color") != want {
		w.Errorf("%q answers instead of %q (%v)", header.Get("X-Color"), want, err)
	}
}

// kv returns a key of the service, "" when it is absent.
func (w *world) kv(key string) string {
	w.Helper()
	a := w.consul(http.MethodGet, "kv/"+w.prefix+w.service+"/"+key+"?raw", "")
	if a.status != http.StatusOK {
		return ""
	}
	return a.body
}

// put writes a key of the service.
func (w *world) put(key, value string) {
	w.Helper()
	w.consul(http.MethodPut, "kv/"+w.prefix+w.service+"/"+key, value)
}

// consul makes one request to the API of this world's Consul.
func (w *world) consul(method, path, body string) answer {
	w.Helper()
	a, err := fetch(w, method, "http://"+w.site.Consul+"/v1/"+path, body)
	if err != nil {
		w.Fatal(err)
	}
	return a
}

// get asks the service through nginx.
func (w *world) get(path string) (string, http.Header, error) {
	a, err := fetch(w, http.MethodGet, w.url+path, "")
	return a.body, a.header, err
}

// containers returns "name state" of the service's containers.
func (w *world) containers() string {
	w.Helper()
	return w.docker("ps", "-a", "--filter", "label=com.docker.compose.project="+w.service, "--format", "{{.Names}} {{.State}}")
}

// nothingLeft asks that only blue's container, the live one, is there and registered,
// that nobody holds a lock, and that nginx's folders hold nothing else.
func (w *world) nothingLeft() {
	w.Helper()
	want := w.service + "-app-blue-1 running"
	if got := w.containers(); got != want {
		w.Errorf("containers: %q instead of %q", got, want)
	}
	if held := w.kv("lock"); held != "" {
		w.Errorf("the lock is held: %s", held)
	}
	files := w.docker("exec", w.nginx, "sh", "-c", "ls -A /etc/nginx/upstreams /etc/nginx/includes; ls -A /tmp")
	for _, name := range strings.Fields(files) {
		if !strings.HasSuffix(name, ":") && name != w.service+".conf" {
			w.Errorf("nginx's file system has %q", name)
		}
	}
	if a := w.consul(http.MethodGet, "catalog/service/"+w.service+"-green", ""); strings.TrimSpace(a.body) != "[]" {
		w.Errorf("green is still registered: %s", a.body)
	}
}

// background is a bg that still runs.
type background struct {
	*exec.Cmd
	log string // the file in which is all that it says
}

// start runs bg and returns when until appears in what it says.
func (w *world) start(until string, args ...string) *background {
	w.Helper()
	log := filepath.Join(w.TempDir(), "report")
	file := must(os.Create(log))
	defer file.Close()
	command := exec.CommandContext(w.Context(), bg, args...)
	command.Dir, command.Env, command.Stdout, command.Stderr = w.dir, append(os.Environ(), w.env...), file, file
	if err := command.Start(); err != nil {
		w.Fatal(err)
	}
	b := &background{Cmd: command, log: log}
	b.says(w, until)
	return b
}

// says waits until a word appears in what it says.
func (b *background) says(t testing.TB, word string) {
	t.Helper()
	eventually(t, time.Minute, func() error {
		if text := must(os.ReadFile(b.log)); !bytes.Contains(text, []byte(word)) {
			return fmt.Errorf("bg does not say %q: %s", word, text)
		}
		return nil
	})
}

// signal sends a signal and returns the exit code that follows.
func (b *background) signal(t testing.TB, s syscall.Signal) int {
	t.Helper()
	if err := b.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	_ = b.Wait() // the exit code says it
	return b.ProcessState.ExitCode()
}
