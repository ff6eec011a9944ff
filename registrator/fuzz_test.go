package registrator

import (
	"reflect"
	"strings"
	"testing"
)

// FuzzServices feeds arbitrary variables and labels through the contract: no
// input may panic, leak a secret, or make a registration that Consul would
// refuse, and the outcome depends on the input alone.
func FuzzServices(f *testing.F) {
	for _, seed := range [][4]string{
		{"SERVICE_NAME=web", "SERVICE_80_NAME", "api", "a/b:1"},
		{"SERVICE_TAGS=a,b\\,c,,\\", "SERVICE_80_ID", "x", "img"},
		{"SERVICE_80_CHECK_HTTP=/ping", "SERVICE_CHECK_INTERVAL", "5", "img@sha256:ab"},
		{"SERVICE_TOKEN=s3cr3t", "SERVICE_a.b", "v", ""},
		{"SERVICE_", "SERVICE__", "=", "/"},
		{"SERVICE_80_=x", "SERVICE_-1_X", "\xff", ":"},
		{"service_name=x", "SERVICE_0080_NAME", "x", "x"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, variable, label, value, image string) {
		c := Container{ID: "0123456789abcdef", Name: "web", Image: image, Mode: "bridge", Env: []string{variable},
			Labels: map[string]string{label: value}, Networks: map[string]string{"bridge": "172.17.0.2"},
			Bindings: map[string][]Binding{"80/tcp": {{IP: "0.0.0.0", Port: "32768"}}, "53/udp": {{Port: "32769"}}}}
		host := Host{Name: "h", Engine: "e", Address: "10.0.0.1"}
		services, dropped := servicesOf(c, Config{}, host)
		for _, s := range services {
			wellFormed(t, s)
		}
		if again, _ := servicesOf(c, Config{}, host); !reflect.DeepEqual(services, again) {
			t.Errorf("once %+v, then %+v", services, again)
		}
		if secret(label) && value != "" && len(value) > 8 && !strings.Contains(label, value) && strings.Contains(strings.Join(dropped, "\n"), value) {
			t.Errorf("%q tells the secret", dropped)
		}
	})
}

func wellFormed(t *testing.T, s Service) {
	t.Helper()
	if s.ID == "" || s.Port < 1 || s.Address == "" || s.Mark.Container != "0123456789ab" {
		t.Errorf("incomplete: %+v", s)
	}
	if len(s.Meta) > maxMetaPairs {
		t.Errorf("%d pairs of meta", len(s.Meta))
	}
	for key, value := range s.Meta {
		if key == "" || len(key) > maxMetaKey || len(value) > maxMetaValue || strings.ContainsFunc(key, notMetaKey) || secret(key) {
			t.Errorf("meta has %q", key)
		}
	}
	for _, tag := range s.Tags {
		if tag == "" {
			t.Errorf("an empty tag in %q", s.Tags)
		}
	}
	if s.Check != nil && s.Check.TTL == "" && s.Check.Interval == "" {
		t.Errorf("a check without an interval: %+v", s.Check)
	}
}

// FuzzTags holds the splitting of tags against what it promises: escaped commas
// come back, and nothing but commas and escapes is lost.
func FuzzTags(f *testing.F) {
	for _, seed := range []string{"a,b", "a\\,b,c", ",,a,,", "\\", "\\\\,x", "a\\"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		tags := splitTags(list)
		escaped := make([]string, len(tags))
		for i, tag := range tags {
			escaped[i] = strings.ReplaceAll(tag, ",", "\\,")
		}
		if again := splitTags(strings.Join(escaped, ",")); !reflect.DeepEqual(tags, again) && !strings.Contains(list, "\\") {
			t.Errorf("%q gives %q, and these give %q", list, tags, again)
		}
		lost := strings.NewReplacer(",", "", "\\", "")
		if got, want := lost.Replace(strings.Join(tags, "")), lost.Replace(list); got != want {
			t.Errorf("of %q remains %q", list, got)
		}
	})
}
