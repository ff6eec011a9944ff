package proxy

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const dumped = `# configuration file /etc/nginx/nginx.conf:
http {
    include mime.types;
    include /etc/nginx/upstreams/*.conf;
    include "sites enabled/*";
}

# configuration file /etc/nginx/mime.types:
types { }
# configuration file /etc/nginx/pasted.conf:
server {
    # configuration file /etc/nginx/not-a-file.conf:
    listen 80;
}

`

func TestParseDumpSplitsFilesAsTheyAre(t *testing.T) {
	t.Parallel()
	d, err := parseDump([]byte(dumped))
	if err != nil {
		t.Fatal(err)
	}
	want := dump{
		main:  "/etc/nginx/nginx.conf",
		order: []string{"/etc/nginx/nginx.conf", "/etc/nginx/mime.types", "/etc/nginx/pasted.conf"},
		content: map[string][]byte{
			"/etc/nginx/nginx.conf":  []byte("http {\n    include mime.types;\n    include /etc/nginx/upstreams/*.conf;\n    include \"sites enabled/*\";\n}\n"),
			"/etc/nginx/mime.types":  []byte("types { }"),
			"/etc/nginx/pasted.conf": []byte("server {\n    # configuration file /etc/nginx/not-a-file.conf:\n    listen 80;\n}\n"),
		},
	}
	if diff := cmp.Diff(want, d, cmp.AllowUnexported(dump{})); diff != "" {
		t.Error(diff)
	}
}

func TestRedirectPointsIncludesAtTheCopyAndLeavesTheRest(t *testing.T) {
	t.Parallel()
	src := "# include x;\nhttp {\n\tinclude mime.types; include '/etc/nginx/a b/*.conf';\n\tadd_header X \"include y;\";\n}\n"
	want := "# include x;\nhttp {\n\tinclude \"/s/etc/nginx/mime.types\"; include \"/s/etc/nginx/a b/*.conf\";\n\tadd_header X \"include y;\";\n}\n"
	if diff := cmp.Diff(want, string(redirect([]byte(src), "/etc/nginx", "/s"))); diff != "" {
		t.Error(diff)
	}
	broken := "http { include x;"
	if got := string(redirect([]byte(broken), "/etc/nginx", "/s")); got != broken {
		t.Errorf("what cannot be read became %q", got)
	}
}

func TestWarningsNameWhatWouldCostRequests(t *testing.T) {
	t.Parallel()
	const both = "http { keepalive_min_timeout 3s; } worker_shutdown_timeout 30s;"
	tests := map[string]struct {
		conf, version string
		drain         time.Duration
		want          []string
	}{
		"all set":               {both, "1.30.6", time.Minute, nil},
		"a drain that is short": {both, "1.30.6", 20 * time.Second, []string{"worker_shutdown_timeout 30s is not below the drain's time-out 20s"}},
		"a drain that is too short for both": {both, "1.30.6", 2 * time.Second, []string{
			"keepalive_min_timeout 3s is not below the drain's time-out 2s", "worker_shutdown_timeout 30s is not below the drain's time-out 2s",
		}},
		"nothing set": {"http {}", "1.28.0", 0, []string{
			"keepalive_min_timeout is not set: a reload can lose requests on idle connections; set it to 3s in http",
			"worker_shutdown_timeout is not set: a WebSocket keeps an old worker alive for ever",
		}},
		"an old nginx": {"worker_shutdown_timeout 30s;", "1.18.0", 0, []string{
			"nginx 1.18.0 has no keepalive_min_timeout (1.27.4 has): a reload can lose requests on idle connections, unless keepalive_timeout is 0",
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := dump{version: test.version, order: []string{"/n"}, content: map[string][]byte{"/n": []byte(test.conf)}}
			if diff := cmp.Diff(test.want, d.warnings(test.drain)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseTimeReadsNginxsUnits(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"75": 75 * time.Second, "3s": 3 * time.Second, "1h30m": 90 * time.Minute, "500ms": 500 * time.Millisecond, "1d 2h": 26 * time.Hour, "1M": 720 * time.Hour, "0": 0,
	} {
		if got, err := parseTime(text); err != nil || got != want {
			t.Errorf("%q is %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"x", "3q", "s"} {
		if got, err := parseTime(text); err == nil {
			t.Errorf("%q is %s, want an error", text, got)
		}
	}
}

func TestRefusalFindsTheReasonAndNothingElse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"nginx: [emerg] unknown directive \"x\" in /etc/nginx/a.conf:3\nnginx: configuration file /etc/nginx/nginx.conf test failed\n": `unknown directive "x" in /etc/nginx/a.conf:3`,
		"2026/11/21 02:00:00 [notice] 1#1: signal 1\n2026/11/21 02:00:00 [emerg] 7#7: bind() to 0.0.0.0:80 failed\n":                   "bind() to 0.0.0.0:80 failed",
		"nginx: [warn] conflicting server name\n": "",
		"2026/11/21 02:00:00 [crit] 7#7: *5 SSL_do_handshake() failed\n2026/11/21 02:00:00 [alert] 1#1: worker process 7 exited on signal 9\n": "",
		"nginx: [alert] could not open error log file\nnginx: [emerg] open() failed\n":                                                         "open() failed",
	} {
		if got := refusal([]byte(text)); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestTestCommandFollowsTheRunningMaster(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		check []string
		title string
		want  []string
	}{
		"plain":                  {nil, "nginx: master process nginx -g daemon off;", []string{"nginx", "-T"}},
		"another file":           {nil, "nginx: master process nginx -c /srv/n.conf -g daemon off;", []string{"nginx", "-T", "-c", "/srv/n.conf"}},
		"another file and sudo":  {[]string{"sudo", "nginx", "-t"}, "nginx: master process nginx -p /srv", []string{"sudo", "nginx", "-T", "-p", "/srv"}},
		"the command says which": {[]string{"nginx", "-t", "-c", "/a"}, "nginx: master process nginx -c /b", []string{"nginx", "-T", "-c", "/a"}},
		"not nginx's own":        {[]string{"check-nginx"}, "nginx: master process nginx", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			n := New(Config{CheckCommand: test.check}, nil, CatalogConfig{}, nil)
			got, ok := n.testCommand(process{title: test.title}, "-T")
			if ok != (test.want != nil) {
				t.Errorf("ok is %v", ok)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseWorkersTellsServingFromLeaving(t *testing.T) {
	t.Parallel()
	got, err := parseWorkers([]string{
		"10 1 nginx: master process nginx -g daemon off;",
		"  11   10 nginx: worker process",
		"12 10 nginx: worker process is shutting down",
		"13 10 nginx: cache manager process",
		"14 10 [nginx] <defunct>",
		"15 99 nginx: worker process",
		"16 1 sh",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := workers{master: process{pid: 10, parent: 1, title: "nginx: master process nginx -g daemon off;"}, serving: []int{11}, leaving: []int{12}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(workers{}, process{})); diff != "" {
		t.Error(diff)
	}
	if _, err := parseWorkers([]string{"1 0 sh"}); err == nil {
		t.Error("no master is no error")
	}
	if _, err := parseWorkers([]string{"x"}); err == nil {
		t.Error("a line that is none is no error")
	}
}

func TestOrdersKeepUpstreamsThatLocationsName(t *testing.T) {
	t.Parallel()
	file := func(path, text string) File { return File{Path: path, Data: []byte(text), Absent: text == ""} }
	files := func(u, i string) Files { return Files{Upstreams: file("/u", u), Includes: file("/i", i)} }
	tests := map[string]struct {
		from, to Files
		want     [][]string // paths and texts
	}{
		"only the upstreams":  {files("a", "x"), files("b", "x"), [][]string{{"/u=b"}}},
		"only the locations":  {files("a", "x"), files("a", "y"), [][]string{{"/i=y"}}},
		"the first time":      {files("", ""), files("a", "x"), [][]string{{"/u=a", "/i=x"}, {"/i=x", "/u=a"}}},
		"back to nothing":     {files("a", "x"), files("", ""), [][]string{{"/i=", "/u="}, {"/u=", "/i="}}},
		"both, maybe renamed": {files("a", "x"), files("b", "y"), [][]string{{"/u=b", "/i=y"}, {"/i=y", "/u=b"}, {"/u=a\nb", "/i=y", "/u=b"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got [][]string
			for _, way := range orders(test.from, test.to) {
				var steps []string
				for _, w := range way {
					steps = append(steps, w.file.Path+"="+string(w.file.Data))
				}
				if last := way[len(way)-1].state; !last.same(test.to) {
					t.Errorf("%v ends in another state", steps)
				}
				got = append(got, steps)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
