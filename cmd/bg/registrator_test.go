package main

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"

	"bg/registrator"
)

// registratorsConfig returns what `bg registrator` makes of its arguments.
func registratorsConfig(t *testing.T, args ...string) (config registrator.Config, uri string) {
	t.Helper()
	app := &cli.App{Commands: []*cli.Command{{Name: "registrator", Flags: registratorFlags(), Action: func(c *cli.Context) error {
		config, uri = registratorConfig(c), c.Args().First()
		return nil
	}}}}
	if err := app.RunContext(t.Context(), append([]string{"bg", "registrator"}, args...)); err != nil {
		t.Fatal(err)
	}
	return config, uri
}

// TestTheFlagsOfRegistratorAreUnderstoodWithOneDashOrTwo holds names, units and the
// place of the URI as Registrator's documentation has them.
func TestTheFlagsOfRegistratorAreUnderstoodWithOneDashOrTwo(t *testing.T) {
	want := registrator.Config{IP: "10.0.0.7", Internal: true, Explicit: true, Cleanup: true, Resync: 10 * time.Minute, Deregister: registrator.OnSuccess,
		Tags: "a,b", TTL: time.Minute, TTLRefresh: 20 * time.Second, UseIPFromLabel: "address", RetryAttempts: -1, RetryInterval: 3 * time.Second,
		Hostname: "h", Listen: ":8080", Plain: true}
	for _, dash := range []string{"-", "--"} {
		got, uri := registratorsConfig(t, dash+"ip", "10.0.0.7", dash+"internal", dash+"explicit", dash+"cleanup", dash+"resync", "600",
			dash+"deregister", "on-success", dash+"tags=a,b", dash+"ttl", "60", dash+"ttl-refresh", "20", dash+"useIpFromLabel", "address",
			dash+"retry-attempts", "-1", dash+"retry-interval=3000", dash+"hostname", "h", dash+"listen", ":8080", dash+"plain", "consul://localhost:8500")
		if diff := cmp.Diff(want, got); diff != "" || uri != "consul://localhost:8500" {
			t.Errorf("with %q, URI %q (-want +got):\n%s", dash, uri, diff)
		}
	}
}

func TestTheDefaultsOfTheFlagsAreThoseOfRegistrator(t *testing.T) {
	got, uri := registratorsConfig(t)
	if diff := cmp.Diff(registrator.Config{Deregister: registrator.Always, RetryInterval: 2 * time.Second}, got); diff != "" || uri != "" {
		t.Errorf("URI %q (-want +got):\n%s", uri, diff)
	}
	t.Setenv("BG_REGISTRATOR_PLAIN", "true")
	if got, _ := registratorsConfig(t); !got.Plain {
		t.Error("BG_REGISTRATOR_PLAIN is not read")
	}
}

func TestTheLogOfTheRegistratorIsJSONWhereThatIsAskedFor(t *testing.T) {
	var out bytes.Buffer
	log, err := registratorLog("json", &out)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("registered", "id", "h:web:80")
	var line struct{ Msg, ID string }
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Msg != "registered" || line.ID != "h:web:80" {
		t.Errorf("logged %s: %v", out.String(), err)
	}
}
