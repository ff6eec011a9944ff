package proxy_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bg/color"
	"bg/engine"
	"bg/hint"
	"bg/proxy"
)

// colors are a stand's two colors, registered.
func (s *stand) colors(t *testing.T) (blue, green backend) {
	t.Helper()
	blue, green = serve(t, "blue"), serve(t, "green")
	for _, b := range []backend{blue, green} {
		id := s.cfg.Service + "-" + b.color
		register(t, registration{Name: id, ID: id, Address: b.address, Port: b.port})
	}
	return blue, green
}

// apply renders and applies a color.
func (s *stand) apply(t *testing.T, b backend) (proxy.Change, error) {
	t.Helper()
	files, err := s.Render(t.Context(), proxy.RenderInput{Color: color.Color(b.color), Want: []string{b.String()}})
	if err != nil {
		t.Fatalf("render %s: %v", b.color, err)
	}
	return s.Apply(t.Context(), files)
}

// serving returns a stand that serves blue.
func serving(t *testing.T, options ...standOption) (s *stand, blue, green backend) {
	t.Helper()
	s = newStand(t, options...)
	blue, green = s.colors(t)
	if _, err := s.apply(t, blue); err != nil {
		t.Fatalf("apply blue: %v", err)
	}
	return s, blue, green
}

// includes replaces the source of the includes.
func (s *stand) includes(t *testing.T, text string) {
	t.Helper()
	write(t, s.cfg.Includes.Source, strings.ReplaceAll(text, "BOOKS-MS", s.cfg.Service))
}

// sh runs a script in the container and returns what it printed.
func (s *stand) sh(t *testing.T, script string) string {
	t.Helper()
	out, stderr, err := engine.NewContainerHost(s.docker, s.container).Run(t.Context(), []string{"sh", "-c", script}, nil)
	if err != nil {
		t.Fatalf("%s: %v %s", script, err, stderr)
	}
	return string(out)
}

// snapshot is everything in the container that a change may touch.
func (s *stand) snapshot(t *testing.T) string {
	t.Helper()
	return s.sh(t, "cd /etc/nginx; ls -lA upstreams includes | grep -v ^total; cat upstreams/* includes/* 2>/dev/null; ls -A /tmp")
}

// unchanged fails the test unless the container is as before was.
func (s *stand) unchanged(t *testing.T, before string) {
	t.Helper()
	if after := s.snapshot(t); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

func (s *stand) observe(t *testing.T) proxy.State {
	t.Helper()
	state, err := s.Observe(t.Context())
	if err != nil {
		t.Fatalf("observe: %v", err)
	}
	return state
}

// refused fails the test unless err is want, says all of says, and has a hint
// that contains advice.
func refused(t *testing.T, err, want error, advice string, says ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
	if !strings.Contains(hint.Of(err), advice) {
		t.Errorf("the hint is %q, want %q in it", hint.Of(err), advice)
	}
}

func TestApplySwitchesWithoutLosingARequest(t *testing.T) {
	t.Parallel()
	s, blue, green := serving(t)
	l := startLoad(t, s.url)
	for range 2 {
		for _, b := range []backend{green, blue} {
			began := time.Now()
			change, err := s.apply(t, b)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("rendered and applied in %s: %s", time.Since(began).Round(time.Millisecond), change)
			if got := ask(t.Context(), fresh, s.url); got != b.color {
				t.Errorf("nginx answers %q, want %s", got, b.color)
			}
			if change.Confirmed != 3 || !change.Reloaded || len(change.OldWorkers) == 0 || len(change.NewWorkers) == 0 {
				t.Errorf("unproven: %+v", change)
			}
			drained, err := s.Drain(t.Context(), change, nil)
			if err != nil || len(drained.Workers) > 0 {
				t.Errorf("drain: %+v, %v", drained, err)
			}
			state := s.observe(t)
			if want := []string{b.String()}; !slices.Equal(state.Upstreams, want) || !state.Included {
				t.Errorf("nginx sends to %v, want %v", state.Upstreams, want)
			}
			if slices.ContainsFunc(change.OldWorkers, func(pid int) bool { return slices.Contains(state.Workers, pid) }) {
				t.Errorf("old workers %v still serve: %v", change.OldWorkers, state.Workers)
			}
		}
	}
	l.end(t, "blue", "green")
	if left := s.sh(t, "ls -A /tmp; ls -A /etc/nginx/upstreams | grep -v conf$ || true"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

func TestApplyOfWhatServesDoesNothing(t *testing.T) {
	t.Parallel()
	s, blue, _ := serving(t)
	before, workers := s.snapshot(t), s.observe(t).Workers
	change, err := s.apply(t, blue)
	if err != nil {
		t.Fatal(err)
	}
	if change.Reloaded || change.Confirmed != 3 || !slices.Equal(workers, s.observe(t).Workers) {
		t.Errorf("it reloaded: %+v", change)
	}
	s.unchanged(t, before)
}

func TestApplyReloadsWhenAnEarlierAttemptDiedBeforeItsReload(t *testing.T) {
	t.Parallel()
	s, _, green := serving(t)
	files, err := s.Render(t.Context(), proxy.RenderInput{Color: color.Green, Want: []string{green.String()}})
	if err != nil {
		t.Fatal(err)
	}
	host := engine.NewContainerHost(s.docker, s.container)
	if err := host.WriteFile(t.Context(), files.Upstreams.Path, files.Upstreams.Data); err != nil {
		t.Fatal(err)
	}
	change, err := s.Apply(t.Context(), files)
	if err != nil || !change.Reloaded {
		t.Fatalf("%+v, %v", change, err)
	}
	if got := ask(t.Context(), fresh, s.url); got != "green" {
		t.Errorf("nginx answers %q", got)
	}
}

func TestRefusedFilesNeverTouchTheDiskNorTheTraffic(t *testing.T) {
	t.Parallel()
	s, _, green := serving(t)
	before, workers := s.snapshot(t), s.observe(t).Workers
	l := startLoad(t, s.url)
	for text, reason := range map[string]string{
		"location / {\n  proxy_pass http://BOOKS-MS;\n  nonsense on;\n}": `unknown directive "nonsense" in ` + s.cfg.Includes.Path + ":3",
		"location / { proxy_pass http://no-such-upstream; }":             `host not found in upstream "no-such-upstream" in ` + s.cfg.Includes.Path + ":1",
		"location / { proxy_pass http://BOOKS-MS; ":                      "unexpected end of file",
	} {
		s.includes(t, text)
		_, err := s.apply(t, green)
		refused(t, err, proxy.ErrRefused, "", reason)
	}
	l.end(t, "blue")
	s.unchanged(t, before)
	if now := s.observe(t).Workers; !slices.Equal(now, workers) {
		t.Errorf("nginx was reloaded: %v, before %v", now, workers)
	}
}

func TestRestoreBringsThePreviousFilesBack(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	blue, green := s.colors(t)
	empty := s.snapshot(t)
	first, err := s.apply(t, blue)
	if err != nil {
		t.Fatal(err)
	}
	l := startLoad(t, s.url)
	withBlue := s.snapshot(t)
	second, err := s.apply(t, green)
	if err != nil {
		t.Fatal(err)
	}
	back, err := s.Restore(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Drain(t.Context(), back, nil); err != nil {
		t.Error(err)
	}
	if got := ask(t.Context(), fresh, s.url); got != "blue" {
		t.Errorf("nginx answers %q, want blue", got)
	}
	if after := s.sh(t, "cat /etc/nginx/upstreams/*"); !strings.Contains(withBlue, after) {
		t.Errorf("the upstreams are %q", after)
	}
	l.end(t, "blue", "green")
	if _, err := s.Restore(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	s.unchanged(t, empty)
}

func TestDrainWaitsForTheSlowestRequest(t *testing.T) {
	t.Parallel()
	s, blue, green := serving(t)
	answer := make(chan string, 1)
	go func() { answer <- ask(t.Context(), fresh, s.url+"/slow?ms=8000") }()
	until(t, "the slow request is with blue", func() bool { return blue.inFlight.Load() > 0 })
	change, err := s.apply(t, green)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errors.New("too long"))
	defer cancel()
	drained, err := s.Drain(ctx, change, nil)
	refused(t, err, proxy.ErrDrain, "worker_shutdown_timeout", "too long")
	if len(drained.Workers) == 0 {
		t.Error("no worker is left, and the request is not answered")
	}
	var seen []proxy.Draining
	if _, err = s.Drain(t.Context(), change, func(d proxy.Draining) { seen = append(seen, d) }); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-answer:
		if got != "blue" {
			t.Errorf("the slow request got %q", got)
		}
	case <-time.After(time.Second):
		t.Error("the drain ended before the slow request")
	}
	if len(seen) == 0 || seen[len(seen)-1].OldWorkers != 0 {
		t.Errorf("progress: %v", seen)
	}
	// It says what it waits for, at the deadline and on the way.
	told := []*proxy.Connections{drained.Left}
	for _, d := range seen {
		told = append(told, d.Connections)
	}
	if !slices.ContainsFunc(told, func(c *proxy.Connections) bool { return c != nil && c.Busy == 1 }) {
		t.Errorf("nobody is told of the slow request: %v, %v", drained, seen)
	}
}

func TestForeignBrokenFileIsNamedAndNothingIsChanged(t *testing.T) {
	t.Parallel()
	s, _, green := serving(t)
	s.sh(t, "printf 'upstream other {\n}\n' > /etc/nginx/upstreams/other.conf")
	before := s.snapshot(t)
	_, err := s.apply(t, green)
	refused(t, err, proxy.ErrBroken, "nothing was changed", "/etc/nginx/upstreams/other.conf:2")
	_, err = s.Observe(t.Context())
	refused(t, err, proxy.ErrBroken, "nothing was changed", "/etc/nginx/upstreams/other.conf:2")
	s.unchanged(t, before)
}

func TestOwnBrokenFileIsMendedByApply(t *testing.T) {
	t.Parallel()
	s, _, green := serving(t)
	s.sh(t, "echo 'upstream broken {' > "+s.cfg.Upstreams.Path)
	if warnings := s.observe(t).Warnings; !slices.ContainsFunc(warnings, func(w string) bool { return strings.Contains(w, s.cfg.Upstreams.Path) }) {
		t.Errorf("warnings: %q", warnings)
	}
	if _, err := s.apply(t, green); err != nil {
		t.Fatal(err)
	}
	if got := ask(t.Context(), fresh, s.url); got != "green" {
		t.Errorf("nginx answers %q", got)
	}
}

func TestUpstreamThatChangesItsNameIsNeverMissing(t *testing.T) {
	t.Parallel()
	s, blue, green := serving(t)
	dir := filepath.Dir(s.cfg.Includes.Source)
	write(t, filepath.Join(dir, "colored.ctmpl"), `upstream {{env "BG_CATALOG"}} { {{range service (env "BG_CATALOG")}}server {{.Address}}:{{.Port}};{{end}} }`)
	write(t, filepath.Join(dir, "includes.ctmpl"), `location / { proxy_pass http://{{env "BG_CATALOG"}}; }`)
	s.cfg.Upstreams.Source, s.cfg.Includes.Source = filepath.Join(dir, "colored.ctmpl"), filepath.Join(dir, "includes.ctmpl")
	s.build(t)
	l := startLoad(t, s.url)
	for _, b := range []backend{blue, green, blue} {
		change, err := s.apply(t, b)
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{s.cfg.Upstreams.Path, s.cfg.Includes.Path, s.cfg.Upstreams.Path}; !slices.Equal(change.Written, want) {
			t.Errorf("written: %v, want %v", change.Written, want)
		}
	}
	l.end(t, "blue", "green")
}

func TestUnconfirmedSwitchIsUndone(t *testing.T) {
	t.Parallel()
	s, _, _ := serving(t)
	s.cfg.ConfirmTimeout = 300 * time.Millisecond
	s.build(t)
	before := s.sh(t, "cat /etc/nginx/upstreams/* /etc/nginx/includes/*")
	wrong := serve(t, "purple")
	write(t, strings.ReplaceAll(s.cfg.Upstreams.Source, "{color}", "green"), fmt.Sprintf("upstream %s { server %s; }", s.cfg.Service, wrong))
	wrong.color = "green"
	_, err := s.apply(t, wrong)
	refused(t, err, proxy.ErrUnconfirmed, "", "answers with purple, not green")
	if errors.Is(err, proxy.ErrRestore) {
		t.Errorf("not restored: %v", err)
	}
	if after := s.sh(t, "cat /etc/nginx/upstreams/* /etc/nginx/includes/*"); after != before {
		t.Errorf("before %q, after %q", before, after)
	}
	if got := ask(t.Context(), fresh, s.url); got != "blue" {
		t.Errorf("nginx answers %q", got)
	}
}

func TestReloadThatNginxRefusesIsSeenInItsLog(t *testing.T) {
	t.Parallel()
	s, _, green := serving(t)
	before, workers := s.snapshot(t), s.observe(t).Workers
	began := time.Now()
	l := startLoad(t, s.url)
	// nginx -t passes over a port that is taken; the reload does not.
	s.sh(t, `perl -MIO::Socket::INET -e 'my $taken = IO::Socket::INET->new(LocalPort => 81, Listen => 1, ReuseAddr => 1) or die $!; sleep 600' >/dev/null 2>&1 &
		for i in $(seq 100); do grep -q :0051 /proc/net/tcp && exit; sleep 0.05; done; exit 1`)
	s.includes(t, "listen 81;\nlocation / { proxy_pass http://BOOKS-MS; }\n")
	_, err := s.apply(t, green)
	refused(t, err, proxy.ErrRefused, "", "bind() to 0.0.0.0:81 failed")
	lines, err := s.ErrorLines(t.Context(), began)
	if err != nil || !strings.Contains(strings.Join(lines, "\n"), "bind() to 0.0.0.0:81 failed") || strings.Contains(strings.Join(lines, "\n"), "[notice]") {
		t.Errorf("nginx's error lines: %q, %v", lines, err)
	}
	l.end(t, "blue")
	s.unchanged(t, before)
	// What the log says may be about another reload: nginx has read the old files again.
	if now := s.observe(t).Workers; len(now) != len(workers) || slices.Equal(now, workers) {
		t.Errorf("workers %v, before %v", now, workers)
	}
}

func TestFileThatNginxDoesNotReadIsRefused(t *testing.T) {
	t.Parallel()
	s, _, green := serving(t)
	before := s.snapshot(t)
	s.cfg.Upstreams.Path = "/etc/nginx/upstreams/books-ms.disabled"
	s.includes(t, "# nothing")
	s.build(t)
	_, err := s.apply(t, green)
	refused(t, err, proxy.ErrNotIncluded, "include /etc/nginx/upstreams/*.conf", s.cfg.Upstreams.Path)
	s.unchanged(t, before)
}

func TestMissingDirectoryIsRefusedWithAHint(t *testing.T) {
	t.Parallel()
	s := newStand(t, func(p *plan) {
		delete(p.files, "etc/nginx/upstreams/")
	})
	blue, _ := s.colors(t)
	_, err := s.apply(t, blue)
	refused(t, err, os.ErrNotExist, "make the directory /etc/nginx/upstreams", s.cfg.Upstreams.Path)
	if list := s.sh(t, "ls -A /etc/nginx/includes"); list != "" {
		t.Errorf("left behind: %s", list)
	}
}

func TestSingleFileMountIsRefusedWithAHint(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "one.conf")
	write(t, file, "# empty\n")
	s := newStand(t, func(p *plan) {
		p.host.Binds = []string{file + ":/etc/nginx/upstreams/one.conf"}
	})
	blue, _ := s.colors(t)
	s.cfg.Upstreams.Path = "/etc/nginx/upstreams/one.conf"
	s.build(t)
	before := s.snapshot(t)
	_, err := s.apply(t, blue)
	refused(t, err, syscall.EBUSY, "mount its directory /etc/nginx/upstreams instead", "one.conf")
	s.unchanged(t, before)
}

func TestFullDiskLeavesEverythingAsItWas(t *testing.T) {
	t.Parallel()
	s, _, green := serving(t, func(p *plan) {
		p.host.Tmpfs = map[string]string{"/etc/nginx/upstreams": "size=64k", "/etc/nginx/includes": "size=64k"}
	})
	for _, full := range []string{"upstreams", "includes"} {
		s.sh(t, "cd /etc/nginx/"+full+"; dd if=/dev/zero of=filler bs=1k 2>/dev/null || true")
		before := s.snapshot(t)
		l := startLoad(t, s.url)
		s.includes(t, "location / { proxy_pass http://BOOKS-MS; } # "+full)
		_, err := s.apply(t, green)
		refused(t, err, syscall.ENOSPC, "is full", full)
		l.end(t, "blue")
		s.sh(t, "rm /etc/nginx/"+full+"/filler")
		if after := s.snapshot(t); lines(after) != lines(before)-1 {
			t.Errorf("before\n%s\nafter\n%s", before, after)
		}
		if got := ask(t.Context(), fresh, s.url); got != "blue" {
			t.Errorf("nginx answers %q", got)
		}
	}
	if _, err := s.apply(t, green); err != nil {
		t.Errorf("with space again: %v", err)
	}
}

func lines(text string) int { return strings.Count(text, "\n") }

func TestInterruptedApplyIsUndone(t *testing.T) {
	t.Parallel()
	s, _, green := serving(t)
	files, err := s.Render(t.Context(), proxy.RenderInput{Color: color.Green, Want: []string{green.String()}})
	if err != nil {
		t.Fatal(err)
	}
	before := s.sh(t, "cat /etc/nginx/upstreams/* /etc/nginx/includes/*; ls -A /etc/nginx/upstreams")
	l := startLoad(t, s.url)
	for _, after := range []time.Duration{50, 150, 250, 350, 450, 600} {
		ctx, cancel := context.WithTimeoutCause(t.Context(), after*time.Millisecond, errors.New("interrupted"))
		_, err := s.Apply(ctx, files)
		cancel()
		if err == nil {
			t.Logf("done within %d ms", after)
			break
		}
		refused(t, err, err, "", "interrupted")
		until(t, "blue answers", func() bool { return ask(t.Context(), fresh, s.url) == "blue" })
		if now := s.sh(t, "cat /etc/nginx/upstreams/* /etc/nginx/includes/*; ls -A /etc/nginx/upstreams"); now != before {
			t.Errorf("after %d ms: before %q, now %q", after, before, now)
		}
	}
	l.end(t, "blue", "green")
}

func TestNginxBehindAShellAndWithItsOwnConfigurationFile(t *testing.T) {
	t.Parallel()
	s, _, green := serving(t, func(p *plan) {
		p.command = []string{"sh", "-c", "nginx -c /srv/conf/nginx.conf -g 'daemon off;' & wait"}
		p.dir = "/srv/conf"
		p.files = map[string]string{
			"etc/nginx/nginx.conf": "this is not the file that nginx runs with",
			"srv/conf/nginx.conf":  strings.ReplaceAll(mainConf, "/etc/nginx/includes", "/srv/conf/includes"),
			"srv/conf/upstreams/":  "", "srv/conf/includes/": "",
		}
	})
	if _, err := s.apply(t, green); err != nil {
		t.Fatal(err)
	}
	if got := ask(t.Context(), fresh, s.url); got != "green" {
		t.Errorf("nginx answers %q", got)
	}
}

func TestFilesWithRelativePathsAreFoundByTheCheck(t *testing.T) {
	t.Parallel()
	cert, key := keyPair(t)
	s, _, green := serving(t, func(p *plan) {
		p.files["etc/nginx/nginx.conf"] = strings.Replace(mainConf, "listen 80 default_server;",
			"listen 80 default_server; listen 443 ssl; ssl_certificate upstreams/tls/cert.pem; ssl_certificate_key .key.pem;", 1)
		p.files["etc/nginx/upstreams/tls/cert.pem"], p.files["etc/nginx/.key.pem"] = cert, key
	})
	if _, err := s.apply(t, green); err != nil {
		t.Fatal(err)
	}
}

// keyPair returns a certificate and its key, as nginx reads them.
func keyPair(t *testing.T) (cert, key string) {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	pair := server.TLS.Certificates[0]
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return encode("CERTIFICATE", pair.Certificate[0]), encode("PRIVATE KEY", der)
}

func TestContainerThatIsNotThereIsUnreachable(t *testing.T) {
	t.Parallel()
	s, _, _ := serving(t)
	if err := s.docker.ContainerKill(t.Context(), s.container, "KILL"); err != nil {
		t.Fatal(err)
	}
	until(t, "nginx is gone", func() bool { _, err := s.Observe(t.Context()); return err != nil })
	_, err := s.Observe(t.Context())
	refused(t, err, proxy.ErrUnreachable, "docker start "+s.container, "does not run")
	s.container = "bg-no-such-container"
	s.build(t)
	_, err = s.Observe(t.Context())
	refused(t, err, proxy.ErrUnreachable, "proxy.container", "bg-no-such-container does not exist")
}

func TestObserveWarnsOfWhatCostsRequests(t *testing.T) {
	t.Parallel()
	s, _, _ := serving(t)
	if w := s.observe(t).Warnings; len(w) > 0 {
		t.Errorf("warnings: %q", w)
	}
	s.cfg.DrainTimeout = 10 * time.Second
	s.build(t)
	state := s.observe(t)
	if want := "worker_shutdown_timeout 20s is not below the drain's time-out 10s"; !slices.Contains(state.Warnings, want) {
		t.Errorf("warnings: %q, want %q", state.Warnings, want)
	}
	if state.Version == "" || len(state.Workers) != 2 {
		t.Errorf("version %q, workers %v", state.Version, state.Workers)
	}
}
