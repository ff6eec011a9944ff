//go:build bench

package bench

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestBenchColor(t *testing.T) {
	s := newSite(t)
	v := &service{site: s, name: "color" + "-ms", dir: t.TempDir()}
	s.consul(http.MethodPut, "kv/"+v.name+"/color", "blue")
	t.Cleanup(func() { s.consul(http.MethodDelete, "kv/"+v.name+"/color", "") })
	url := "http://" + s.stack.Consul + "/v1/kv/" + v.name + "/color"
	ways := []struct {
		name string
		args []string
	}{
		{"bg next-color", []string{stack.BG, "next-color", v.name}},
		{"bash, curl", []string{"bash", "-c", `[ "$(curl -fsS '` + url + `?raw')" = blue ] && echo green || echo blue`}},
		{"bash, curl, jq", []string{"bash", "-c", `[ "$(curl -fsS '` + url + `' | jq -r '.[0].Value | @base64d')" = blue ] && echo green || echo blue`}},
	}
	got := make([][]measured, len(ways))
	number := 5 * *rounds // each takes a moment only
	for round := range number + 1 {
		for i, way := range ways {
			c := command{v.dir, []string{"CONSUL_HTTP_ADDR=" + s.stack.Consul}, way.args}
			m, err := timed(t, c)
			if err != nil {
				t.Fatal(err)
			}
			m.peak = measure(t, c).peak
			if strings.TrimSpace(m.out) != "green" {
				t.Fatalf("%s says %q", way.name, m.out)
			}
			if round > 0 {
				got[i] = append(got[i], m)
			}
		}
	}
	table := Table{Head: []string{"", "wall", "processor", "peak memory", "bg : this, wall"}}
	for i, way := range ways {
		table.Add(way.name, Of(got[i], wall).Millis(), Of(got[i], cpu).Millis(), Of(got[i], peak).Megabytes(), Ratio(Of(got[0], wall), Of(got[i], wall)))
	}
	text := fmt.Sprintf(`The color of the next deployment, asked by a new process each time; %d rounds. The memory is measured in runs of their own. bash
takes any answer but blue for "blue is next", also that of a Consul that is down; bg ends with an error then.`, number)
	found.add(Section{Title: "6. bg next-color", Text: text, Tables: []Table{table}},
		Goal{Key: "next-color", Words: "bg next-color", Limit: 30, Got: 1000 * Of(got[0], wall).Median(), Unit: "ms"})
}
