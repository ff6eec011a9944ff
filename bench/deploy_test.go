//go:build bench

package bench

import (
	"fmt"
	"testing"
)

// contest is one thing that several services do in turn.
type contest struct {
	services []*service
	got      map[string][]measured // by way
}

// ways makes a service of each way behind one nginx, and deploys each twice: the
// second time it has both colors.
func ways(t *testing.T, list ...string) *contest {
	t.Helper()
	s := newSite(t)
	c := &contest{got: map[string][]measured{}}
	for _, way := range list {
		v := s.add(way)
		v.deploy()
		v.deploy()
		c.services = append(c.services, v)
	}
	return c
}

// alternate lets the services take turns. The first round does not count.
func (c *contest) alternate(rounds int, do func(*service) measured) {
	for round := range rounds + 1 {
		for _, v := range c.services {
			if m := do(v); round > 0 {
				c.got[v.way] = append(c.got[v.way], m)
			}
		}
	}
}

// of returns the measurements of one way.
func (c *contest) of(way string, value func(measured) float64) Series {
	return Of(c.got[way], value)
}

func wall(m measured) float64   { return m.wall }
func cpu(m measured) float64    { return m.cpu }
func engine(m measured) float64 { return m.engine }
func peak(m measured) float64   { return m.peak }

func TestBenchDeploy(t *testing.T) {
	c := ways(t, byBG, byPipeline, byFloor)
	c.alternate(*rounds, (*service).deploy)
	text := fmt.Sprintf(`One whole deployment, from the start of the command to its end: the same image, nginx, registrator and Consul, no tests, no
clients, no Docker health check; %d rounds. *pipeline* is [pipeline.sh](pipeline.sh) (docker-compose, curl, jq, consul-template,
`+"`docker kill`"+`), *floor* is [floor/main.go](floor/main.go), the raw calls to the Engine one after the other: create, start, registration,
HUP, workers, KV, stop. bg does more than both: it takes a lock, keeps a journal, checks readiness and nginx's configuration,
watches requests, removes the containers before last. Processor time is of the command's own processes, and apart from
that of dockerd while it ran; memory is that of its largest process.`, *rounds)
	found.add(Section{Title: "1. One whole deployment", Text: text, Tables: []Table{c.sizes(), c.steps()}}, c.goals()...)
}

// sizes compares the whole.
func (c *contest) sizes() Table {
	t := Table{Head: []string{"", byBG, byPipeline, byFloor, "bg : pipeline", "bg : floor", "floor : pipeline"}}
	for _, row := range []struct {
		name  string
		value func(measured) float64
		show  func(Series) string
	}{
		{"wall", wall, Series.Millis},
		{"processor", cpu, Series.Millis},
		{"processor, dockerd", engine, Series.Millis},
		{"peak memory", peak, Series.Megabytes},
	} {
		b, p, f := c.of(byBG, row.value), c.of(byPipeline, row.value), c.of(byFloor, row.value)
		t.Add(row.name, row.show(b), row.show(p), row.show(f), Ratio(b, p), Ratio(b, f), Ratio(f, p))
	}
	return t
}

// steps says where the time goes.
func (c *contest) steps() Table {
	t := Table{Head: []string{"where the time goes", byBG, byPipeline, byFloor}}
	for _, name := range []string{"before", "color", "start", "register", "test", "switch", "commit", "drain", "stop", "after"} {
		cells := []string{name}
		for _, way := range []string{byBG, byPipeline, byFloor} {
			cell := ""
			if s := c.of(way, func(m measured) float64 { return m.step(name) }); s.Median() > 0 {
				cell = s.Millis()
			}
			cells = append(cells, cell)
		}
		t.Add(cells...)
	}
	return t
}

func (c *contest) goals() []Goal {
	b := c.of(byBG, wall).Median()
	return []Goal{
		{Key: "pipeline", Words: "a whole deployment, wall, against the pipeline", Limit: 0.4, Got: b / c.of(byPipeline, wall).Median(), Unit: "×"},
		{Key: "floor", Words: "a whole deployment, wall, against the floor", Limit: 1.3, Got: b / c.of(byFloor, wall).Median(), Unit: "×"},
		{Key: "memory", Words: "peak memory", Limit: 80, Got: c.of(byBG, peak).Quantile(1) / 1e6, Unit: "MB"},
		{Key: "switch", Words: "switch, from rendering to confirmed (nginx's own 100 ms in it)", Limit: 250,
			Got: 1000 * c.of(byBG, func(m measured) float64 { return m.step("switch") }).Median(), Unit: "ms"},
	}
}

func TestBenchRollback(t *testing.T) {
	c := ways(t, byBG, byPipeline, byFloor)
	c.alternate(*rounds, (*service).rollback)
	text := fmt.Sprintf(`The containers that were live before are started again, and take the same way; %d rounds.`, *rounds)
	found.add(Section{Title: "3. Rollback", Text: text, Tables: []Table{c.sizes(), c.steps()}})
}
