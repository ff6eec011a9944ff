// Command floor deploys with nothing but what a deployment cannot do without: the
// raw calls to the Engine, Consul and nginx, one after the other. It checks
// nothing, undoes nothing, and tells nobody. No controller can be faster; how
// much slower one is, is what it costs.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// floor is one deployment: what it is told, and what it learns.
type floor struct {
	engine, catalog                                     *http.Client
	consul, nginx, image, network, service, color, file string
	env, kept, old                                      words
	instances, atOnce                                   int
	ids, addresses                                      []string
	before                                              []string // nginx's workers
}

// words is a flag that may be given several times.
type words []string

func (w *words) String() string         { return strings.Join(*w, " ") }
func (w *words) Set(value string) error { *w = append(*w, value); return nil }

func main() {
	f := &floor{engine: clientOf(strings.TrimPrefix(cmp.Or(os.Getenv("DOCKER_HOST"), "unix:///var/run/docker.sock"), "unix://")), catalog: http.DefaultClient}
	f.flags()
	for _, step := range []struct {
		name string
		do   func() error
	}{{"start", f.start}, {"register", f.register}, {"switch", f.turn}, {"commit", f.commit}, {"drain", f.drain}, {"stop", f.stop}} {
		if err := step.do(); err != nil {
			fmt.Fprintf(os.Stderr, "floor: %s: %v\n", step.name, err)
			os.Exit(1)
		}
		fmt.Printf("%s %.6f\n", step.name, float64(time.Now().UnixMicro())/1e6)
	}
	fmt.Println("containers", strings.Join(f.ids, " "))
}

func (f *floor) flags() {
	for name, value := range map[string]*string{"consul": &f.consul, "nginx": &f.nginx, "image": &f.image, "network": &f.network,
		"service": &f.service, "color": &f.color, "file": &f.file} {
		flag.StringVar(value, name, "", "")
	}
	flag.Var(&f.env, "env", "a variable of the containers")
	flag.Var(&f.kept, "kept", "a stopped container to start, instead of a new one")
	flag.Var(&f.old, "old", "a container to stop")
	flag.IntVar(&f.instances, "instances", 1, "")
	flag.IntVar(&f.atOnce, "at-once", 1, "calls to the Engine at a time")
	flag.Parse()
}

// start creates containers and starts them, or starts the kept ones.
func (f *floor) start() error {
	f.ids = f.kept
	if f.ids == nil {
		f.ids = make([]string, f.instances)
	}
	return f.each(f.ids, func(n int) (err error) {
		if f.kept == nil {
			f.ids[n], err = f.create(n)
		}
		if err == nil {
			err = f.docker(http.MethodPost, "/containers/"+f.ids[n]+"/start", nil, nil)
		}
		return err
	})
}

func (f *floor) create(n int) (id string, err error) {
	var created struct{ ID string }
	name := fmt.Sprintf("%s-%s-%d-%d", f.service, f.color, os.Getpid(), n)
	err = f.docker(http.MethodPost, "/containers/create?name="+name, map[string]any{
		"Image": f.image, "Env": f.env, "ExposedPorts": map[string]any{"8080/tcp": struct{}{}}, "Healthcheck": map[string]any{"Test": []string{"NONE"}},
		"HostConfig": map[string]any{"NetworkMode": f.network, "PortBindings": map[string]any{"8080/tcp": []map[string]string{{"HostPort": ""}}}},
	}, &created)
	return created.ID, err
}

// register waits until Consul has as many instances as were started.
func (f *floor) register() error {
	for index := "0"; len(f.addresses) < len(f.ids); {
		var entries []struct {
			Service struct {
				Address string
				Port    int
			}
		}
		header, err := ask(f.catalog, http.MethodGet, fmt.Sprintf("http://%s/v1/health/service/%s-%s?passing&wait=10s&index=%s", f.consul, f.service, f.color, index), "", &entries)
		if err != nil {
			return err
		}
		index, f.addresses = header.Get("X-Consul-Index"), nil
		for _, e := range entries {
			f.addresses = append(f.addresses, fmt.Sprintf("%s:%d", e.Service.Address, e.Service.Port))
		}
	}
	return nil
}

// turn makes nginx send to the new color, and waits for its new workers.
func (f *floor) turn() (err error) {
	text := fmt.Sprintf("upstream %s {\n  server %s;\n}\n", f.service, strings.Join(f.addresses, ";\n  server "))
	if err := os.WriteFile(f.file+".new", []byte(text), 0o644); err != nil { //nolint:gosec // nginx reads it as another user
		return err
	}
	if err := os.Rename(f.file+".new", f.file); err != nil {
		return err
	}
	if f.before, err = f.workers(); err != nil {
		return err
	}
	if err := f.docker(http.MethodPost, "/containers/"+f.nginx+"/kill?signal=HUP", nil, nil); err != nil {
		return err
	}
	return f.until(func(now []string) bool {
		return slices.ContainsFunc(now, func(pid string) bool { return !slices.Contains(f.before, pid) })
	})
}

func (f *floor) commit() error {
	_, err := ask(f.catalog, http.MethodPut, fmt.Sprintf("http://%s/v1/kv/%s/color", f.consul, f.service), f.color, nil)
	return err
}

// drain waits until none of the workers is left that lived before the reload.
func (f *floor) drain() error {
	return f.until(func(now []string) bool {
		return !slices.ContainsFunc(now, func(pid string) bool { return slices.Contains(f.before, pid) })
	})
}

func (f *floor) stop() error {
	return f.each(f.old, func(n int) error { return f.docker(http.MethodPost, "/containers/"+f.old[n]+"/stop", nil, nil) })
}

// until asks for nginx's workers until done is satisfied.
func (f *floor) until(done func(workers []string) bool) error {
	for {
		now, err := f.workers()
		if err != nil || done(now) {
			return err
		}
	}
}

// workers returns the process ids of nginx's workers.
func (f *floor) workers() (pids []string, err error) {
	var top struct{ Processes [][]string }
	err = f.docker(http.MethodGet, "/containers/"+f.nginx+"/top?ps_args=-eo+pid,args", nil, &top)
	for _, p := range top.Processes {
		if strings.HasPrefix(p[1], "nginx: worker process") {
			pids = append(pids, p[0])
		}
	}
	return pids, err
}

// each acts on all of a list, some at a time.
func (f *floor) each(list []string, act func(n int) error) error {
	var g errgroup.Group
	g.SetLimit(f.atOnce)
	for n := range list {
		g.Go(func() error { return act(n) })
	}
	return g.Wait()
}

// docker makes one request to the Engine.
func (f *floor) docker(method, path string, body, into any) error {
	var text []byte
	var err error
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	_, err = ask(f.engine, method, "http://docker"+path, string(text), into)
	return err
}

// ask makes one HTTP request and reads the answer into a value, if that is not
// nil; an answer of 400 and above is an error.
func ask(client *http.Client, method, url, body string, into any) (http.Header, error) {
	request, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= http.StatusBadRequest {
		return nil, fmt.Errorf("%s %s: %s", method, url, answer.Status)
	}
	if into != nil {
		err = json.NewDecoder(answer.Body).Decode(into)
	}
	return answer.Header, err
}

// clientOf speaks HTTP over a socket of this machine.
func clientOf(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
}
