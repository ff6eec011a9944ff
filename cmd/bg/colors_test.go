package main

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// put writes a key of the tests' Consul.
func put(t *testing.T, key, value string) {
	t.Helper()
	client, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.KV().Put(&api.KVPair{Key: key, Value: []byte(value)}, nil); err != nil {
		t.Fatal(err)
	}
}

func TestAColorIsOneWordOnStandardOutputAndNothingElse(t *testing.T) {
	tests := []struct{ name, live, current, next string }{
		{"never deployed", "", "none\n", "blue\n"},
		{"blue is live", "blue", "blue\n", "green\n"},
		{"green is live", "green\n", "green\n", "blue\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			service := "books-" + strconv.FormatInt(time.Now().UnixNano(), 36)
			if tt.live != "" {
				put(t, service+"/color", tt.live)
				put(t, "team/"+service+"/color", "green")
			}
			if got := command(t, nil, "current-color", service); got != (result{0, tt.current, ""}) {
				t.Errorf("current: %+v", got)
			}
			if got := command(t, nil, "next-color", service); got != (result{0, tt.next, ""}) {
				t.Errorf("next: %+v", got)
			}
			if got := command(t, nil, "next-color", service, "--consul-prefix", "team/"); got != (result{0, "blue\n", ""}) {
				t.Errorf("next with a prefix: %+v", got)
			}
			if got := command(t, map[string]string{"bg.yml": "consul: { prefix: team/ }\n"}, "next-color", service); got != (result{0, "blue\n", ""}) {
				t.Errorf("next with bg.yml: %+v", got)
			}
		})
	}
}

func TestAColorThatIsNotKnownIsNotPrinted(t *testing.T) {
	t.Run("garbage", func(t *testing.T) {
		put(t, "books-garbage/color", "purple")
		got := command(t, nil, "next-color", "books-garbage")
		if got.code != exitUnexpected || got.out != "" || !strings.Contains(got.err, "books-garbage/color") || !strings.Contains(got.err, "hint: ") {
			t.Errorf("%+v", got)
		}
	})
	t.Run("nobody answers", func(t *testing.T) {
		t.Setenv("CONSUL_HTTP_ADDR", "127.0.0.1:1")
		got := command(t, nil, "next-color", "books-ms")
		if got.code != exitUnreachable || got.out != "" || !strings.Contains(got.err, "hint: check CONSUL_HTTP_ADDR") {
			t.Errorf("%+v", got)
		}
	})
}

func TestAnAddressIsPrintedForEachInstanceOfTheColor(t *testing.T) {
	client, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range []int{32001, 32002} {
		_, err := client.Catalog().Register(&api.CatalogRegistration{Node: "books-addresses", Address: "10.0.0.1", Service: &api.AgentService{
			ID: strconv.Itoa(port), Service: "books-addresses-green", Port: port,
		}}, nil)
		if err != nil {
			t.Fatal(err)
		}
	}
	const both = "10.0.0.1:32001\n10.0.0.1:32002\n"
	if got := command(t, nil, "address", "books-addresses", "--color", "green"); got != (result{0, both, ""}) {
		t.Errorf("of a color: %+v", got)
	}
	if got := command(t, nil, "address", "books-addresses"); got.code != exitUnexpected || got.out != "" || !strings.Contains(got.err, "was never deployed") {
		t.Errorf("of a service that was never deployed: %+v", got)
	}
	put(t, "books-addresses/color", "green")
	if got := command(t, nil, "address", "books-addresses"); got != (result{0, both, ""}) {
		t.Errorf("of the live color: %+v", got)
	}
	if got := command(t, nil, "address", "books-addresses", "--color", "blue"); got.code != exitUnexpected || got.out != "" || !strings.Contains(got.err, "has no instance in Consul") {
		t.Errorf("of a color that does not run: %+v", got)
	}
}
