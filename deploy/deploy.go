package deploy

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/consul/api"

	"bg/color"
	"bg/engine"
	"bg/integration"
	"bg/proxy"
	"bg/registry"
)

// Colors reads live colors and says how one is set.
type Colors interface {
	Live(ctx context.Context, service string) (color.Live, error)
	SetOp(service string, seen color.Live, to color.Color) *api.TxnOp
}

// Catalog reads what is registered.
type Catalog interface {
	Instances(ctx context.Context, name string) ([]registry.Instance, error)
	Wait(ctx context.Context, name string, look func([]registry.Instance) bool) error
}

// Journal keeps the documents of deployments.
type Journal interface {
	LockKey(service string) string
	Save(ctx context.Context, lock *registry.Lock, service, id string, document []byte, more ...*api.TxnOp) error
	Read(ctx context.Context, service, id string) ([]byte, error)
	List(ctx context.Context, service string) ([]string, error)
	Prune(ctx context.Context, service string, keep int) error
}

// Locker takes locks.
type Locker interface {
	Acquire(ctx context.Context, key string, holder registry.Holder, wait time.Duration, waiting func(registry.Holder)) (context.Context, *registry.Lock, error)
}

// Engine runs containers.
type Engine interface {
	Image(ctx context.Context, src engine.Source, c color.Color) (string, error)
	List(ctx context.Context, src engine.Source, c color.Color) ([]engine.Container, error)
	Start(ctx context.Context, src engine.Source, c color.Color, id string) ([]engine.Container, error)
	Restart(ctx context.Context, list []engine.Container) ([]engine.Container, error)
	Stop(ctx context.Context, list []engine.Container, timeout time.Duration) ([]engine.Container, error)
	Remove(ctx context.Context, list []engine.Container) error
	Refresh(ctx context.Context, list []engine.Container) ([]engine.Container, error)
	Healthy(ctx context.Context, list []engine.Container) error
	Guard(ctx context.Context, list []engine.Container) error
	Logs(ctx context.Context, id string, lines int) (string, error)
}

// Proxy is the nginx in front of the service.
type Proxy interface {
	Observe(ctx context.Context) (proxy.State, error)
	Render(ctx context.Context, input proxy.RenderInput) (proxy.Files, error)
	Apply(ctx context.Context, files proxy.Files) (proxy.Change, error)
	Restore(ctx context.Context, change proxy.Change) (proxy.Change, error)
	Drain(ctx context.Context, change proxy.Change, progress func(proxy.Draining)) (proxy.Drained, error)
}

// Deployer makes colors live. Its fields are the parts that it works with.
type Deployer struct {
	Colors  Colors
	Catalog Catalog
	Journal Journal
	Locker  Locker
	Engine  Engine
	Proxy   Proxy

	Source   engine.Source // what runs
	Settings Settings
	Report   func(Event) // called for everything that a person wants to see
	Output   io.Writer   // where tests write
}

// Settings are the limits of a deployment.
type Settings struct {
	ProxyLock string // the key that serialises changes of this nginx
	ProxyURL  string // DOMAIN of the post tests
	Pre, Post []integration.Test

	Health        Readiness
	StartTimeout  time.Duration
	SwitchTimeout time.Duration
	DrainTimeout  time.Duration
	UndoTimeout   time.Duration
	StopTimeout   time.Duration // 0: as the container says
	History       int           // how many documents are kept
}

// Readiness says when an instance is ready for requests.
type Readiness struct {
	Path     string        // "" asks nothing
	Passes   int           // answers in a row
	Interval time.Duration // between two of them
	Timeout  time.Duration // for a whole color, from start to the last pass
}

// Request is what is to be done.
type Request struct {
	Service   string
	Prefix    string // of the service's KV keys, for hints
	Rollback  bool
	By        Who
	Config    string
	LockWait  time.Duration
	PreTests  int
	PostTests int
}

// holder says who asks for a lock.
func (r Request) holder(deployment string) registry.Holder {
	return registry.Holder{User: r.By.User, Host: r.By.Host, PID: r.By.PID, Build: r.By.Build, Deployment: deployment, Since: time.Now().UTC()}
}

// Plan observes and plans, and changes nothing.
func (d *Deployer) Plan(ctx context.Context, request Request) (Plan, error) {
	seen, err := d.Observe(ctx, request)
	if err != nil {
		return Plan{}, err
	}
	for _, w := range seen.Proxy.Warnings {
		d.Report(Event{Time: time.Now(), Kind: Warning, Message: w})
	}
	return MakePlan(request, seen)
}

// Deploy makes the other color of the service live, or leaves everything as it
// was. It holds the service's lock from the first look to the last write. What
// fails before anything was changed is a *BeforeError or one of planning's
// errors; after that it is a *StepError.
func (d *Deployer) Deploy(ctx context.Context, request Request) (*Deployment, error) {
	ctx, lock, err := d.lock(ctx, request)
	if err != nil {
		return nil, err
	}
	defer func() { d.release(ctx, lock) }()
	seen, err := d.Observe(ctx, request)
	if err != nil {
		return nil, err
	}
	plan, err := MakePlan(request, seen)
	if err != nil {
		return nil, err
	}
	run := newRun(d, request, plan, seen, lock)
	err = run.execute(ctx)
	lock = run.lock // it may have been taken anew
	return run.record, err
}

// release gives a lock back. When that fails it is said and no more: the session
// ends by itself.
func (d *Deployer) release(ctx context.Context, lock *registry.Lock) {
	if lock == nil {
		return
	}
	if err := lock.Release(ctx); err != nil {
		d.Report(Event{Time: time.Now(), Kind: Warning, Message: err.Error() + " (it ends by itself)"})
	}
}

// lock takes the service's lock.
func (d *Deployer) lock(ctx context.Context, request Request) (context.Context, *registry.Lock, error) {
	held, lock, err := d.Locker.Acquire(ctx, d.Journal.LockKey(request.Service), request.holder(""), request.LockWait, func(h registry.Holder) {
		d.Report(Event{Time: time.Now(), Kind: Waiting, Message: fmt.Sprintf("another deployment holds %s: %s", request.Service, h)})
	})
	return held, lock, before(err)
}
