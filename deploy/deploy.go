package deploy

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"

	"bg/color"
	"bg/engine"
	"bg/integration"
	"bg/internal/fault"
	"bg/probe"
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
	Newest(ctx context.Context, service string) ([]byte, error)
	Read(ctx context.Context, service, id string) ([]byte, error)
	List(ctx context.Context, service string) ([]string, error)
	Prune(ctx context.Context, service string, keep int, spare ...string) error
}

// Locker takes locks.
type Locker interface {
	Acquire(ctx context.Context, key string, holder registry.Holder, wait time.Duration, waiting func(registry.Holder)) (context.Context, *registry.Lock, error)
}

// Engine runs containers.
type Engine interface {
	Image(ctx context.Context, src engine.Source, c color.Color) (string, error)
	HasImage(ctx context.Context, ref string) (bool, error)
	Digest(ctx context.Context, image string) (string, error)
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
	Answer(ctx context.Context) proxy.Answer
	Render(ctx context.Context, input proxy.RenderInput) (proxy.Files, error)
	Prepare(ctx context.Context, input proxy.RenderInput) error
	Apply(ctx context.Context, files proxy.Files) (proxy.Change, error)
	Restore(ctx context.Context, change proxy.Change) (proxy.Change, error)
	ErrorLines(ctx context.Context, since time.Time) ([]string, error)
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
	Hooks    Hooks       // asked around each step; nil has none
}

// Settings are the limits of a deployment.
type Settings struct {
	ProxyLock string // the key that serialises changes of this nginx
	ProxyURL  string // DOMAIN of the post tests
	Pre, Post []integration.Test

	Probe         probe.Config // what is asked all the while
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
	Target    string        // the id, or a part of it, of the deployment that a rollback goes back to; "" is the one before
	Keep      time.Duration // how long the old color stays warm; 0 stops it
	By        Who
	Config    string
	LockWait  time.Duration
	PreTests  int
	PostTests int

	Until     Verb   // pause after this step; "" goes on to the end
	Supersede bool   // a paused deployment is aborted first
	ID        string // resume and abort only the deployment with this id, or part of one; "" the newest
}

// holder says who asks for a lock.
func (r Request) holder(deployment string) registry.Holder {
	return registry.Holder{User: r.By.User, Host: r.By.Host, PID: r.By.PID, Build: r.By.Build, Deployment: deployment, Since: fault.Now().UTC()}
}

// Plan observes and plans, and changes nothing. What an interrupted deployment
// left comes first in the plan.
func (d *Deployer) Plan(ctx context.Context, request Request) (Plan, error) {
	earlier, err := d.newest(ctx, request.Service)
	if err != nil {
		return Plan{}, err
	}
	if err := refusePaused(request, earlier); err != nil {
		return Plan{}, err
	}
	plan, _, err := d.foresee(ctx, request, earlier)
	return plan, err
}

// foresee returns the plan after what earlier left is cleared away, and what it
// was made from.
func (d *Deployer) foresee(ctx context.Context, request Request, earlier Deployment) (Plan, Observation, error) {
	seen, err := d.Observe(ctx, request)
	if err != nil {
		return Plan{}, seen, err
	}
	for _, w := range seen.Proxy.Warnings {
		d.Report(Event{Time: time.Now(), Kind: Warning, Message: w})
	}
	var clear Plan
	if earlier.Open() && unmoved(earlier, seen) == nil {
		if clear, err = ClearPlan(earlier, seen); err != nil {
			return Plan{}, seen, err
		}
		seen = seen.after(earlier)
	}
	plan, err := MakePlan(request, seen)
	plan.Steps = slices.Concat(clear.Steps, plan.Steps)
	return plan, seen, err
}

// Deploy makes the other color of the service live, or leaves everything as it
// was. It holds the service's lock from the first look to the last write. What
// fails before anything was changed is a *BeforeError or one of planning's
// errors; after that it is a *StepError. A deployment that was interrupted is
// cleared away first.
func (d *Deployer) Deploy(ctx context.Context, request Request) (*Deployment, error) {
	ctx, lock, err := d.lock(ctx, request)
	if err != nil {
		return nil, err
	}
	defer func() { d.release(ctx, lock) }()
	fault.Point("after", "lock")
	earlier, err := d.newest(ctx, request.Service)
	if err != nil {
		return nil, err
	}
	if err := refusePaused(request, earlier); err != nil {
		return nil, err
	}
	seen, err := d.Observe(ctx, request)
	if err != nil {
		return nil, err
	}
	if earlier.Open() {
		if seen, err = d.clear(ctx, request, earlier, seen, lock); err != nil {
			return nil, err
		}
	}
	plan, err := MakePlan(request, seen)
	if err != nil {
		return nil, err
	}
	run := newRun(d, request, plan, seen, lock)
	run.record, run.earlier = begin(request, plan, earlier.ID), earlier.ID
	if plan.Warm {
		run.warm()
	}
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
