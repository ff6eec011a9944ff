package registrator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
)

// colored is a service of bg in a test, whose containers bg might have started.
type colored struct {
	t    *testing.T
	c    *consul
	d    *docker
	name string
}

func (s colored) run(color string, env ...string) string {
	s.t.Helper()
	box := serving(s.name+"-"+color, append(env, "SERVICE_NAME="+s.name+"-"+color)...)
	box.Labels = map[string]string{labelService: s.name, labelColor: color, labelDeployment: "20261121-010203-7f3a"}
	return s.d.run(box)
}

// deployed writes what bg writes at a commit.
func (s colored) deployed(live, outcome string) {
	s.t.Helper()
	document, err := json.MarshalIndent(map[string]any{"id": "20261121-010203-7f3a", "service": s.name, "from": "green", "to": "blue",
		"image": "books-ms:1.4", "outcome": outcome, "started": "2026-11-21T01:02:03Z", "by": map[string]string{"user": "ada", "host": "ci"}}, "", "  ")
	if err != nil {
		s.t.Fatal(err)
	}
	for key, value := range map[string]string{"/color": live, "/deploy": string(document)} {
		if _, err := s.c.api.KV().Put(&api.KVPair{Key: s.name + key, Value: []byte(value)}, nil); err != nil {
			s.t.Fatal(err)
		}
	}
}

// says fails until the catalog has these tags for a color.
func (s colored) says(color string, tags ...string) func() error {
	return func() error {
		entries, _, err := s.c.api.Catalog().Service(s.name+"-"+color, "", &api.QueryOptions{RequireConsistent: true})
		if err != nil {
			return err
		}
		if len(entries) != 1 || !slices.Equal(entries[0].ServiceTags, tags) {
			return fmt.Errorf("%s is %+v, want tags %q", color, entries, tags)
		}
		return nil
	}
}

// reports fails until the catalog has a check of the service that says so.
func (s colored) reports(status string, parts ...string) func() error {
	return func() error {
		entries, _, err := s.c.api.Health().Service(s.name+"-bg", "", false, &api.QueryOptions{RequireConsistent: true})
		if err != nil || len(entries) != 1 {
			return fmt.Errorf("%d reports: %w", len(entries), err)
		}
		for _, check := range entries[0].Checks {
			if check.ServiceID == "" {
				continue // the node's
			}
			for _, part := range parts {
				if check.Status != status || !strings.Contains(check.Output, part) {
					return fmt.Errorf("the check is %s: %s; want %s: %s", check.Status, check.Output, status, part)
				}
			}
			return nil
		}
		return fmt.Errorf("the report has no check: %+v", entries[0].Checks)
	}
}

func (s colored) reportsNothing() error {
	entries, _, err := s.c.api.Catalog().Service(s.name+"-bg", "", &api.QueryOptions{RequireConsistent: true})
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%d reports", len(entries))
	}
	return err
}

func TestServicesThatBgDeploysSayWhichColorIsLiveAndHowTheLastDeploymentEnded(t *testing.T) {
	t.Parallel()
	s := colored{t, startConsul(t), useDocker(t), unique(t, "books")}
	host := unique(t, "host")
	startRegistrator(t, s.d, s.c.uri(), configFor(host)).synced(t)
	blue := s.run("blue", "SERVICE_CHECK_TTL=10m", "SERVICE_TAGS=theirs")
	green := s.run("green")
	eventually(t, s.says("blue", "theirs", "idle", "version=latest"))
	eventually(t, s.reports(api.HealthPassing, "no color is live yet", "no deployment"))

	id := checkID(host + ":" + s.name + "-blue:80")
	if err := s.c.api.Agent().UpdateTTL(id, "", api.HealthPassing); err != nil {
		t.Fatal(err)
	}
	s.deployed("blue", "done")
	eventually(t, s.says("blue", "theirs", "live", "version=latest"))
	eventually(t, s.says("green", "idle", "version=latest"))
	eventually(t, s.reports(api.HealthPassing, "blue is live", "20261121-010203-7f3a", "done", "books-ms:1.4", "ada"))
	checks, err := s.c.api.Agent().Checks()
	if err != nil || checks[id] == nil || checks[id].Status != api.HealthPassing {
		t.Errorf("the container's own check lost its status: %+v %v", checks[id], err)
	}

	// The output alone changes: Consul would tell the catalog minutes later.
	s.deployed("blue", "running")
	eventually(t, s.reports(api.HealthPassing, "running"))
	s.deployed("green", "failed")
	eventually(t, s.says("green", "live", "version=latest"))
	eventually(t, s.says("blue", "theirs", "idle", "version=latest"))
	eventually(t, s.reports(api.HealthWarning, "green is live", "failed"))
	s.deployed("green", "undo failed")
	eventually(t, s.reports(api.HealthCritical, "undo failed"))

	s.d.stop(blue)
	s.d.stop(green)
	eventually(t, s.reportsNothing)
	eventually(t, func() error { return s.c.has(host + ":" + s.name) })
}

func TestAReportThatAKilledRegistratorLeftIsRemoved(t *testing.T) {
	t.Parallel()
	s := colored{t, startConsul(t), useDocker(t), unique(t, "books")}
	host := unique(t, "host")
	child := startChild(t, s.c.uri(), configFor(host))
	blue := s.run("blue")
	eventually(t, s.reports(api.HealthPassing, "no color"))
	kill9(t, child)
	s.d.stop(blue)
	startChild(t, s.c.uri(), configFor(host))
	eventually(t, s.reportsNothing)
}

func TestPlainRegistersWhatRegistratorDoesAndNothingElse(t *testing.T) {
	t.Parallel()
	s := colored{t, startConsul(t), useDocker(t), unique(t, "books")}
	cfg := configFor(unique(t, "host"))
	s.deployed("blue", "done")
	s.run("blue")
	r := startRegistrator(t, s.d, s.c.uri(), cfg)
	eventually(t, s.says("blue", "live", "version=latest"))
	eventually(t, s.reports(api.HealthPassing, "blue is live"))
	r.stop()
	cfg.Plain = true
	startRegistrator(t, s.d, s.c.uri(), cfg)
	eventually(t, s.says("blue"))
	eventually(t, s.reportsNothing)
}

// TestATokenThatMayNotReadKVRegistersWithoutColors holds that what bg adds takes
// nothing away from those who give no permission for it.
func TestATokenThatMayNotReadKVRegistersWithoutColors(t *testing.T) {
	t.Parallel()
	const root = "5c2f1ad0-4f4a-4d3e-9a55-000000000002"
	s := colored{t, startConsul(t, denyByDefault(root)), useDocker(t), unique(t, "books")}
	s.c.login(root)
	token := s.c.tokenFor(`service_prefix "" { policy = "write" }`)
	host := unique(t, "host")
	cfg := configFor(host)
	cfg.Listen = fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0])
	s.run("blue")
	startChild(t, s.c.uri(), cfg, "CONSUL_HTTP_TOKEN="+token)
	eventually(t, s.says("blue", "version=latest"))
	eventually(t, func() error {
		if code, body := get(t, "http://"+cfg.Listen+"/health"); code != 200 {
			return fmt.Errorf("/health answers %d %s", code, body)
		}
		return nil
	})
	if err := s.reportsNothing(); err != nil {
		t.Error(err)
	}
}

// TestAReportThatConsulForbidsDoesNotMakeTheRegistratorUnhealthy allows the names of
// the colors only, and of another service also the report: that one is kept up to date.
func TestAReportThatConsulForbidsDoesNotMakeTheRegistratorUnhealthy(t *testing.T) {
	t.Parallel()
	const root = "5c2f1ad0-4f4a-4d3e-9a55-000000000003"
	s := colored{t, startConsul(t, denyByDefault(root)), useDocker(t), unique(t, "books")}
	s.c.login(root)
	token := s.c.tokenFor(fmt.Sprintf(`service_prefix "" { policy = "write" } service "%s-bg" { policy = "deny" } key_prefix "" { policy = "read" }`, s.name))
	s.deployed("blue", "done")
	cfg := configFor(unique(t, "host"))
	cfg.Listen = fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0])
	s.run("blue")
	other := colored{t, s.c, s.d, unique(t, "films")}
	other.run("green")
	middle := record(t, s.c)
	startChild(t, middle.uri(), cfg, "CONSUL_HTTP_TOKEN="+token)
	eventually(t, s.says("blue", "live", "version=latest"))
	eventually(t, func() error {
		said := middle.bodies(http.MethodPut, "/v1/agent/check/update/"+checkID(cfg.Hostname+":bg:"+other.name))
		if len(said) < 2 { // once when it was registered, once more because it still holds
			return fmt.Errorf("said %d times", len(said))
		}
		return nil
	})
	eventually(t, func() error {
		if code, body := get(t, "http://"+cfg.Listen+"/health"); code != 200 || !strings.Contains(body, "report refused") {
			return fmt.Errorf("/health answers %d %s, want 200 and the refusal", code, body)
		}
		return nil
	})
}

func TestVersionsOfImages(t *testing.T) {
	for image, want := range map[string]string{
		"books-ms:1.4": "1.4", "books-ms": "latest", "registry:5000/team/books-ms": "latest", "registry:5000/team/books-ms:v2": "v2",
		"books-ms@sha256:0123456789abcdef0123": "sha256:0123456789ab", "books-ms:1.4@sha256:0123456789abcdef0123": "1.4", "": "latest",
	} {
		if got := version(image); got != want {
			t.Errorf("%q has version %q, want %q", image, got, want)
		}
	}
}

// TestLabelsThatBgDoesNotWriteAreNotBelieved keeps whoever labels a container from
// choosing other keys than a service's own.
func TestLabelsThatBgDoesNotWriteAreNotBelieved(t *testing.T) {
	for name, change := range map[string]func(map[string]string){
		"no deployment":         func(l map[string]string) { delete(l, labelDeployment) },
		"no color":              func(l map[string]string) { l[labelColor] = "red" },
		"a path for a name":     func(l map[string]string) { l[labelService] = "a/b" },
		"no name":               func(l map[string]string) { l[labelService] = "" },
		"a prefix with no end":  func(l map[string]string) { l[labelPrefix] = "team" },
		"a prefix with a query": func(l map[string]string) { l[labelPrefix] = "a?b/" },
	} {
		labels := map[string]string{labelService: "books-ms", labelColor: "blue", labelDeployment: "x", labelPrefix: "team/a/"}
		if d := deployedBy(Container{Labels: labels}); d == nil || d.folder() != "team/a/books-ms" {
			t.Fatalf("bg's own labels are read as %+v", d)
		}
		if change(labels); deployedBy(Container{Labels: labels}) != nil {
			t.Errorf("%s: believed", name)
		}
	}
}

func TestWhileKVDoesNotAnswerTagsStayAsTheyAre(t *testing.T) {
	s := Service{Tags: []string{"a"}, deployed: &deployed{color: "blue", version: "1"}}
	for name, test := range map[string]struct {
		state      standing
		registered []string
		want       string
	}{
		"never registered":        {standing{}, nil, "a version=1"},
		"half of it is known":     {standing{colorRead: true, live: "blue"}, []string{"a", "idle", "version=1"}, "a idle version=1"},
		"it was live":             {standing{}, []string{"a", "live", "version=0"}, "a live version=1"},
		"live":                    {standing{colorRead: true, documentRead: true, live: "blue"}, []string{"idle"}, "a live version=1"},
		"the other color is live": {standing{colorRead: true, documentRead: true, live: "green"}, []string{"live"}, "a idle version=1"},
	} {
		if got := strings.Join(tagged(s, test.state, test.registered), " "); got != test.want {
			t.Errorf("%s: tags are %q, want %q", name, got, test.want)
		}
	}
}

func TestReportsOfWhatCannotBeRead(t *testing.T) {
	known := standing{colorRead: true, documentRead: true}
	for name, test := range map[string]struct {
		state  standing
		status string
		part   string
	}{
		"a word that is no color": {known.withColor([]byte("purple\n")), api.HealthCritical, `"purple"`},
		"a color with a newline":  {known.withColor([]byte("green\n")), api.HealthPassing, "green is live"},
		"a document that is none": {known.withColor([]byte("blue")).withDocument([]byte("{")), api.HealthWarning, "blue is live"},
	} {
		if got := test.state.report(); got.status != test.status || !strings.Contains(got.text, test.part) {
			t.Errorf("%s: reported as %+v", name, got)
		}
	}
	if reportOf(deployed{}, standing{colorRead: true}, Host{}) != nil {
		t.Error("reported before all was read")
	}
}
