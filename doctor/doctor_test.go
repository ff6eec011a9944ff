package doctor

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"bg/color"
	"bg/engine"
	"bg/hint"
	"bg/internal/consultest"
	"bg/proxy"
	"bg/registry"
)

func TestMain(m *testing.M) { os.Exit(consultest.Run(m)) }

// expect compares the one finding about what.
func expect(t *testing.T, found []Finding, what string, status Status, says ...string) {
	t.Helper()
	for _, f := range found {
		if f.What != what {
			continue
		}
		for _, word := range says {
			if !strings.Contains(f.Detail+" "+f.Mend, word) {
				t.Errorf("%s does not say %q: %+v", what, word, f)
			}
		}
		if f.Status != status {
			t.Errorf("%s is %s instead of %s: %+v", what, f.Status, status, f)
		}
		if f.Status != Pass && f.Mend == "" {
			t.Errorf("%s has no mend: %+v", what, f)
		}
		return
	}
	t.Errorf("nothing about %s in %+v", what, found)
}

func TestChecksRunAtTheSameTimeAndKeepTheirOrder(t *testing.T) {
	second := make(chan bool)
	checks := []Check{
		{Area: "a", What: "first", Look: func(context.Context) []Finding { <-second; return []Finding{pass("first", "")} }},
		{Area: "b", What: "second", Look: func(context.Context) []Finding { close(second); return []Finding{pass("second", "")} }},
	}
	found := Run(t.Context(), checks, time.Minute)
	if len(found) != 2 || found[0].What != "first" || found[0].Area != "a" || found[1].Area != "b" {
		t.Errorf("%+v", found)
	}
}

func TestACheckThatDoesNotEndIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan bool)
		found := Run(t.Context(), []Check{{Area: "Consul", What: "server", Look: func(context.Context) []Finding { <-stuck; return nil }}}, time.Second)
		close(stuck)
		expect(t, found, "server", Failure, "no answer within 1s")
		if Failed(found) != 1 {
			t.Errorf("%d failures", Failed(found))
		}
	})
}

func TestTheTableHasAMendBelowEachThingThatIsNotAsItShouldBe(t *testing.T) {
	var text strings.Builder
	err := Table(&text, []Finding{
		{Area: "Consul", What: "leader", Status: Pass, Detail: "127.0.0.1:8300", Mend: "not shown"},
		{Area: "nginx", What: "mounts", Status: Failure, Detail: "a file by itself", Mend: "mount its directory"},
	})
	want := "pass     Consul  leader  127.0.0.1:8300\nfailure  nginx   mounts  a file by itself\n                         mend: mount its directory\n"
	if err != nil || text.String() != want {
		t.Errorf("%v:\n%s", err, text.String())
	}
}

func TestARealConsulIsLookedAt(t *testing.T) {
	inquiry, err := registry.NewInquiry()
	if err != nil {
		t.Fatal(err)
	}
	found := Run(t.Context(), ConsulChecks(inquiry, []string{"books-ms/"}, []string{"books-ms-blue"}), time.Minute)
	expect(t, found, "server", Pass)
	expect(t, found, "leader", Pass)
	expect(t, found, "version", Pass, "1.")
	expect(t, found, "clock", Pass)
	expect(t, found, "rights", Pass, "access control is off")
}

func TestNoConsulIsAFailureWithAMend(t *testing.T) {
	t.Setenv("CONSUL_HTTP_ADDR", "127.0.0.1:1")
	inquiry, err := registry.NewInquiry()
	if err != nil {
		t.Fatal(err)
	}
	found := Run(t.Context(), ConsulChecks(inquiry, nil, nil), time.Minute)
	expect(t, found, "server", Failure, "no answer from Consul", "CONSUL_HTTP_ADDR")
	expect(t, found, "rights", Failure)
}

func TestARightThatATokenLacksIsNamedWithTheRuleThatGrantsIt(t *testing.T) {
	const root = "5c2f1ad0-4f4a-4d3e-9a55-000000000001"
	socket := filepath.Join(t.TempDir(), "http")
	t.Setenv("CONSUL_HTTP_ADDR", consultest.Start(t, `addresses { http = "127.0.0.1 unix://`+socket+`" } acl { enabled = true default_policy = "deny" tokens { initial_management = "`+root+`" agent = "`+root+`" default = "`+root+`" } }`))
	t.Setenv("CONSUL_HTTP_TOKEN", root)
	client, err := registry.Open()
	if err != nil {
		t.Fatal(err)
	}
	found := func(token string) []Finding {
		t.Setenv("CONSUL_HTTP_TOKEN", token)
		inquiry, err := registry.NewInquiry()
		if err != nil {
			t.Fatal(err)
		}
		return Run(t.Context(), ConsulChecks(inquiry, []string{"books-ms/"}, []string{"books-ms-blue"}), time.Minute)
	}
	const enough = `session_prefix "" { policy = "write" } node_prefix "" { policy = "read" } key_prefix "books-ms/" { policy = "write" } service_prefix "books-ms" { policy = "read" }`
	expect(t, found(root), "rights", Pass, "may do all")
	expect(t, found(token(t, client, enough)), "rights", Pass, "may do all")
	few := found(token(t, client, strings.ReplaceAll(enough, `service_prefix "books-ms"`, `service_prefix "other"`)))
	expect(t, few, "rights", Failure, `service "books-ms-blue" read`, `service_prefix "books-ms-blue" { policy = "read" }`)
	expect(t, few, "version", Warning, "agent")
	expect(t, found("00000000-0000-0000-0000-00000000dead"), "rights", Failure, "CONSUL_HTTP_TOKEN")

	// The same through its socket, with a token that is in a file.
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token(t, client, enough)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CONSUL_HTTP_TOKEN_FILE", file)
	t.Setenv("CONSUL_HTTP_ADDR", "unix://"+socket)
	local := found("")
	expect(t, local, "server", Pass, "answers at unix://"+socket)
	expect(t, local, "clock", Pass)
	expect(t, local, "rights", Pass, "may do all")
}

// token makes a token with rules. A new Consul needs a moment until it can.
func token(t *testing.T, client *api.Client, rules string) string {
	t.Helper()
	name := "rules-" + strings.ToLower(time.Now().Format("150405.000000000"))
	name = strings.ReplaceAll(name, ".", "-")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		_, _, err := client.ACL().PolicyCreate(&api.ACLPolicy{Name: name, Rules: rules}, nil)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	made, _, err := client.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{Name: name}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return made.SecretID
}

// scripted is an Engine that tells what a test wants.
type scripted struct {
	Engine
	facts     engine.Facts
	published map[color.Color][]engine.Port
	version   engine.Version
	mounts    []string
	err       error
}

func (s scripted) Facts(context.Context) (engine.Facts, error) { return s.facts, s.err }
func (s scripted) Published(_ context.Context, _ engine.Source, c color.Color) ([]engine.Port, error) {
	return s.published[c], s.err
}
func (s scripted) Image(context.Context, engine.Source, color.Color) (string, error) {
	return "books-ms:1.0", nil
}
func (s scripted) Version(context.Context, string, engine.Pull) (engine.Version, error) {
	return s.version, s.err
}
func (s scripted) Mounts(context.Context, string) ([]string, error) { return s.mounts, s.err }

func TestAnEngineThatIsTooOldIsAFailure(t *testing.T) {
	expect(t, Run(t.Context(), DockerChecks(scripted{facts: engine.Facts{API: "1.39"}}), time.Minute), "API", Failure, "20.10")
	expect(t, Run(t.Context(), DockerChecks(scripted{facts: engine.Facts{API: "1.100"}}), time.Minute), "API", Pass)
	expect(t, Run(t.Context(), DockerChecks(scripted{err: hint.Wrap(engine.ErrUnreachable, "start it")}), time.Minute), "Engine", Failure, "start it")
	expect(t, Run(t.Context(), DockerChecks(scripted{facts: engine.Facts{API: "1.41", Ahead: -time.Hour}}), time.Minute), "clock", Warning, "-1h0m0s", "NTP")
}

func TestPortsThatBothColorsCannotHaveAreAFailure(t *testing.T) {
	free, fixed := engine.Port{Container: 8080, Protocol: "tcp"}, engine.Port{Container: 8080, Host: 8080, Protocol: "tcp"}
	tests := []struct {
		name        string
		blue, green []engine.Port
		port        int
		status      Status
		says        string
	}{
		{"ports of the host that Docker chooses", []engine.Port{free}, []engine.Port{free}, 0, Pass, "8080"},
		{"the same port of the host", []engine.Port{fixed}, []engine.Port{fixed}, 0, Failure, `ports: ["8080"]`},
		{"no port", nil, []engine.Port{free}, 0, Warning, "-internal"},
		{"several ports", []engine.Port{free, {Container: 9090}}, []engine.Port{free, {Container: 9090}}, 0, Warning, "compose.port"},
		{"several ports, one of which is named", []engine.Port{free, {Container: 9090}}, []engine.Port{free}, 8080, Pass, "8080"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := scripted{published: map[color.Color][]engine.Port{color.Blue: tt.blue, color.Green: tt.green}}
			expect(t, Run(t.Context(), ServiceChecks(e, engine.Source{Port: tt.port}), time.Minute), "ports", tt.status, tt.says)
		})
	}
}

func TestAnImageThatNobodyHasIsAFailure(t *testing.T) {
	e := scripted{version: engine.Version{Ref: "books-ms:1.0", Digest: "sha256:1", Pull: true}}
	expect(t, Run(t.Context(), ServiceChecks(e, engine.Source{Pull: engine.PullNever}), time.Minute), "image", Failure, "docker pull books-ms:1.0")
	expect(t, Run(t.Context(), ServiceChecks(e, engine.Source{Pull: engine.PullAlways}), time.Minute), "image", Pass, "to be pulled")
	e.err = errors.New("no such host")
	expect(t, Run(t.Context(), ServiceChecks(e, engine.Source{}), time.Minute), "image", Failure, "build or push books-ms:1.0")
}

func TestTheAddressTellsHowRegistratorWasStarted(t *testing.T) {
	trial := engine.Container{Addresses: []string{"172.18.0.7"}, Ports: []engine.Port{{Container: 80, Host: 32768}}}
	tests := []struct {
		name   string
		at     registry.Instance
		status Status
		says   string
	}{
		{"with -ip", registry.Instance{Address: "10.0.0.1", Port: 32768}, Pass, "of this host"},
		{"with -internal", registry.Instance{Address: "172.18.0.7", Port: 80}, Pass, "-internal"},
		{"with neither", registry.Instance{Address: "172.18.0.7", Port: 32768}, Failure, "reaches nothing"},
		{"with -ip 127.0.0.1", registry.Instance{Address: "127.0.0.1", Port: 32768}, Warning, "loopback"},
		{"by somebody else", registry.Instance{Address: "10.0.0.1", Port: 1}, Failure, "another Registrator"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			expect(t, []Finding{address(trial, tt.at)}, "addresses", tt.status, tt.says)
		})
	}
}

func TestWithoutRegistratorATrialIsNeverRegistered(t *testing.T) {
	client, err := registry.Open()
	if err != nil {
		t.Fatal(err)
	}
	found := registered(t.Context(), registry.NewCatalog(client), engine.Container{Name: "nobody-registers-this"}, 50*time.Millisecond)
	expect(t, found, "presence", Failure, "not registered within 50ms", "bg registrator")
}

func TestMountsOfSingleFilesAreAFailure(t *testing.T) {
	front := Front{Container: "nginx", Files: []string{"/etc/nginx/upstreams/books-ms.conf"}}
	for status, mounts := range map[Status][]string{
		Failure: {"/etc/nginx/upstreams/books-ms.conf"},
		Warning: {"/var/log"},
		Pass:    {"/etc/nginx"},
	} {
		expect(t, Run(t.Context(), NginxChecks(nil, scripted{mounts: mounts}, front, nil)[1:], time.Minute), "mounts", status, "upstreams")
	}
}

// scriptedNginx tells what a test wants.
type scriptedNginx struct {
	state proxy.State
	err   error // of Prove
}

func (s scriptedNginx) Observe(context.Context) (proxy.State, error) { return s.state, s.err }
func (s scriptedNginx) Render(_ context.Context, in proxy.RenderInput) (proxy.Files, error) {
	if len(in.Planned) == 0 {
		return proxy.Files{}, proxy.ErrEmpty
	}
	return proxy.Files{}, nil
}
func (s scriptedNginx) Prove(context.Context, proxy.Files) error { return s.err }

func TestNginxAndTheTemplatesAreLookedAt(t *testing.T) {
	front := Front{Service: true}
	good := Run(t.Context(), NginxChecks(scriptedNginx{state: proxy.State{Version: "1.30.6", Workers: []int{7}}}, nil, front, []string{"192.0.2.1:80"}), time.Minute)
	expect(t, good, "configuration", Pass, "1.30.6")
	expect(t, good, "directives", Pass)
	expect(t, good, "templates", Pass, "blue")
	old := Run(t.Context(), NginxChecks(scriptedNginx{state: proxy.State{Warnings: []string{"keepalive_min_timeout is not set"}}}, nil, front, []string{"192.0.2.1:80"}), time.Minute)
	expect(t, old, "directives", Warning, "keepalive_min_timeout")
	bad := Run(t.Context(), NginxChecks(scriptedNginx{err: proxy.ErrRefused}, nil, front, []string{"192.0.2.1:80"}), time.Minute)
	expect(t, bad, "configuration", Failure)
	expect(t, bad, "templates", Failure, "blue: nginx refuses")
}

func TestOneRequestThroughNginxTellsWhetherASwitchCanBeConfirmed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		header string
		want   Status
		says   string
	}{
		{"a color answers", 200, "blue", Pass, "by blue"},
		{"nothing is deployed", 404, "", Pass, "before a first deployment"},
		{"no color is named", 200, "", Warning, "add_header X-BG-Color"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if tt.header != "" {
					w.Header().Set("X-BG-Color", tt.header)
				}
				w.WriteHeader(tt.status)
			}))
			defer server.Close()
			expect(t, []Finding{answers(t.Context(), Front{URL: server.URL, Path: "/ping", Header: "X-BG-Color", Service: true})}, "answers", tt.want, tt.says)
		})
	}
	expect(t, []Finding{answers(t.Context(), Front{URL: "http://127.0.0.1:1", Path: "/"})}, "answers", Failure, "proxy.url")
}
