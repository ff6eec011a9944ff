package config

import (
	"errors"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bg/color"
	"bg/hint"
)

var update = flag.Bool("update", false, "write the golden files")

// TestMistakesAreShownInTheirPlace compares the error of each file with its
// golden text.
func TestMistakesAreShownInTheirPlace(t *testing.T) {
	t.Chdir("testdata")
	files, err := filepath.Glob("*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(name, ".yml"), func(t *testing.T) {
			_, err := Load(Source{File: name, Service: "books-ms"})
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("error is %v (%T), want an *Error", err, err)
			}
			got := err.Error() + "\n"
			if h := hint.Of(err); h != "" {
				got += "hint: " + h + "\n"
			}
			golden(t, strings.TrimSuffix(name, ".yml")+".golden", got)
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// folder makes a folder with files, each of which has its name as its content
// unless it is given.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

func TestAFolderWithoutAFileHasDefaults(t *testing.T) {
	dir := folder(t, map[string]string{
		"docker-compose.yml": "", "nginx-upstreams-blue.ctmpl": "", "nginx-upstreams-green.ctmpl": "", "nginx-includes.conf": "",
	})
	got, err := Load(Source{Dir: dir, Service: "books-ms"})
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Dir: dir, Service: "books-ms", History: 50,
		Compose: Compose{File: filepath.Join(dir, "docker-compose.yml"), Project: "books-ms", Pull: "always"},
		Health:  Health{Path: "/ping", Passes: 3, Interval: 25 * time.Millisecond, Timeout: time.Minute},
		Tests:   Tests{Timeout: 5 * time.Minute},
		Proxy: Proxy{
			Container: "nginx", URL: "http://localhost:8000",
			Upstreams: Upstreams{Template: filepath.Join(dir, "nginx-upstreams-{color}.ctmpl"), Path: "/etc/nginx/upstreams/books-ms.conf"},
			Includes:  Includes{File: filepath.Join(dir, "nginx-includes.conf"), Path: "/etc/nginx/includes/books-ms.conf"},
			Probe:     Probe{Path: "/ping", Header: "X-BG-Color"},
		},
		Evidence: Evidence{Rate: 20, Path: "/ping"},
		Timeouts: Timeouts{Start: 2 * time.Minute, Switch: 15 * time.Second, Drain: time.Minute, Undo: time.Minute},
		Lock:     Lock{TTL: 15 * time.Second},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{}, Hook{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Catalog(color.Blue) != "books-ms-blue" || got.CatalogPattern() != "books-ms-{color}" || got.KVKey("deploys", "x") != "books-ms/deploys/x" {
		t.Errorf("names are %s, %s, %s", got.Catalog(color.Blue), got.CatalogPattern(), got.KVKey("deploys", "x"))
	}
	if want := filepath.Join(dir, "nginx-upstreams-green.ctmpl"); colored(got.Proxy.Upstreams.Template, color.Green) != want {
		t.Errorf("template is %s, want %s", colored(got.Proxy.Upstreams.Template, color.Green), want)
	}
	if got.Keep != 0 || got.CheckFiles() != nil {
		t.Errorf("keep is %s, files: %v", got.Keep, got.CheckFiles())
	}
}

const full = `# every key
service: books-ms
image: registry:5000/team/books-ms:1.1
tag: 1.10
catalog: "{service}.{color}"
replicas: 4
keep: 30m
history: 7
consul: { prefix: team/a }
compose:
  file: ../common/{service}.yml
  project: shop
  service: "{color}"
  port: 8080
  pull: missing
health: { path: "/ready?deep=1", passes: 5, timeout: 90s, interval: 1s }
tests:
  timeout: 1m
  pre:
    - http: &books { path: /api/v1/books, status: 200 }
    - name: create
      timeout: 5s
      http:
        method: POST
        path: /api/v1/books
        header: { Content-Type: application/json, X-N: 1 }
        body: |
          {"id": 1}
        status: 201
        contains: "1"
        follow: true
    - compose: { file: docker-compose-dev.yml, service: integ }
    - compose: { service: integ }
  post:
    - http: *books
    - run: ./smoke.sh
    - run: [./smoke.sh, "a b", 3]
hooks:
  - on: [before switch, undo failed]
    run: ./notify.sh
    timeout: 5s
    required: true
  - on: end
    webhook: { url: "${SLACK_URL}", format: json, header: { Authorization: "Bearer ${TOKEN}" } }
report: out.html
metrics: { file: "metrics/{service}.prom", push: "http://push:9091/" }
proxy:
  host:
    check: [sudo, nginx, -t]
    reload: [sudo, nginx, -s, reload]
    pid_file: /run/nginx.pid
    error_log: /var/log/nginx/error.log
  upstreams: { template: "up-{color}.ctmpl", path: "/etc/nginx/conf.d/{service}-up.conf" }
  includes: { file: /srv/inc.conf, path: /etc/nginx/conf.d/inc.conf }
  url: https://proxy.example/base/
  probe: { path: /color, header: X-Color }
probe: { rate: 50, path: /ping }
start: { timeout: 3m }
switch: { timeout: 5s }
drain: { timeout: 2m }
undo: { timeout: 40s }
stop: { timeout: 0 }
lock: { ttl: 20s, wait: 1m }
`

func TestAFileSetsEverything(t *testing.T) {
	dir := folder(t, map[string]string{"bg.yml": full})
	got, err := Load(Source{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	books := HTTPTest{Method: "GET", Path: "/api/v1/books", Status: 200}
	want := &Config{
		File: filepath.Join(dir, "bg.yml"), Dir: dir, Service: "books-ms", Image: "registry:5000/team/books-ms:1.1", Tag: "1.10",
		Replicas: 4, Keep: 30 * time.Minute, History: 7, Consul: Consul{Prefix: "team/a/"},
		Compose: Compose{File: filepath.Join(filepath.Dir(dir), "common/books-ms.yml"), Project: "shop", Service: "{color}", Port: 8080, Pull: "missing"},
		Health:  Health{Path: "/ready?deep=1", Passes: 5, Timeout: 90 * time.Second, Interval: time.Second},
		Tests: Tests{
			Timeout: time.Minute,
			Pre: []Test{
				{Timeout: time.Minute, HTTP: &books},
				{Name: "create", Timeout: 5 * time.Second, HTTP: &HTTPTest{
					Method: "POST", Path: "/api/v1/books", Header: http.Header{"Content-Type": {"application/json"}, "X-N": {"1"}},
					Body: "{\"id\": 1}\n", Status: 201, Contains: "1", Follow: true,
				}},
				{Timeout: time.Minute, Compose: &ComposeTest{File: filepath.Join(dir, "docker-compose-dev.yml"), Service: "integ"}},
				{Timeout: time.Minute, Compose: &ComposeTest{File: filepath.Join(filepath.Dir(dir), "common/books-ms.yml"), Service: "integ"}},
			},
			Post: []Test{
				{Timeout: time.Minute, HTTP: &books},
				{Timeout: time.Minute, Run: []string{"sh", "-c", "./smoke.sh"}},
				{Timeout: time.Minute, Run: []string{"./smoke.sh", "a b", "3"}},
			},
		},
		Hooks: []Hook{
			{On: []string{"before switch", "undo failed"}, Run: []string{"sh", "-c", "./notify.sh"}, Timeout: 5 * time.Second, Required: true},
			{On: []string{"end"}, Timeout: 30 * time.Second, Webhook: &Webhook{URL: "${SLACK_URL}", Format: "json", Header: http.Header{"Authorization": {"Bearer ${TOKEN}"}}}},
		},
		Report:  filepath.Join(dir, "out.html"),
		Metrics: Metrics{File: filepath.Join(dir, "metrics/books-ms.prom"), Push: "http://push:9091/"},
		Proxy: Proxy{
			Host:      &Host{Check: []string{"sudo", "nginx", "-t"}, Reload: []string{"sudo", "nginx", "-s", "reload"}, PIDFile: "/run/nginx.pid", ErrorLog: "/var/log/nginx/error.log"},
			Upstreams: Upstreams{Template: filepath.Join(dir, "up-{color}.ctmpl"), Path: "/etc/nginx/conf.d/books-ms-up.conf"},
			Includes:  Includes{File: "/srv/inc.conf", Path: "/etc/nginx/conf.d/inc.conf"},
			URL:       "https://proxy.example/base",
			Probe:     Probe{Path: "/color", Header: "X-Color"},
		},
		Evidence: Evidence{Rate: 50, Path: "/ping"},
		Timeouts: Timeouts{Start: 3 * time.Minute, Switch: 5 * time.Second, Drain: 2 * time.Minute, Undo: 40 * time.Second},
		Lock:     Lock{TTL: 20 * time.Second, Wait: time.Minute},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{}, Hook{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Catalog(color.Green) != "books-ms.green" || got.KVKey("color") != "team/a/books-ms/color" {
		t.Errorf("names are %s, %s", got.Catalog(color.Green), got.KVKey("color"))
	}
}

func TestFlagBeatsVariableBeatsFileBeatsDefault(t *testing.T) {
	dir := folder(t, map[string]string{"bg.yml": "drain: { timeout: 2s }\nhistory: 2\nreplicas: 2\n"})
	got, err := Load(Source{
		Dir: dir, Service: "books-ms",
		Lookup: lookup(map[string]string{"BG_DRAIN_TIMEOUT": "3s", "BG_HISTORY": "3", "BG_REPLICAS": "", "BG_SERVICE": "other"}),
		Flags:  map[string]string{"drain.timeout": "4s", "health.path": ""},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.Timeouts.Drain != 4*time.Second || got.History != 3 || got.Replicas != 2 || got.Health.Passes != 3 || got.Service != "books-ms" {
		t.Errorf("drain %s, history %d, replicas %d, passes %d, service %s",
			got.Timeouts.Drain, got.History, got.Replicas, got.Health.Passes, got.Service)
	}
	if got.Health.Path != "" || got.Proxy.Probe.Path != "/" || got.Evidence.Path != "/" || got.Evidence.Rate != 20 {
		t.Errorf("health path %q, probe path %q, evidence of %q at %d/s", got.Health.Path, got.Proxy.Probe.Path, got.Evidence.Path, got.Evidence.Rate)
	}
}

func TestEverySettingComesFromItsVariableAndFlag(t *testing.T) {
	for _, s := range Settings() {
		t.Run(s.Key, func(t *testing.T) {
			bad := map[kind]string{text: "a\nb{", number: "x", duration: "5"}[s.kind]
			_, err := Load(Source{Dir: t.TempDir(), Lookup: lookup(map[string]string{s.Env: bad, "BG_SERVICE": "books-ms"})})
			if s.Key != "service" && (err == nil || !strings.HasPrefix(err.Error(), s.Env+": ")) {
				t.Errorf("variable: %v", err)
			}
			_, err = Load(Source{Dir: t.TempDir(), Service: "books-ms", Flags: map[string]string{s.Key: bad}})
			if err == nil || !strings.HasPrefix(err.Error(), "--"+s.Flag+": ") {
				t.Errorf("flag: %v", err)
			}
			if s.Usage == "" || s.Flag == "" && s.Key != "service" {
				t.Errorf("incomplete: %+v", s)
			}
		})
	}
}

func TestMistakesOutsideOfTheFile(t *testing.T) {
	tests := []struct {
		name string
		src  Source
		want string
	}{
		{"no service", Source{}, "which service is not said"},
		{"bad argument", Source{Service: "Books;"}, `SERVICE: "Books;" is not allowed; it takes lower-case letters, digits and, inside, "-"`},
		{"long argument", Source{Service: strings.Repeat("a", 64)}, "SERVICE: \"" + strings.Repeat("a", 64) + `" is longer than 63 characters`},
		{"file that is missing", Source{File: "none.yml", Service: "a"}, "none.yml: no such file or directory"},
		{"variable", Source{Service: "a", Lookup: lookup(map[string]string{"BG_HEALTH_TIMEOUT": "60"})}, "BG_HEALTH_TIMEOUT: 60 has no unit; write 60s for seconds"},
		{"flag", Source{Service: "a", Flags: map[string]string{"proxy.upstreams.path": "/etc/nginx/x;y"}}, `--proxy-upstreams-path: "/etc/nginx/x;y" is not allowed; it takes letters, digits and ._/@+,:=-`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.src.Dir = t.TempDir()
			_, err := Load(tt.src)
			if _, ok := errors.AsType[*Error](err); !ok || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// TestUnsafeValuesAreRefused gives what could leave its place in an nginx file,
// a Consul key, a request or a command.
func TestUnsafeValuesAreRefused(t *testing.T) {
	bad := map[string][]string{
		"catalog":                  {"books", "{color};", "{colour}", "{color} x", "{color}/x"},
		"consul.prefix":            {"/a", "a//b", "..", "a/../b", "a b", "a\n"},
		"compose.file":             {"", "a\nb", "{color}.yml", "\x00"},
		"compose.project":          {"", "A", "-a", "a/b", "{color}"},
		"compose.service":          {"a b", "{x}", "a/b"},
		"compose.pull":             {"", "Always"},
		"image":                    {"-v", "a b", "a;b", "$(x)"},
		"tag":                      {"a:b", "-a", ".a", strings.Repeat("a", 129)},
		"health.path":              {"ping", "//x", "/a b", "/a\nHost: x", "/%zz", "/a#b", "/é"},
		"proxy.container":          {"", "a b", "-a", "a/b"},
		"proxy.url":                {"localhost:8000", "ftp://x", "http://", "http://u:p@x", "http://x/?q", "http://x/#f", "http://a b"},
		"proxy.upstreams.path":     {"", "a", "/", "/a/../b", "/a/", "//a", "/a b", "/a;b", "/a{b", "/a}b", `/a"b`, "/a'b", "/a$b", `/a\b`, "/a\nb", "/a*", "/{color}", "/a#b", "/é"},
		"proxy.upstreams.template": {"", "a\x1b[2J", "{env}"},
		"proxy.probe.header":       {"", "a b", "a:b", "a\r\nb"},
		"probe.rate":               {"-1", "1001", "1.5", ""},
		"probe.path":               {"", "ping", "//x", "/a b"},
		"replicas":                 {"0", "1001", "-1", "1.5", "", "99999999999999999999"},
		"keep":                     {"", "no", "0s", "-1s", "900h"},
		"report":                   {"a\n.html", "{color}.html"},
		"metrics.file":             {"a.txt", "a\n.prom", "{color}.prom"},
		"metrics.push":             {"push:9091", "http://u:p@x"},
		"lock.ttl":                 {"9s", "25h"},
		"drain.timeout":            {"0", "-1s", "25h", "1 m"},
	}
	for key, values := range bad {
		for _, value := range values {
			if cfg, err := Load(Source{Dir: t.TempDir(), Service: "a", Flags: map[string]string{key: value}}); err == nil {
				t.Errorf("%s: %q was taken: %+v", key, value, cfg)
			} else if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("%s: the error has control characters: %q", key, err)
			}
		}
	}
}

func TestFindTellsAServiceFolder(t *testing.T) {
	tests := []struct {
		name  string
		files []string
		want  bool
	}{
		{"empty", nil, false},
		{"only a Compose file", []string{"docker-compose.yml"}, false},
		{"only a template", []string{"nginx-upstreams.ctmpl"}, false},
		{"Compose file and template", []string{"compose.yml", "nginx-upstreams.ctmpl"}, true},
		{"Compose file and templates", []string{"docker-compose.yaml", "nginx-upstreams-blue.ctmpl"}, true},
		{"bg.yaml", []string{"bg.yaml"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{}
			for _, f := range tt.files {
				files[f] = ""
			}
			if _, got := Find(folder(t, files)); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestCheckFilesNamesWhatIsMissing(t *testing.T) {
	dir := folder(t, map[string]string{"compose.yaml": "", "nginx-upstreams-blue.ctmpl": "", "bg.yml": "tests:\n  pre: [ { compose: { file: dev.yml, service: integ } } ]\n"})
	cfg, err := Load(Source{Dir: dir, Service: "books-ms"})
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, missing := range []string{"dev.yml", "nginx-upstreams-green.ctmpl"} {
		err := cfg.CheckFiles()
		if _, ok := errors.AsType[*Error](err); !ok || !strings.Contains(err.Error(), filepath.Join(dir, missing)+": no such file") || hint.Of(err) == "" {
			t.Errorf("got %v, want %s", err, missing)
		}
		if err := os.WriteFile(missing, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := cfg.CheckFiles(); err != nil {
		t.Error(err)
	}
}

func TestTheFilesServiceIsTheArgument(t *testing.T) {
	dir := folder(t, map[string]string{"bg.yml": "service: books-ms\n"})
	if _, err := Load(Source{Dir: dir, Service: "books-ms", Lookup: lookup(map[string]string{"BG_SERVICE": "x"})}); err != nil {
		t.Error(err)
	}
	for _, src := range []Source{{Dir: dir, Service: "users-ms"}, {Dir: dir, Lookup: lookup(map[string]string{"BG_SERVICE": "users-ms"})}} {
		if _, err := Load(src); err == nil || !strings.Contains(err.Error(), `bg.yml:1:10: service: is "books-ms", and`) || hint.Of(err) == "" {
			t.Errorf("got %v", err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(full))
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		l := &loader{cfg: defaults(), settings: Settings()}
		err := l.content("bg.yml", content)
		if err == nil {
			return
		}
		problem, ok := errors.AsType[*Error](err)
		if !ok {
			t.Fatalf("error is %v (%T), want an *Error", err, err)
		}
		if strings.Contains(problem.Message, "cannot be read as YAML:") {
			t.Logf("the parser panics on %q", content)
		}
		if strings.ContainsFunc(err.Error(), func(r rune) bool { return r != '\n' && r < ' ' }) {
			t.Fatalf("control characters in %q", err)
		}
	})
}
