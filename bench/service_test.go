//go:build bench

package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bg/internal/stacktest"
)

// The ways to deploy.
const (
	byBG       = "bg"
	byPipeline = "pipeline"
	byFloor    = "floor"
)

// service is a service that is deployed in one way.
type service struct {
	*site
	way, name, dir string
	live           string // the color that has to answer
	number         int    // of deployments
	instances      int
	atOnce         int                 // of the floor's calls
	ids            map[string][]string // the floor's containers, by color
	warm           bool                // bg leaves the old color running
}

const compose = `services:
  base:
    image: IMAGE:${TAG:-1.0}
    ports: ["8080"]
    environment: { REDIS_ADDR: "REDIS", REDIS_PREFIX: "SERVICE:" }
    healthcheck: { disable: true }
  app-blue:
    extends: { service: base }
    environment: { SERVICE_NAME: SERVICE-blue, COLOR: blue }
  app-green:
    extends: { service: base }
    environment: { SERVICE_NAME: SERVICE-green, COLOR: green }
`

const upstreams = `upstream SERVICE {
  {{range service "SERVICE-COLOR"}}
  server {{.Address}}:{{.Port}};
  {{end}}
}
map "" $SERVICE_color { default COLOR; }
`

const includes = `location /SERVICE/ {
  proxy_pass http://SERVICE/;
  add_header X-BG-Color $SERVICE_color always;
}
`

const settings = `service: SERVICE
proxy: { container: NGINX, url: "URL/SERVICE" }
start: { timeout: 20m } # of hundreds of instances
health: { timeout: 20m }
switch: { timeout: 1m } # on a machine that is not quiet
`

// nobody is what nginx sends to before the first deployment of the ways that do
// not bring the service's paths to nginx themselves.
const nobody = "upstream SERVICE { server 127.0.0.1:1; }\n"

// add makes a service that was never deployed.
func (s *site) add(way string) *service {
	s.Helper()
	v := &service{site: s, way: way, name: way + stacktest.Random(), dir: s.TempDir(), instances: 1, atOnce: 1, ids: map[string][]string{}}
	s.Cleanup(v.clean)
	v.file("docker-compose.yml", compose)
	v.file("nginx-upstreams-blue.ctmpl", strings.ReplaceAll(upstreams, "COLOR", "blue"))
	v.file("nginx-upstreams-green.ctmpl", strings.ReplaceAll(upstreams, "COLOR", "green"))
	switch way {
	case byBG:
		v.file("nginx-includes.conf", includes)
		v.file("bg.yml", settings)
	case byFloor:
		v.docker("network", "create", v.name)
		fallthrough
	default:
		v.file(v.upstream(), nobody)
		v.file(filepath.Join(s.dir, "includes", v.name+".conf"), strings.ReplaceAll(includes, "  add_header X-BG-Color $SERVICE_color always;\n", ""))
	}
	return v
}

// upstream is the file of nginx that says where the service is.
func (v *service) upstream() string { return filepath.Join(v.site.dir, "upstreams", v.name+".conf") }

// file writes a file of the service, whose words in capitals become its own.
func (v *service) file(name, content string) {
	v.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(v.dir, name)
	}
	v.write(name, strings.NewReplacer("SERVICE_NAME", "SERVICE_NAME", "REDIS_", "REDIS_", "SERVICE", v.name, "IMAGE", stack.Name,
		"REDIS", v.stack.Redis, "NGINX", v.nginx, "URL", v.url).Replace(content))
}

// clean removes what the service left.
func (v *service) clean() {
	if left := strings.Fields(v.docker("ps", "-aq", "--filter", "name="+v.name)); len(left) > 0 {
		v.remove(left)
	}
	if v.stack != &stack {
		return // the rest goes with its Docker, which after hundreds of containers may not let go of a network
	}
	if left := strings.Fields(v.docker("network", "ls", "-q", "--filter", "name="+v.name)); len(left) > 0 {
		v.docker(append([]string{"network", "rm"}, left...)...)
	}
}

// remove removes containers, a few at a time.
func (v *service) remove(ids []string) {
	for some := range slices.Chunk(ids, 10) {
		v.docker(append([]string{"rm", "-fv"}, some...)...)
	}
}

// address is where the service answers.
func (v *service) address() string { return v.url + "/" + v.name }

// idle is the color that is not live.
func (v *service) idle() string {
	if v.live == "blue" {
		return "green"
	}
	return "blue"
}

// deploy makes the idle color live with new containers, and measures it.
func (v *service) deploy() measured { v.Helper(); return v.turn("deploy") }

// rollback makes the idle color live with its kept containers, and measures it.
func (v *service) rollback() measured { v.Helper(); return v.turn("rollback") }

func (v *service) turn(verb string) measured {
	v.Helper()
	m := measure(v, v.command(verb))
	v.finish(&m)
	return m
}

// finish reads what a deployment printed, and waits until all is quiet.
func (v *service) finish(m *measured) {
	v.Helper()
	v.live = v.idle()
	v.number++
	if v.way == byBG {
		m.steps = v.bgSteps(*m)
	} else {
		m.steps = v.linedSteps(*m)
	}
	v.settle()
}

// command returns what makes the idle color live.
func (v *service) command(verb string) command {
	tag := stacktest.Tags[v.number%len(stacktest.Tags)]
	env := append(slices.Clone(v.stack.Env), "TAG="+tag, "CONSUL_HTTP_ADDR="+v.stack.Consul)
	switch v.way {
	case byBG:
		args := []string{stack.BG, verb, v.name, "-o", "json"}
		if v.instances > 1 {
			args = append(args, "--replicas", fmt.Sprint(v.instances))
		}
		return command{v.dir, env, args}
	case byPipeline:
		env = append(env, "SERVICE="+v.name, "PROJECT="+v.name, "CONSUL="+v.stack.Consul, "NGINX="+v.nginx, "UPSTREAMS="+filepath.Dir(v.upstream()))
		return command{v.dir, env, []string{filepath.Join(root, "bench/pipeline.sh"), verb}}
	}
	args := []string{filepath.Join(root, "bin/floor"), "-consul", v.stack.Consul, "-nginx", v.nginx, "-image", stack.Name + ":" + tag,
		"-network", v.name, "-service", v.name, "-color", v.idle(), "-file", v.upstream(), "-instances", fmt.Sprint(v.instances), "-at-once", fmt.Sprint(v.atOnce),
		"-env", "SERVICE_NAME=" + v.name + "-" + v.idle(), "-env", "COLOR=" + v.idle(), "-env", "REDIS_ADDR=" + v.stack.Redis, "-env", "REDIS_PREFIX=" + v.name + ":"}
	if verb == "rollback" {
		for _, id := range v.ids[v.idle()] {
			args = append(args, "-kept", id)
		}
	}
	for _, id := range v.ids[v.live] {
		args = append(args, "-old", id)
	}
	return command{v.dir, env, args}
}

// bgSteps reads the events of bg. What is before the first step, and after the
// last one, is "before" and "after".
func (v *service) bgSteps(m measured) (steps []step) {
	v.Helper()
	last := m.began
	for line := range strings.Lines(m.out) {
		var event struct {
			Time    time.Time
			Event   string
			Step    string
			Seconds float64
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			v.Fatalf("%v: %s", err, line)
		}
		switch event.Event {
		case "begin":
			if steps == nil {
				steps = append(steps, step{"before", event.Time.Sub(last).Seconds(), event.Time})
			}
		case "end":
			steps, last = append(steps, step{event.Step, event.Seconds, event.Time}), event.Time
		case "warning":
			v.Errorf("bg warns: %s", line)
		}
	}
	end := m.began.Add(time.Duration(m.wall * float64(time.Second)))
	return append(steps, step{"after", end.Sub(last).Seconds(), end})
}

// linedSteps reads lines such as "start 1764096123.123456", and the names of the
// floor's containers.
func (v *service) linedSteps(m measured) (steps []step) {
	v.Helper()
	last := m.began
	for lines := bufio.NewScanner(strings.NewReader(m.out)); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) > 1 && words[0] == "containers" {
			v.remove(without(v.ids[v.live], words[1:]))
			v.ids[v.live] = words[1:]
			continue
		}
		var seconds float64
		if len(words) != 2 {
			continue // of docker-compose
		}
		if _, err := fmt.Sscanf(words[1], "%f", &seconds); err != nil || seconds < 1e9 {
			continue
		}
		end := time.UnixMicro(int64(seconds * 1e6))
		steps, last = append(steps, step{words[0], end.Sub(last).Seconds(), end}), end
	}
	return steps
}

// without returns the words of list that are not among others.
func without(list, others []string) (left []string) {
	for _, word := range list {
		if !slices.Contains(others, word) {
			left = append(left, word)
		}
	}
	return left
}

// settle asks that the new color is live, and waits until nothing of the old one
// is left where the next deployment would meet it.
func (v *service) settle() {
	v.Helper()
	if got := v.consul(http.MethodGet, "kv/"+v.name+"/color?raw", ""); got != v.live {
		v.Fatalf("%s: KV says %q instead of %q", v.name, got, v.live)
	}
	if v.way == byBG {
		if err := v.answers(); err != nil {
			v.Fatal(err)
		}
	}
	v.eventually(v.answers) // the pipeline does not wait for nginx
	v.quiet()
	if v.warm {
		return
	}
	v.eventually(func() error {
		if list := strings.TrimSpace(v.consul(http.MethodGet, "catalog/service/"+v.name+"-"+v.idle(), "")); list != "[]" {
			return fmt.Errorf("%s is still registered: %s", v.idle(), list)
		}
		return nil
	})
}

// answers reports whether the live color answers.
func (v *service) answers() error {
	_, header, err := v.get(v.address() + "/ping")
	if got := header.Get("X-Color"); err == nil && got != v.live {
		err = fmt.Errorf("%s: %q answers instead of %q", v.name, got, v.live)
	}
	return err
}
