//go:build bench

package bench

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// answer is one answer to a client.
type answer struct {
	at    time.Time
	color string
}

// client asks a service without a pause, on a new connection each time, and keeps
// which color answered when.
type client struct {
	v       *service
	stop    chan struct{}
	stopped chan struct{}
	answers []answer
	failed  error
}

func (v *service) watch() *client {
	c := &client{v: v, stop: make(chan struct{}), stopped: make(chan struct{})}
	go c.run()
	return c
}

func (c *client) run() {
	defer close(c.stopped)
	for {
		select {
		case <-c.stop:
			return
		default:
		}
		_, header, err := c.v.get(c.v.address() + "/ping")
		if err != nil {
			c.failed = err
			continue
		}
		c.answers = append(c.answers, answer{time.Now(), header.Get("X-Color")})
	}
}

// end returns all answers, in their order.
func (c *client) end() []answer {
	close(c.stop)
	<-c.stopped
	return c.answers
}

// turned is what a client saw of one deployment, in seconds.
type turned struct {
	firstNew, lastOld float64 // after the new color was ready
	gap               float64 // between two answers: how exact that is
}

// seen deploys while a client looks. ready is the step after which the new color
// could have been asked.
func (v *service) seen(ready string) turned {
	v.Helper()
	c := v.watch()
	before := v.live
	m := measure(v, v.command("deploy"))
	answers := c.end()
	v.finish(&m)
	if v.way == byBG && c.failed != nil {
		v.Errorf("bg lost a request: %v", c.failed)
	}
	from := m.ended(v, ready)
	s := turned{firstNew: math.NaN(), lastOld: math.NaN()}
	var gaps Series
	for i, a := range answers {
		after := a.at.Sub(from).Seconds()
		if a.color == before {
			s.lastOld = after
		} else if math.IsNaN(s.firstNew) {
			s.firstNew = after
		}
		if i > 0 {
			gaps = append(gaps, a.at.Sub(answers[i-1].at).Seconds())
		}
	}
	if s.gap = gaps.Median(); math.IsNaN(s.firstNew) || math.IsNaN(s.lastOld) {
		v.Fatalf("a client saw one color only, in %d answers", len(answers))
	}
	return s
}

func TestBenchSwitch(t *testing.T) {
	c := ways(t, byBG, byPipeline, byFloor)
	saw := map[string][]turned{}
	c.alternate(*rounds, func(v *service) measured {
		ready := "register"
		if v.way == byPipeline {
			ready = "test"
		}
		saw[v.way] = append(saw[v.way], v.seen(ready))
		return measured{}
	})
	table := Table{Head: []string{"after the new color was ready", byBG, byPipeline, byFloor, "bg : pipeline", "bg : floor"}}
	for _, row := range []struct {
		name  string
		value func(turned) float64
	}{
		{"first answer of the new color", func(s turned) float64 { return s.firstNew }},
		{"last answer of the old color", func(s turned) float64 { return s.lastOld }},
		{"between two answers", func(s turned) float64 { return s.gap }},
	} {
		b, p, f := Of(saw[byBG], row.value), Of(saw[byPipeline], row.value), Of(saw[byFloor], row.value)
		table.Add(row.name, b.Millis(), p.Millis(), f.Millis(), Ratio(b, p), Ratio(b, f))
	}
	text := fmt.Sprintf(`One client asks without a pause, on a new connection each time; %d rounds of their own. "Ready" is the end of the step
register, of the pipeline the end of its request to the new color. nginx takes up the new configuration some milliseconds after
the signal, and lets the old workers accept for 100 ms more. Times are as exact as the last row says.`, *rounds+1)
	found.add(Section{Title: "4. The switch, as a client sees it", Text: text, Tables: []Table{table}})
}

func TestBenchWarmRollback(t *testing.T) {
	s := newSite(t)
	v := s.add(byBG)
	s.append(filepath.Join(v.dir, "bg.yml"), "keep: 1h\n")
	v.warm = true
	v.deploy()
	c := &contest{services: []*service{v}, got: map[string][]measured{}}
	c.alternate(*rounds, func(v *service) measured {
		v.deploy() // leaves the color warm that was live; the one that a rollback leaves is stopped
		return v.rollback()
	})
	table := Table{Head: []string{"", "bg rollback"}}
	steps := []string{"before", "register", "switch", "commit", "drain", "stop", "after"}
	live := c.of(byBG, func(m measured) (took float64) { // with the commit
		for _, name := range steps[:4] {
			took += m.step(name)
		}
		return took
	})
	table.Add("wall", c.of(byBG, wall).Millis())
	table.Add("until it is live", live.Millis())
	for _, name := range steps {
		table.Add(name, c.of(byBG, func(m measured) float64 { return m.step(name) }).Millis())
	}
	found.add(Section{Title: "5. The switch alone: a rollback to a color that is still warm", Tables: []Table{table},
		Text: fmt.Sprintf(`With `+"`keep: 1h`"+` the color that was replaced goes on running, and a rollback is a switch of nginx; what it leaves is stopped at
the end. %d rounds, each after a deployment.`, *rounds)}, Goal{
		Key: "warm", Words: "a rollback to a warm color, from the start of the command until Consul says so", Limit: 500, Got: 1000 * live.Median(), Unit: "ms",
	})
}

// append adds lines to a file.
func (s *site) append(name, lines string) {
	s.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		s.Fatal(err)
	}
	s.write(name, string(text)+lines)
}
