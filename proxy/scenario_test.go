package proxy_test

import (
	"testing"

	"bg/color"
	"bg/proxy"
)

func TestApplySwitchesToTheRenderedColor(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	blue, green := serve(t, "blue"), serve(t, "green")
	register(t, registration{Name: s.cfg.Service + "-blue", ID: s.cfg.Service + "-b", Address: blue.address, Port: blue.port})
	register(t, registration{Name: s.cfg.Service + "-green", ID: s.cfg.Service + "-g", Address: green.address, Port: green.port})
	for _, c := range []backend{blue, green} {
		files, err := s.Render(t.Context(), proxy.RenderInput{Color: color.Color(c.color), Want: []string{c.String()}})
		if err != nil {
			t.Fatal(err)
		}
		change, err := s.Apply(t.Context(), files)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := get(s.url + "/x"); err != nil || got != c.color {
			t.Errorf("nginx answers %q, %v; want %s", got, err, c.color)
		}
		drained, err := s.Drain(t.Context(), change, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v %+v", change.Reload, drained)
	}
}
