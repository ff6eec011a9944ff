//go:build faults

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"bg/internal/fault"
	"bg/load"
)

// lockTTL is the shortest time after which Consul ends the session of a process
// that died on another machine, by Consul's own default.
const lockTTL = 10 * time.Second

// faulty is the world of one cell.
type faulty struct {
	*world
	parts *site // its own Consul and registrator; nil: what all share
	row   *row
	codes []string // what each bg ended with
}

// faultSettings have two tests on each side of the switch, so that bg can come to
// harm between them.
var faultSettings = strings.ReplaceAll(settings, "{ http: { path: /ping } } ]", "{ http: { path: /ping } }, { http: { path: /api/v1/books } } ]")

// failingSettings have post tests that fail.
var failingSettings = strings.Replace(faultSettings, "post: [ {", "post: [ { run: 'exit 1' }, {", 1)

// prepare starts nginx and writes the service's folder.
func (f *faulty) prepare(c cell) {
	f.Helper()
	mounts := slices.Clone(c.nginx)
	if f.site.HostPort == "" {
		mounts = append(mounts, "-p", fmt.Sprint(fixedPort(), ":80"))
	}
	for _, folder := range []string{"/etc/nginx/upstreams", "/etc/nginx/includes"} {
		if !strings.Contains(strings.Join(c.nginx, " "), folder) {
			mounts = append(mounts, "-v", folder)
		}
	}
	f.startNginx(mounts...)
	f.files()
	f.file("bg.yml", faultSettings)
	if c.engine != nil {
		f.file("docker-compose.yml", strings.Replace(compose, "    stop_grace", "    restart: unless-stopped\n    stop_grace", 1))
		f.env = append(f.env, f.site.Env...)
	}
	f.env = append(f.env, "BG_LOCK_TTL="+lockTTL.String(), "BG_LOCK_WAIT=1m")
}

// begin sends requests of four kinds from now on.
func (f *faulty) begin() {
	f.Helper()
	var err error
	f.load, err = load.Start(f.Context(), f.url,
		load.Clients{Name: "keep-alive", Number: 2, Path: "/ping", KeepAlive: true, Pause: 5 * time.Millisecond, Label: "X-Color"},
		load.Clients{Name: "non-keep-alive", Number: 1, Path: "/ping", Pause: 10 * time.Millisecond, Label: "X-Color"},
		load.Clients{Name: "POST", Number: 1, Method: http.MethodPost, Path: "/api/v1/books", Body: `{"title":"a"}`, KeepAlive: true, Pause: 10 * time.Millisecond, Label: "X-Color"},
		load.Clients{Name: "slow", Number: 4, Path: "/api/v1/slow?ms=700", KeepAlive: true, Label: "X-Color"})
	if err != nil {
		f.Fatal(err)
	}
}

// end ends the load and counts what failed.
func (f *faulty) end() {
	f.Helper()
	for _, r := range f.load.Stop() {
		f.row.Requests += r.Sent
		f.row.Failed += r.Failed
		if r.Sent == 0 || r.Failed > 0 && f.row.DataPath == "" {
			f.Errorf("%d of %d %s requests failed: %v", r.Failed, r.Sent, r.Name, r.Errors)
		}
	}
	f.load = nil
}

// run runs bg to its end, with a fault or without one, and keeps its exit code:
// "killed" is that of a process that a signal ended.
func (f *faulty) run(what string, args ...string) result {
	f.Helper()
	before := f.env
	if what != "" {
		f.env = append(slices.Clone(before), fault.Variable+"="+what)
	}
	r := f.bg(args...)
	f.env = before
	f.ended(r.code)
	f.Logf("bg %s (%s): %d\n%s%s", strings.Join(args, " "), what, r.code, r.out, r.report)
	return r
}

func (f *faulty) ended(code int) {
	word := fmt.Sprint(code)
	if code < 0 {
		word = "killed"
	}
	f.codes = append(f.codes, word)
	f.row.Codes = strings.Join(f.codes, ", ")
}

// killed runs a bg that is killed at a point.
func (f *faulty) killed(point string, args ...string) {
	f.Helper()
	if r := f.run("kill:"+point, args...); r.code >= 0 {
		f.Fatalf("it was not killed at %s", point)
	}
}

// must runs bg, which has to end with one of the codes.
func (f *faulty) must(codes []int, args ...string) {
	f.Helper()
	f.endsWith(f.run("", args...), codes...)
}

// endsWith compares an exit code with those that are documented for the case.
func (f *faulty) endsWith(r result, codes ...int) {
	f.Helper()
	if !slices.Contains(codes, r.code) {
		f.Errorf("exit code %d instead of %v\n%s\n%s", r.code, codes, r.out, r.report)
	}
}

// at runs bg, does something while it stands at a point, and waits for its end.
func (f *faulty) at(point string, do func(), args ...string) result {
	f.Helper()
	dir := f.TempDir()
	command := exec.CommandContext(f.Context(), bg, args...)
	command.Dir, command.Env = f.dir, append(os.Environ(), append(f.env, fault.Variable+"=hold:"+point, fault.FolderVariable+"="+dir)...)
	var out, report strings.Builder
	command.Stdout, command.Stderr = &out, &report
	if err := command.Start(); err != nil {
		f.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = command.Wait() // the exit code says it
		close(ended)
	}()
	eventually(f, 2*time.Minute, func() error {
		select {
		case <-ended:
			f.Fatalf("it ended before %s:\n%s%s", point, &out, &report)
		default:
		}
		_, err := os.Stat(filepath.Join(dir, fault.Reached))
		return err
	})
	do()
	if err := os.WriteFile(filepath.Join(dir, fault.Go), nil, 0o600); err != nil {
		f.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(4 * time.Minute):
		_ = command.Process.Kill() // it may have ended
		<-ended
		f.Errorf("it did not end")
	}
	r := result{code: command.ProcessState.ExitCode(), out: out.String(), report: report.String()}
	f.ended(r.code)
	f.Logf("bg %s (held at %s): %d\n%s%s", strings.Join(args, " "), point, r.code, r.out, r.report)
	return r
}

// servers are the addresses in nginx's upstreams file.
var servers = regexp.MustCompile(`server\s+([^;\s]+);`)

// whole asks whether all parts agree that live serves, and whether anything was
// left behind. "" says that the service was never deployed.
func (f *faulty) whole(live string) {
	f.Helper()
	f.row.Live = cmpOr(live, "none")
	var left []string
	for _, check := range []func(string) error{f.colorIs, f.answersAre, f.containersAre, f.nginxSendsTo, f.filesAre, f.journalEnded, f.nobodyHolds, f.registeredIs} {
		if err := check(live); err != nil {
			left = append(left, err.Error())
		}
	}
	f.row.Left = strings.Join(left, "; ")
	if f.row.Left != "" {
		f.Error(f.row.Left)
	}
}

func cmpOr(word, other string) string {
	if word == "" {
		return other
	}
	return word
}

func (f *faulty) colorIs(live string) error {
	if got := strings.TrimSpace(f.kv("color")); got != live {
		return fmt.Errorf("KV says %q instead of %q", got, live)
	}
	return nil
}

// answersAre asks over a number of new connections.
func (f *faulty) answersAre(live string) error {
	if live == "" {
		return nil
	}
	for range 20 {
		_, header, err := f.get("/ping")
		if err != nil || header.Get("X-Color") != live {
			return fmt.Errorf("%q answers instead of %q (%w)", header.Get("X-Color"), live, err)
		}
	}
	return nil
}

// containersAre allows one container that runs, and the stopped ones of the
// color that was live before.
func (f *faulty) containersAre(live string) error {
	for _, line := range strings.Split(f.containers(), "\n") {
		name, state, _ := strings.Cut(line, " ")
		serves := live != "" && strings.Contains(name, "-app-"+live+"-")
		switch {
		case line == "":
			if live != "" {
				return errors.New("no container is there")
			}
		case serves && state != "running", !serves && (state != "exited" || live == "" || !f.wasLive(name)):
			return fmt.Errorf("the container %s is %s", name, state)
		}
	}
	return nil
}

// wasLive reports whether the deployment of a container is one that became live:
// others leave nothing.
func (f *faulty) wasLive(name string) bool {
	id := f.docker("inspect", "-f", `{{index .Config.Labels "bg.deployment"}}`, name)
	var d document
	if err := json.Unmarshal([]byte(f.kv("deploys/"+id)), &d); err != nil {
		return false
	}
	return d.Outcome == "done"
}

// document is what a cell asks of a deployment's document.
type document struct {
	ID      string `json:"id"`
	Outcome string `json:"outcome"`
}

func (f *faulty) nginxSendsTo(live string) error {
	file := f.docker("exec", f.nginx, "sh", "-c", "cat /etc/nginx/upstreams/"+f.service+".conf 2>/dev/null || true")
	var got, want []string
	for _, m := range servers.FindAllStringSubmatch(file, -1) {
		got = append(got, m[1])
	}
	if live != "" {
		want = f.instances(live)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("nginx sends to %v instead of %v", got, want)
	}
	return nil
}

// instances are the registered addresses of a color.
func (f *faulty) instances(color string) []string {
	var list []struct {
		ServiceAddress string
		ServicePort    int
	}
	a := f.consul(http.MethodGet, "catalog/service/"+f.service+"-"+color, "")
	if err := json.Unmarshal([]byte(a.body), &list); err != nil {
		f.Fatalf("%v: %s", err, a.body)
	}
	addresses := make([]string, 0, len(list))
	for _, i := range list {
		addresses = append(addresses, fmt.Sprint(i.ServiceAddress, ":", i.ServicePort))
	}
	return addresses
}

func (f *faulty) filesAre(live string) error {
	files := f.docker("exec", f.nginx, "sh", "-c", "ls -A /etc/nginx/upstreams /etc/nginx/includes; ls -A /tmp")
	for _, name := range strings.Fields(files) {
		if !strings.HasSuffix(name, ":") && (name != f.service+".conf" || live == "") {
			return fmt.Errorf("nginx's file system has %q", name)
		}
	}
	return nil
}

func (f *faulty) journalEnded(string) error {
	if d := f.newest(); !slices.Contains([]string{"", "done", "failed", "interrupted", "aborted"}, d.Outcome) {
		return fmt.Errorf("the newest deployment is %s", d.Outcome)
	}
	return nil
}

// newest returns the newest deployment's document, an empty one when there is none.
func (f *faulty) newest() document {
	f.Helper()
	var d document
	if text := f.kv("deploy"); text != "" {
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			f.Fatalf("%v: %s", err, text)
		}
	}
	return d
}

// nobodyHolds asks for locks and sessions. That of a process which died while it
// held nginx ends by itself, as its time to live says.
func (f *faulty) nobodyHolds(string) error {
	if held := f.kv("lock"); held != "" {
		return fmt.Errorf("the lock is held: %s", held)
	}
	var left error
	for deadline := time.Now().Add(3 * lockTTL); ; time.Sleep(200 * time.Millisecond) { // Consul ends them when it likes
		if left = f.session(); left == nil || time.Now().After(deadline) {
			return left
		}
	}
}

// session returns an error for a session that is about this world.
func (f *faulty) session() error {
	var list []struct{ Name string }
	a := f.consul(http.MethodGet, "session/list", "")
	if err := json.Unmarshal([]byte(a.body), &list); err != nil {
		return fmt.Errorf("%w: %s", err, a.body)
	}
	for _, s := range list {
		if strings.Contains(s.Name, f.service+"/") || strings.Contains(s.Name, f.nginx+"-") {
			return fmt.Errorf("the session %q is left", s.Name)
		}
	}
	return nil
}

// registeredIs asks that Consul knows exactly what serves.
func (f *faulty) registeredIs(live string) error {
	for _, color := range []string{"blue", "green"} {
		want := 0
		if color == live {
			want = 1
		}
		if got := f.instances(color); len(got) != want {
			return fmt.Errorf("%s is registered as %v", color, got)
		}
	}
	return nil
}
