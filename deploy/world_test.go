package deploy

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"bg/color"
	"bg/engine"
	"bg/hint"
	"bg/integration"
	"bg/proxy"
	"bg/registry"
)

// world is what a deployment works with: a real Consul under a service name of
// its own, and an engine and an nginx that do as they are told and fail where
// the script says so.
type world struct {
	*testing.T
	service string
	consul  *api.Client
	script  map[string]func(context.Context) error // what a call does, by its name

	mu     sync.Mutex
	calls  []string // all that was asked of the engine, of nginx and of the tests
	events []Event
}

// openConsul gives all tests one client: an agent takes 200 connections of one
// address.
var openConsul = sync.OnceValues(registry.Open)

// newWorld returns a world in which live serves already, None for none.
func newWorld(t *testing.T, live color.Color) (*world, *Deployer) {
	t.Helper()
	w := &world{T: t, service: "books-" + random(t), consul: must(openConsul())(t), script: map[string]func(context.Context) error{}}
	d := w.deployer()
	if live != color.None {
		w.put("color", live.String())
		started := must(d.Engine.Start(t.Context(), d.Source, live, ""))(t)
		d.Proxy.(*scriptedProxy).files = proxy.Files{Color: live, Upstreams: proxy.File{Data: []byte(address(started[0]))}}
		d.Proxy.(*scriptedProxy).live = live
	}
	w.calls = nil
	return w, d
}

func (w *world) deployer() *Deployer {
	log := slog.New(slog.DiscardHandler)
	return &Deployer{
		Colors:  color.NewStore(w.consul, ""),
		Catalog: registry.NewCatalog(w.consul),
		Journal: registry.NewJournal(w.consul, ""),
		Locker:  registry.NewLocker(w.consul, 15*time.Second, log),
		Engine:  &scriptedEngine{world: w, answer: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), died: make(chan struct{}), containers: map[color.Color][]engine.Container{}, servers: map[string]*httptest.Server{}},
		Proxy:   &scriptedProxy{world: w},
		Source:  engine.Source{Service: w.service, Catalog: func(c color.Color) string { return w.service + "-" + string(c) }},
		Settings: Settings{
			ProxyLock: w.service + "/nginx-lock", ProxyURL: "http://proxy.invalid",
			Pre: []integration.Test{scriptedTest{w, "pretest"}}, Post: []integration.Test{scriptedTest{w, "posttest"}},
			Health:       Readiness{Path: "/ping", Passes: 2, Interval: time.Millisecond, Timeout: 10 * time.Second},
			StartTimeout: 10 * time.Second, SwitchTimeout: 10 * time.Second, DrainTimeout: 10 * time.Second, UndoTimeout: 10 * time.Second,
			History: 5,
		},
		Report: func(e Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
		},
		Output: io.Discard,
	}
}

func (w *world) request() Request {
	return Request{Service: w.service, By: Who{User: "tester", Host: "here", PID: 1}, PreTests: 1, PostTests: 1}
}

// call records a call and does what the script says. A real engine and a real
// nginx would refuse to work on a context that is done.
func (w *world) call(ctx context.Context, name string) error {
	w.mu.Lock()
	w.calls = append(w.calls, name)
	w.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if do := w.script[name]; do != nil {
		return do(ctx)
	}
	return nil
}

// failing scripts a call to fail.
func (w *world) failing(name string, err error) {
	w.script[name] = func(context.Context) error { return err }
}

// called compares the calls with those wanted, in one text.
func (w *world) called(want string) {
	w.Helper()
	if diff := cmp.Diff(want, strings.Join(w.calls, ", ")); diff != "" {
		w.Errorf("calls (-want +got):\n%s", diff)
	}
}

// serving checks that c is live in Consul, that nginx sends to it, and that its
// container runs.
func (w *world) serving(d *Deployer, c color.Color) {
	w.Helper()
	live := must(color.NewStore(w.consul, "").Live(w.Context(), w.service))(w.T)
	list := d.Engine.(*scriptedEngine).containers[c]
	nginx := d.Proxy.(*scriptedProxy).files
	if live.Color != c || nginx.Color != c || len(nginx.Includes.Data) > 0 || len(list) != 1 || !list[0].Running() || string(nginx.Upstreams.Data) != address(list[0]) {
		w.Errorf("%s does not serve: Consul says %s, nginx sends to %s at %s, containers %+v", c, live.Color, nginx.Color, nginx.Upstreams.Data, list)
	}
}

// running returns how many containers of c run.
func (w *world) running(d *Deployer, c color.Color) int {
	list := d.Engine.(*scriptedEngine).containers[c]
	return len(slices.DeleteFunc(slices.Clone(list), func(c engine.Container) bool { return !c.Running() }))
}

// journal returns the newest deployment as Consul has it.
func (w *world) journal() Deployment {
	w.Helper()
	document := must(registry.NewJournal(w.consul, "").Newest(w.Context(), w.service))(w.T)
	var d Deployment
	if err := json.Unmarshal(document, &d); err != nil {
		w.Fatalf("%v: %s", err, document)
	}
	return d
}

// put writes a key of the service.
func (w *world) put(key, value string) {
	w.Helper()
	if _, err := w.consul.KV().Put(&api.KVPair{Key: w.service + "/" + key, Value: []byte(value)}, nil); err != nil {
		w.Fatal(err)
	}
}

// unlocked checks that nobody holds the service or its nginx.
func (w *world) unlocked() {
	w.Helper()
	for _, key := range []string{"/lock", "/nginx-lock"} {
		if pair, _ := must2(w.consul.KV().Get(w.service+key, nil))(w.T); pair != nil {
			w.Errorf("%s is still held: %s", pair.Key, pair.Value)
		}
	}
}

// scriptedTest is an integration test.
type scriptedTest struct {
	world *world
	name  string
}

func (s scriptedTest) Name() string { return s.name }

func (s scriptedTest) Run(ctx context.Context, _ integration.Target, _ io.Writer) error {
	return s.world.call(ctx, s.name)
}

// scriptedEngine has one container for each color. Those that run answer
// requests and are registered in Consul, as Registrator would do it.
type scriptedEngine struct {
	world *world
	died  chan struct{} // closed when a container of the new color ends
	// answer is what containers answer that are started from now on.
	answer http.Handler

	mu         sync.Mutex
	containers map[color.Color][]engine.Container
	servers    map[string]*httptest.Server
}

func (e *scriptedEngine) Image(context.Context, engine.Source, color.Color) (string, error) {
	return "books-ms:2.0", nil
}

// HasImage knows every image but the one that the script calls lost.
func (e *scriptedEngine) HasImage(_ context.Context, ref string) (bool, error) {
	return ref != "sha256:lost", nil
}

func (e *scriptedEngine) Digest(context.Context, string) (string, error) { return "", nil }

func (e *scriptedEngine) List(_ context.Context, _ engine.Source, c color.Color) ([]engine.Container, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.containers[c]), nil
}

// Start leaves a container that does not run when the script makes it fail.
func (e *scriptedEngine) Start(ctx context.Context, src engine.Source, c color.Color, id string) ([]engine.Container, error) {
	image := "books-ms:2.0"
	if src.Image != "" {
		image = src.Image
	}
	list := []engine.Container{{ID: random(e.world.T), Name: e.world.service + "-" + string(c), Image: image, ImageID: "sha256:" + id, Deployment: id, State: "created"}}
	err := e.world.call(ctx, "start "+string(c))
	if err == nil {
		e.run(list)
	}
	e.keep(c, list)
	return list, err
}

func (e *scriptedEngine) Restart(ctx context.Context, list []engine.Container) ([]engine.Container, error) {
	list = slices.Clone(list)
	err := e.world.call(ctx, "restart "+e.color(list))
	if err == nil {
		e.run(list)
		e.keep(color.Color(e.color(list)), list)
	}
	return list, err
}

func (e *scriptedEngine) Stop(ctx context.Context, list []engine.Container, _ time.Duration) ([]engine.Container, error) {
	list = slices.Clone(list)
	if err := e.world.call(ctx, "stop "+e.color(list)); err != nil {
		return nil, err
	}
	for i, c := range list {
		if server := e.servers[c.ID]; server != nil {
			server.Close()
		}
		e.world.deregister(c.ID)
		list[i].State = "exited"
		e.keep(color.Color(e.color(list)), list)
	}
	return list, nil
}

func (e *scriptedEngine) Remove(ctx context.Context, list []engine.Container) error {
	if err := e.world.call(ctx, "remove "+e.color(list)); err != nil {
		return err
	}
	e.keep(color.Color(e.color(list)), nil)
	return nil
}

func (e *scriptedEngine) Refresh(ctx context.Context, list []engine.Container) ([]engine.Container, error) {
	return e.List(ctx, engine.Source{}, color.Color(e.color(list)))
}

func (e *scriptedEngine) Healthy(ctx context.Context, list []engine.Container) error {
	return e.world.call(ctx, "healthy "+e.color(list))
}

func (e *scriptedEngine) Guard(ctx context.Context, _ []engine.Container) error {
	select {
	case <-ctx.Done():
		return nil
	case <-e.died:
		return hint.Wrap(engine.ErrContainer, "docker logs it")
	}
}

func (e *scriptedEngine) Logs(context.Context, string, int) (string, error) { return "a line", nil }

func (e *scriptedEngine) keep(c color.Color, list []engine.Container) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.containers[c] = list
}

// color returns the color that a container's name ends with.
func (e *scriptedEngine) color(list []engine.Container) string {
	if len(list) == 0 {
		return "nothing"
	}
	return strings.TrimPrefix(list[0].Name, e.world.service+"-")
}

// run makes containers answer on a new port and registers them.
func (e *scriptedEngine) run(list []engine.Container) {
	for i := range list {
		server := httptest.NewServer(e.answer)
		e.world.Cleanup(server.Close)
		e.servers[list[i].ID] = server
		list[i].State = "running"
		list[i].Ports = []engine.Port{{Container: 8080, Host: server.Listener.Addr().(*net.TCPAddr).Port}}
		e.world.register(list[i])
	}
}

// address is where a container answers.
func address(c engine.Container) string { return fmt.Sprintf("127.0.0.1:%d", c.Ports[0].Host) }

func (w *world) register(c engine.Container) {
	w.Helper()
	_, err := w.consul.Catalog().Register(&api.CatalogRegistration{
		Node: w.service, Address: "127.0.0.1",
		Service: &api.AgentService{ID: c.ID, Service: c.Name, Port: c.Ports[0].Host, Meta: map[string]string{registry.DeploymentMeta: c.Deployment}},
	}, nil)
	if err != nil {
		w.Error(err)
	}
}

func (w *world) deregister(id string) {
	w.Helper()
	if _, err := w.consul.Catalog().Deregister(&api.CatalogDeregistration{Node: w.service, ServiceID: id}, nil); err != nil {
		w.Error(err)
	}
}

// scriptedProxy is an nginx with one upstreams file.
type scriptedProxy struct {
	world *world
	files proxy.Files
	live  color.Color // of files, for those who ask meanwhile
	// previews says that the templates have one. Its addresses are in the includes.
	previews bool
}

func (p *scriptedProxy) Observe(ctx context.Context) (proxy.State, error) {
	state := proxy.State{Files: p.files, Previews: p.previews}
	if data := string(p.files.Includes.Data); data != "" {
		state.Preview = strings.Split(data, " ")
	}
	if data := string(p.files.Upstreams.Data); data != "" {
		state.Upstreams = strings.Split(data, " ")
	}
	if do := p.world.script["observe nginx"]; do != nil {
		return state, do(ctx)
	}
	return state, nil
}

func (p *scriptedProxy) Answer(context.Context) proxy.Answer {
	if len(p.files.Upstreams.Data) == 0 {
		return proxy.Answer{URL: "http://proxy.invalid"}
	}
	return proxy.Answer{URL: "http://proxy.invalid", Status: 200, Color: p.files.Color.String()}
}

func (p *scriptedProxy) Render(ctx context.Context, in proxy.RenderInput) (proxy.Files, error) {
	name := "render " + in.Color.String()
	if in.Preview.Color != color.None {
		name += " with " + in.Preview.Color.String()
	}
	return proxy.Files{
		Color: in.Color, Upstreams: proxy.File{Data: []byte(strings.Join(in.Want, " "))},
		Preview: in.Preview.Color, Includes: proxy.File{Data: []byte(strings.Join(in.Preview.Want, " "))},
	}, p.world.call(ctx, name)
}

// Prepare is no call of its own: it runs beside others.
func (p *scriptedProxy) Prepare(context.Context, proxy.RenderInput) error { return nil }

func (p *scriptedProxy) Apply(ctx context.Context, files proxy.Files) (proxy.Change, error) {
	if files.Preview != color.None {
		return p.put(ctx, "expose with ", files)
	}
	return p.put(ctx, "apply ", files)
}

func (p *scriptedProxy) Restore(ctx context.Context, change proxy.Change) (proxy.Change, error) {
	return p.put(ctx, "restore ", change.Previous)
}

func (p *scriptedProxy) put(ctx context.Context, verb string, files proxy.Files) (proxy.Change, error) {
	if err := p.world.call(ctx, verb+files.Color.String()); err != nil {
		return proxy.Change{}, err
	}
	change := proxy.Change{Files: files, Previous: p.files, Reloaded: true, Sent: time.Now()}
	p.files = files
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	p.live = files.Color
	return change, nil
}

func (p *scriptedProxy) ErrorLines(ctx context.Context, _ time.Time) ([]string, error) {
	if do := p.world.script["read nginx's log"]; do != nil {
		return nil, do(ctx)
	}
	return []string{"2026/11/21 01:02:03 [error] 7#7: *1 connect() failed"}, nil
}

// Drain names the color that nginx sends to since the reload.
func (p *scriptedProxy) Drain(ctx context.Context, change proxy.Change, _ func(proxy.Draining)) (proxy.Drained, error) {
	return proxy.Drained{}, p.world.call(ctx, "drained to "+change.Files.Color.String())
}

// scriptedJournal is Consul's journal, apart from what save does to a commit.
type scriptedJournal struct {
	Journal
	world *world
	save  func(real func() error) error
}

func (j scriptedJournal) Save(ctx context.Context, lock *registry.Lock, service, id string, document []byte, more ...*api.TxnOp) error {
	commit := func() error { return j.Journal.Save(ctx, lock, service, id, document, more...) }
	if len(more) == 0 {
		return commit()
	}
	if err := j.world.call(ctx, "commit"); err != nil {
		return err
	}
	return j.save(commit)
}

// scriptedColors is Consul's color, apart from reads that fail after the first.
type scriptedColors struct {
	Colors
	reads int
	later error
}

func (c *scriptedColors) Live(ctx context.Context, service string) (color.Live, error) {
	if c.reads++; c.reads > 1 && c.later != nil {
		return color.Live{}, c.later
	}
	return c.Colors.Live(ctx, service)
}

// noAnswer is what the Consul API's client returns when the connection ends
// after the request was sent.
var noAnswer = registry.Classify(fmt.Errorf("put: %w", io.ErrUnexpectedEOF))

// errScript is the failure of a script.
var errScript = errors.New("as the script says")

func random(t *testing.T) string {
	t.Helper()
	b := make([]byte, 4)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

// must returns value, and ends the test when there is an error.
func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// must2 is must for two values.
func must2[T, U any](one T, two U, err error) func(*testing.T) (T, U) {
	return func(t *testing.T) (T, U) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return one, two
	}
}
