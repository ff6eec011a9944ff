package registrator

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// TestPlan shows for each difference between Docker and Consul what is done.
func TestPlan(t *testing.T) {
	host := Host{Name: "h", Engine: "e"}
	own := Mark{"h", "e", "c1"}
	service := func(change func(*Service)) Service {
		s := Service{ID: "h:web:80", Name: "web", Address: "10.0.0.1", Port: 8080, Tags: []string{"a"},
			Meta: map[string]string{"k": "v"}, Check: &api.AgentServiceCheck{HTTP: "http://10.0.0.1:8080/"}, Mark: own}
		if change != nil {
			change(&s)
		}
		return s
	}
	asRegistered := entry{ID: "h:web:80", Name: "web", Address: "10.0.0.1", Port: 8080, Tags: []string{"a"},
		Meta: map[string]string{"k": "v"}, Check: "http", Mark: own}
	for name, test := range map[string]struct {
		want    []Service
		kept    string
		missed  bool // a container could not be looked at
		actual  []entry
		cleanup bool
		plan    string
	}{
		"nothing differs":                                {want: []Service{service(nil)}, actual: []entry{asRegistered}},
		"not registered":                                 {want: []Service{service(nil)}, plan: "+h:web:80 not registered"},
		"another port":                                   {want: []Service{service(func(s *Service) { s.Port = 1 })}, actual: []entry{asRegistered}, plan: "+h:web:80 address was 10.0.0.1:8080"},
		"another name":                                   {want: []Service{service(func(s *Service) { s.Name = "x" })}, actual: []entry{asRegistered}, plan: `+h:web:80 name was "web"`},
		"tags in another order":                          {want: []Service{service(func(s *Service) { s.Tags = []string{"a", "b"} })}, actual: []entry{asRegistered}, plan: "+h:web:80 other tags"},
		"another deployment's meta":                      {want: []Service{service(func(s *Service) { s.Meta = nil })}, actual: []entry{asRegistered}, plan: "+h:web:80 other meta"},
		"the check is to go":                             {want: []Service{service(func(s *Service) { s.Check = nil })}, actual: []entry{asRegistered}, plan: "+h:web:80 other check, drop check"},
		"another container, same name":                   {want: []Service{service(func(s *Service) { s.Mark.Container = "c2" })}, actual: []entry{asRegistered}, plan: "+h:web:80 registered for another container or by another registrator"},
		"left by Registrator":                            {want: []Service{service(nil)}, actual: []entry{{ID: "h:web:80", Name: "web", Address: "10.0.0.1", Port: 8080, Tags: []string{"a"}, Meta: map[string]string{"k": "v"}, Check: "http"}}, plan: "+h:web:80 registered for another container or by another registrator"},
		"the container is gone":                          {actual: []entry{asRegistered}, plan: "-h:web:80"},
		"a custom id's container is gone":                {actual: []entry{{ID: "custom", Mark: own}}, plan: "-custom"},
		"the container could not be looked at":           {kept: "c1", missed: true, actual: []entry{asRegistered}},
		"registered by hand":                             {actual: []entry{{ID: "h:web:80"}, {ID: "x"}}},
		"dangling, with -cleanup":                        {actual: []entry{{ID: "h:web:80"}, {ID: "h:web:53:udp"}, {ID: "x"}, {ID: "other:web:80"}, {ID: "h:web:http"}}, cleanup: true, plan: "-h:web:53:udp; -h:web:80"},
		"dangling, but not all containers could be seen": {actual: []entry{{ID: "h:web:80"}}, cleanup: true, missed: true},
		"another host's":                                 {actual: []entry{{ID: "h:web:80", Mark: Mark{"other", "e", "c1"}}}, cleanup: true},
		"another daemon's on a host of the same name":    {actual: []entry{{ID: "h:web:80", Mark: Mark{"h", "other", "c1"}}}},
		"a daemon's that was set up anew, with -cleanup": {actual: []entry{{ID: "custom", Mark: Mark{"h", "other", "c1"}}}, cleanup: true, plan: "-custom"},
		"a new id is registered before the old one goes": {want: []Service{service(func(s *Service) { s.ID = "z" })}, actual: []entry{asRegistered}, plan: "+z not registered; -h:web:80"},
	} {
		t.Run(name, func(t *testing.T) {
			want := truth{services: map[string]Service{}, kept: map[string]bool{test.kept: test.kept != ""}, complete: !test.missed}
			for _, s := range test.want {
				want.services[s.ID] = s
			}
			actual := map[string]entry{}
			for _, e := range test.actual {
				actual[e.ID] = e
			}
			if got := planText(plan(want, actual, host, test.cleanup)); got != test.plan {
				t.Errorf("plan is %q, want %q", got, test.plan)
			}
		})
	}
}

func planText(ops []op) string {
	var lines []string
	for _, o := range ops {
		line := "-" + o.id
		if o.service != nil {
			line = "+" + o.id + " " + o.cause
		}
		if o.dropCheck {
			line += ", drop check"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "; ")
}

func TestFlagsThatContradictEachOtherAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"-ttl alone":                    func(c *Config) { c.TTL = time.Second },
		"-ttl-refresh alone":            func(c *Config) { c.TTLRefresh = time.Second },
		"-ttl not above -ttl-refresh":   func(c *Config) { c.TTL, c.TTLRefresh = time.Second, time.Second },
		"-retry-interval 0":             func(c *Config) { c.RetryInterval = 0 },
		"-retry-attempts -2":            func(c *Config) { c.RetryAttempts = -2 },
		"-resync -1":                    func(c *Config) { c.Resync = -time.Second },
		"-deregister with a wrong word": func(c *Config) { c.Deregister = "never" },
	} {
		cfg := configFor("h")
		change(&cfg)
		if err := cfg.Validate(); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if err := configFor("h").Validate(); err != nil {
		t.Error(err)
	}
}

func TestRegistryURIs(t *testing.T) {
	t.Setenv("CONSUL_HTTP_ADDR", "")
	for uri, valid := range map[string]bool{
		"consul://localhost:8500": true, "consul:": true, "consul-tls://consul:8501": true, "consul-unix:///run/consul.sock": true,
		"etcd://localhost:2379": false, "localhost:8500": false, "": false, "consul://%zz": false,
	} {
		if _, err := NewConsul(uri); (err == nil) != valid || err != nil && !errors.Is(err, ErrConfig) {
			t.Errorf("%q: error is %v", uri, err)
		}
	}
}

// TestRefusalsAreNamedAndOutagesAreNot holds what /health and the log say of a
// pass in which several calls failed.
func TestRefusalsAreNamedAndOutagesAreNot(t *testing.T) {
	refusal := func(id string) error {
		return fmt.Errorf("register %s: %w", id, api.StatusError{Code: http.StatusBadRequest, Body: "no"})
	}
	outage := errors.New("register a: connection refused")
	for name, test := range map[string]struct {
		errs    []error
		refused bool
		text    string
	}{
		"two refusals, whichever came first": {[]error{refusal("b"), refusal("a")}, true,
			"refused by Consul: register a: Unexpected response code: 400 (no); register b: Unexpected response code: 400 (no)"},
		"an outage in which one was refused": {[]error{refusal("b"), outage, outage}, false, "register a: connection refused (and 2 more)"},
	} {
		err := summary(test.errs)
		if err == nil || err.Error() != test.text || errors.Is(err, errRefused) != test.refused {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if err := summary(slices.Repeat([]error{refusal("a")}, named+2)); !strings.HasSuffix(err.Error(), "(and 2 more)") {
		t.Errorf("error is %v", err)
	}
}
