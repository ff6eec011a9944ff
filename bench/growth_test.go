//go:build bench

package bench

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

// few is how often something is measured whose rounds take long.
func few(most int) int { return min(most, *rounds) }

// growth is a table in which each row has more of something.
type growth struct {
	table Table
	first *contest // the row that the others are compared with
	last  *contest
	size  int // of the last
}

func newGrowth(of string) *growth {
	return &growth{table: Table{Head: []string{of, "rounds", "bg, wall", "floor, wall", "bg − floor", "bg : floor", "bg, processor", "bg, switch", "bg, peak memory"}}}
}

// add adds a row.
func (g *growth) add(size int, c *contest) {
	b, f := c.of(byBG, wall), c.of(byFloor, wall)
	g.table.Add(fmt.Sprint(size), fmt.Sprint(len(b)), b.Millis(), f.Millis(), number(1000*(b.Median()-f.Median()))+" ms", Ratio(b, f),
		c.of(byBG, cpu).Millis(), c.of(byBG, func(m measured) float64 { return m.step("switch") }).Millis(), c.of(byBG, peak).Megabytes())
	if g.first == nil {
		g.first = c
	}
	g.last, g.size = c, size
}

// own is what bg takes more than the floor, in seconds.
func (c *contest) own() float64 { return c.of(byBG, wall).Median() - c.of(byFloor, wall).Median() }

func TestBenchServices(t *testing.T) {
	g := newGrowth("services behind nginx")
	// An nginx for each way: it has the one service and its neighbours.
	services := []*service{newSite(t).add(byBG), newSite(t).add(byFloor)}
	for _, v := range services {
		v.deploy()
		v.deploy()
	}
	behind := 1
	for _, size := range []int{1, 20, 100} {
		for ; behind < size; behind++ {
			for _, v := range services {
				v.neighbour(fmt.Sprintf("neighbour%d", behind))
			}
		}
		c := &contest{services: services, got: map[string][]measured{}}
		c.alternate(*rounds, (*service).deploy)
		g.add(size, c)
	}
	text := `nginx has the files of so many services: of the one that is deployed, and of others that share its containers. Each
reload reads all of them, and so does the check before it.`
	found.add(Section{Title: "8. Growth: services behind one nginx", Text: text, Tables: []Table{g.table}})
}

// neighbour adds another service's files to nginx, which lead to the containers
// of this one.
func (v *service) neighbour(name string) {
	v.Helper()
	address, err := firstMatch(v.upstream(), `server ([^;]+);`)
	if err != nil {
		v.Fatal(err)
	}
	n := &service{site: v.site, name: name}
	n.file(n.upstream(), strings.ReplaceAll(nobody, "127.0.0.1:1", address))
	n.file(filepath.Join(n.site.dir, "includes", name+".conf"), "location /SERVICE/ { proxy_pass http://SERVICE/; }\n")
}

func TestBenchCatalog(t *testing.T) {
	g := newGrowth("services in the catalog")
	c := ways(t, byBG, byFloor)
	for _, size := range []int{0, 10_000} {
		c.services[0].fill(size)
		c.got = map[string][]measured{}
		c.alternate(*rounds, (*service).deploy)
		row := *c
		g.add(size, &row)
	}
	text := `The catalog has so many services more, each with one instance, on a node of their own.`
	found.add(Section{Title: "9. Growth: services in the catalog", Text: text, Tables: []Table{g.table}}, Goal{
		Key: "catalog", Words: "10,000 services in the catalog, wall, against none", Limit: 1.05, Unit: "×",
		Got: g.last.of(byBG, wall).Median() / g.first.of(byBG, wall).Median(),
	})
}

// perTransaction is how many operations Consul takes in one transaction.
const perTransaction = 64

// fill registers services on a node that has no agent, until the end of the test.
func (s *site) fill(number int) {
	s.Helper()
	const node = "crowd"
	for from := 0; from < number; from += perTransaction {
		operations := []string{fmt.Sprintf(`{"Node":{"Verb":"set","Node":{"Node":%q,"Address":"192.0.2.1"}}}`, node)}
		for n := from; n < min(number, from+perTransaction-1); n++ {
			operations = append(operations, fmt.Sprintf(`{"Service":{"Verb":"set","Node":%q,"Service":{"ID":"crowd-%d","Service":"crowd-%d","Address":"192.0.2.1","Port":80}}}`, node, n, n))
		}
		if answer := s.consul(http.MethodPut, "txn", "["+strings.Join(operations, ",")+"]"); !strings.Contains(answer, `"Errors":null`) {
			s.Fatalf("fill the catalog: %.1000s", answer)
		}
	}
	s.Cleanup(func() { s.consul(http.MethodPut, "catalog/deregister", fmt.Sprintf(`{"Node":%q}`, node)) })
}

// atOnce is how many services are deployed at the same time.
const atOnce = 8

func TestBenchTogether(t *testing.T) {
	s := newSite(t)
	var services []*service
	for range atOnce {
		v := s.add(byBG)
		v.deploy()
		v.deploy()
		services = append(services, v)
	}
	var alone, together Series
	for round := range few(5) + 1 {
		sum := 0.0
		for _, v := range services {
			sum += v.deploy().wall
		}
		longest := s.together(services)
		if round > 0 {
			alone, together = append(alone, sum), append(together, longest)
		}
	}
	table := Table{Head: []string{"", "wall"}}
	table.Add("one after the other", alone.Millis())
	table.Add("at the same time", together.Millis())
	table.Add("ratio", Ratio(together, alone))
	text := fmt.Sprintf(`%d services behind one nginx, whose reloads take turns; %d rounds.`, atOnce, len(alone))
	found.add(Section{Title: "10. Growth: deployments of different services", Text: text, Tables: []Table{table}})
}

// together deploys all services at the same time, and returns the time of the one
// that took longest.
func (s *site) together(services []*service) (longest float64) {
	s.Helper()
	got := make([]measured, len(services))
	var g errgroup.Group
	for i, v := range services {
		g.Go(func() (err error) {
			got[i], err = try(v, v.command("deploy"))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		s.Fatal(err)
	}
	for i, v := range services {
		v.finish(&got[i])
		longest = max(longest, got[i].wall)
	}
	return longest
}
