// Package registrator registers the ports of this host's containers in Consul.
//
// It keeps to the contract of Registrator, which docs/registrator.md writes
// down, and differs in how it gets there: an event only hints that something
// happened. The truth is Docker's list of containers; each pass compares it with
// the services that Consul's agent has and makes the difference up.
package registrator

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/docker/docker/client"
	"github.com/hashicorp/consul/api"
	"golang.org/x/sync/errgroup"

	"bg/hint"
)

const (
	// settle is how long the first hint of a burst waits for others.
	settle = 30 * time.Millisecond
	// auditEvery is between two comparisons when nothing happens. It finds what
	// others changed in Consul, and what an event that was lost would have told.
	auditEvery = 15 * time.Second
	// firstRetry doubles with each failure up to lastRetry.
	firstRetry = 200 * time.Millisecond
	lastRetry  = 15 * time.Second
	// reconnectWithin bounds the time between two attempts to reach a daemon
	// that went away.
	reconnectWithin = 2 * time.Second
	// holdFor is how long Consul is asked to keep the request open that tells
	// when it goes away.
	holdFor = time.Minute
)

// Registrator keeps Consul's agent in step with a Docker daemon.
type Registrator struct {
	cfg    Config
	engine engine
	agent  agent
	log    *slog.Logger

	host   Host
	hints  *hints
	looker *looker
	colors *colors
	status *status

	// These belong to the goroutine that runs passes.
	seen      map[string]seen // by container id
	unseen    map[string]bool // by container id: not looked at since a full look was asked for
	complaint string          // what the last pass failed with
	reported  time.Time       // when Consul last heard that the reports still hold
}

// New returns a registrator, or an error that wraps ErrConfig.
func New(cfg Config, docker *client.Client, consul *api.Client, log *slog.Logger) (*Registrator, error) {
	if cfg.Deregister == "" {
		cfg.Deregister = Always
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	hints := newHints()
	return &Registrator{
		cfg: cfg, engine: engine{docker}, agent: agent{consul}, log: log, hints: hints, looker: newLooker(),
		colors: newColors(consul, log, hints.some), seen: map[string]seen{}, status: newStatus(),
	}, nil
}

// Run registers until ctx is canceled, and returns nil then: the services stay
// registered, since their containers go on. It returns ErrConsul when Consul
// cannot be reached within the configured attempts and ErrDocker when the daemon
// cannot be reached at the start; later both are waited for.
func (r *Registrator) Run(ctx context.Context) error {
	if err := r.prepare(ctx); err != nil {
		select {
		case <-ctx.Done():
			return nil // whoever ends it before it began asks for no reason
		default:
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { r.watchDocker(ctx); return nil })
	g.Go(func() error { r.watchConsul(ctx); return nil })
	g.Go(func() error { r.reconcile(ctx); return nil })
	g.Go(func() error { return r.serve(ctx) })
	err := g.Wait()
	r.looker.running.Wait()
	r.colors.running.Wait()
	r.log.Info("registrator stopped; services stay registered", "services", r.status.services())
	return err
}

// prepare waits for Consul and finds out where the registrator runs.
func (r *Registrator) prepare(ctx context.Context) error {
	if err := r.reachConsul(ctx); err != nil {
		return err
	}
	return r.identify(ctx)
}

// reachConsul asks Consul for its leader, as often as -retry-attempts says. It
// returns ctx's error when that ended first.
func (r *Registrator) reachConsul(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		err := r.agent.ping(ctx)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if attempt == r.cfg.RetryAttempts {
			return hint.Wrap(err, "check the registry URI (consul://host:port), or wait for it with -retry-attempts -1")
		}
		r.log.Warn("waiting for Consul", "attempt", attempt+1, "of", r.cfg.RetryAttempts, "error", err)
		pause(ctx, r.cfg.RetryInterval)
	}
}

// identify finds out the names under which services are registered and marked.
func (r *Registrator) identify(ctx context.Context) error {
	engine, machine, err := r.engine.host(ctx)
	if err != nil {
		return hint.Wrap(err, "start Docker, or mount /var/run/docker.sock into the registrator's container")
	}
	r.host.Engine, r.host.Name = engine, r.cfg.Hostname
	if r.host.Name == "" {
		if r.host.Name, err = os.Hostname(); err != nil {
			return fmt.Errorf("read the host name: %w", err)
		}
		// In a container without a host name of its own it is the container's id,
		// which is another one after each update: services would appear twice.
		if _, container, err := r.engine.inspect(ctx, r.host.Name); err == nil && container {
			r.log.Info("service ids begin with the Docker host's name instead of this container's id", "hostname", machine)
			r.host.Name = machine
		}
	}
	if err := r.locate(ctx); err != nil {
		return err
	}
	r.log.Info("registrator started", "hostname", r.host.Name, "engine", engine, "internal", r.cfg.Internal, "cleanup", r.cfg.Cleanup)
	return nil
}

// locate finds the address of published ports, unless it is given.
func (r *Registrator) locate(ctx context.Context) error {
	if r.cfg.IP != "" {
		return nil
	}
	address, source, err := r.engine.address(ctx, r.host.Name)
	if err != nil {
		return err
	}
	if address != r.host.Address {
		r.log.Info("published ports are registered with this address; -ip sets another", "address", address, "source", source)
	}
	r.host.Address = address
	return nil
}

// reconcile runs passes until ctx ends: after hints, after failures, and now
// and then.
func (r *Registrator) reconcile(ctx context.Context) {
	audit := time.NewTicker(auditEvery)
	defer audit.Stop()
	resync, stopResync := ticker(r.cfg.Resync)
	defer stopResync()
	refresh, stopRefresh := ticker(r.cfg.TTLRefresh)
	defer stopRefresh()
	retry := backoff{}
	for ctx.Err() == nil {
		var trigger string
		select {
		case <-ctx.Done():
			return
		case <-r.hints.wake:
			trigger = "hint"
			pause(ctx, settle)
		case <-retry.due():
			trigger = "retry"
		case <-audit.C:
			trigger = "audit"
		case <-refresh:
			trigger = "refresh"
		case <-resync:
			trigger = "resync"
			r.hints.all()
		}
		if err := r.tryPass(ctx, trigger); err != nil {
			retry.failed()
		} else {
			retry.succeeded()
		}
	}
}

// tryPass runs one pass and reports how it went. How one went that was
// interrupted says nothing: then it returns ctx's error.
func (r *Registrator) tryPass(ctx context.Context, trigger string) error {
	taken := r.hints.take()
	start := time.Now()
	err := r.pass(ctx, taken)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.status.passed(trigger, taken, time.Since(start), len(r.unseen) == 0 && !r.hints.fullAsked(), err)
	if err != nil {
		r.hints.giveBack(taken)
	}
	r.complain(trigger, err)
	return err
}

// complain logs err, unless the last pass already failed with it and this one
// only ran because of some other container.
func (r *Registrator) complain(trigger string, err error) {
	last := r.complaint
	r.complaint = ""
	if err == nil {
		return
	}
	r.complaint = err.Error()
	if r.complaint != last || trigger != "hint" {
		r.log.Warn("not in step with Docker; retrying", "trigger", trigger, "error", err, "hint", hint.Of(err))
	}
}

// watchDocker hands Docker's events on as hints. When the stream ends, some may
// have been lost: after each connection everything is looked at.
func (r *Registrator) watchDocker(ctx context.Context) {
	retry := backoff{limit: reconnectWithin}
	for ctx.Err() == nil {
		err := r.engine.watch(ctx, func() {
			r.connection("docker", nil)
			retry.succeeded()
			r.hints.all()
		}, func(id string) {
			r.status.event()
			r.hints.container(id)
		})
		if ctx.Err() != nil {
			return
		}
		r.connection("docker", err)
		pause(ctx, retry.failed())
	}
}

// watchConsul notices when the agent goes away and comes back, perhaps without
// what was registered.
func (r *Registrator) watchConsul(ctx context.Context) {
	retry := backoff{limit: reconnectWithin}
	wait := time.Millisecond // the first answer comes at once
	for ctx.Err() == nil {
		err := r.agent.hold(ctx, wait)
		if ctx.Err() != nil {
			return
		}
		if r.connection("consul", err) && err == nil {
			r.hints.some()
		}
		wait = holdFor
		if err != nil {
			wait = time.Millisecond
			pause(ctx, retry.failed())
		} else {
			retry.succeeded()
		}
	}
}

// connection notes whether a daemon can be reached, says so when that changed
// and reports whether it did.
func (r *Registrator) connection(daemon string, err error) bool {
	changed := r.status.connected(daemon, err == nil)
	switch {
	case changed && err == nil:
		r.log.Info("connected", "to", daemon)
	case changed:
		r.log.Warn("connection lost; trying again", "to", daemon, "error", err)
	}
	return changed
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// ticker is time.NewTicker, with a channel that stays silent when d is 0.
func ticker(d time.Duration) (<-chan time.Time, func()) {
	if d == 0 {
		return nil, func() {}
	}
	t := time.NewTicker(d)
	return t.C, t.Stop
}

// backoff counts failures and says how long to wait. Its zero value is ready.
type backoff struct {
	limit time.Duration // 0: lastRetry
	delay time.Duration
	timer <-chan time.Time
}

func (b *backoff) failed() time.Duration {
	limit := b.limit
	if limit == 0 {
		limit = lastRetry
	}
	b.delay = min(max(2*b.delay, firstRetry), limit)
	b.timer = time.After(b.delay)
	return b.delay
}

func (b *backoff) succeeded() { b.delay, b.timer = 0, nil }

// due returns a channel that delivers when it is time to try again, never when
// nothing failed.
func (b *backoff) due() <-chan time.Time { return b.timer }
