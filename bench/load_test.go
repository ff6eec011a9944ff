//go:build bench

package bench

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bg/load"
)

// clients are a modest load, the same for all services.
func clients(service string) []load.Clients {
	return []load.Clients{
		{Name: "keep-alive", Number: 4, Path: "/" + service + "/ping", KeepAlive: true, Pause: 2 * time.Millisecond, Label: "X-Color"},
		{Name: "non-keep-alive", Number: 4, Path: "/" + service + "/ping", Pause: 2 * time.Millisecond, Label: "X-Color"},
		{Name: "slow (700 ms)", Number: 8, Path: "/" + service + "/api/v1/slow?ms=700", KeepAlive: true, Label: "X-Color"},
	}
}

func TestBenchLoad(t *testing.T) {
	c := ways(t, byBG, byPipeline, byFloor)
	total := map[string][]load.Result{}
	c.alternate(*rounds, func(v *service) measured {
		m, results := v.underLoad()
		total[v.way] = sum(total[v.way], results)
		return m
	})
	for _, r := range total[byBG] {
		if r.Failed > 0 {
			t.Errorf("bg lost %d of %d %s requests: %v", r.Failed, r.Sent, r.Name, r.Reasons)
		}
	}
	table := Table{Head: []string{"failed requests", byBG, byPipeline, byFloor}}
	for i, kind := range clients("") {
		cells := []string{kind.Name}
		for _, v := range c.services {
			r := total[v.way][i]
			cells = append(cells, fmt.Sprintf("%d of %d", r.Failed, r.Sent))
		}
		table.Add(cells...)
	}
	table.Add("one deployment", c.of(byBG, wall).Millis(), c.of(byPipeline, wall).Millis(), c.of(byFloor, wall).Millis())
	text := fmt.Sprintf(`The same deployments, %d of each, in rounds of their own with clients: four on keep-alive connections and four on
a new connection each time, with pauses of 2 ms, and eight whose requests take 700 ms. nginx keeps idle connections of clients
for 3 s after a reload (keepalive_min_timeout), and bg and the floor wait for the last old worker before they stop the old color.`, *rounds+1)
	found.add(Section{Title: "2. Failed requests", Text: text, Tables: []Table{table}})
}

// underLoad deploys while clients send requests.
func (v *service) underLoad() (measured, []load.Result) {
	v.Helper()
	l, err := load.Start(v.Context(), v.url, clients(v.name)...)
	if err != nil {
		v.Fatal(err)
	}
	m := measure(v, v.command("deploy"))
	results := l.Stop()
	v.finish(&m)
	return m, results
}

// sum adds the counts of two loads of the same clients.
func sum(before, now []load.Result) []load.Result {
	if before == nil {
		return now
	}
	all := slices.Clone(before)
	for i, r := range now {
		all[i].Sent += r.Sent
		all[i].Failed += r.Failed
		for reason, n := range r.Reasons {
			all[i].Reasons[strings.TrimSpace(reason)] += n
		}
	}
	return all
}
