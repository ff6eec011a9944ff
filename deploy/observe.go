package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"bg/color"
	"bg/engine"
	"bg/hint"
	"bg/proxy"
	"bg/registry"
)

// Observation is everything that a plan depends on, as it was at one moment.
type Observation struct {
	Live       color.Live
	Image      string // that a new deployment would run
	Containers map[color.Color][]engine.Container
	Instances  map[color.Color][]registry.Instance
	Proxy      proxy.State
	// Kept says that the containers of the idle color were live once.
	Kept bool
	// PreviousImage is what the idle color ran when it was live last, "" when
	// the history does not know.
	PreviousImage string
	// Target is the deployment that a rollback names, and TargetImage what
	// still brings its image: an id or a digest, "" when nothing does.
	Target      Deployment
	TargetImage string
}

// serves reports whether address is one of color c's: registered for it, or
// published by one of its containers that run.
func (o Observation) serves(c color.Color, address string) bool {
	if slices.ContainsFunc(o.Instances[c], func(i registry.Instance) bool { return i.HostPort() == address }) {
		return true
	}
	host, text, _ := net.SplitHostPort(address)
	port, err := strconv.Atoi(text)
	return err == nil && slices.ContainsFunc(o.Containers[c], func(k engine.Container) bool { return !k.Stopped() && k.Serves(host, port) })
}

// Observe reads KV, the containers, the catalog and nginx.
func (d *Deployer) Observe(ctx context.Context, request Request) (Observation, error) {
	seen := Observation{
		Containers: map[color.Color][]engine.Container{},
		Instances:  map[color.Color][]registry.Instance{},
	}
	// The live color comes first: when it is not known, nothing else matters.
	live, err := d.Colors.Live(ctx, request.Service)
	if err != nil {
		return seen, before(registry.Classify(err))
	}
	seen.Live = live
	ctx, done := context.WithCancel(ctx)
	defer done()
	nginx := d.observeProxy(ctx) // it takes longest
	// And then the Compose file, by the color that is deployed: of two errors at the
	// same time either could be told.
	if seen.Image, err = d.Engine.Image(ctx, d.Source, color.Next(live.Color)); err != nil {
		return seen, before(err)
	}
	var blue, green colorState
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { blue, err = d.observeColor(gctx, color.Blue); return err })
	g.Go(func() (err error) { green, err = d.observeColor(gctx, color.Green); return err })
	err = g.Wait()
	if err == nil {
		err = (<-nginx)(&seen)
	}
	if err != nil {
		return seen, before(err)
	}
	seen.Containers[color.Blue], seen.Instances[color.Blue] = blue.containers, blue.instances
	seen.Containers[color.Green], seen.Instances[color.Green] = green.containers, green.instances
	if request.Rollback {
		err = d.observeHistory(ctx, request.Service, &seen)
	}
	if err == nil && request.Target != "" {
		err = d.observeTarget(ctx, request, &seen)
	}
	return seen, before(err)
}

// observeProxy looks at nginx meanwhile, and sends what puts the answer into an
// observation.
func (d *Deployer) observeProxy(ctx context.Context) <-chan func(*Observation) error {
	answer := make(chan func(*Observation) error, 1)
	go func() {
		state, err := d.Proxy.Observe(ctx)
		answer <- func(seen *Observation) error { seen.Proxy = state; return err }
	}()
	return answer
}

type colorState struct {
	containers []engine.Container
	instances  []registry.Instance
}

func (d *Deployer) observeColor(ctx context.Context, c color.Color) (s colorState, err error) {
	if s.containers, err = d.Engine.List(ctx, d.Source, c); err != nil {
		return s, err
	}
	s.instances, err = d.Catalog.Instances(ctx, d.Source.Catalog(c))
	return s, err
}

// observeHistory finds out what the idle color was when it was live last.
func (d *Deployer) observeHistory(ctx context.Context, service string, seen *Observation) error {
	idle := color.Next(seen.Live.Color)
	kept := seen.Containers[idle]
	// What bg did not start was live under the tool that started it.
	seen.Kept = len(kept) > 0 && kept[0].Deployment == ""
	ids, err := d.Journal.List(ctx, service)
	if err != nil {
		return err
	}
	for _, id := range ids {
		past, err := d.read(ctx, service, id)
		if err != nil {
			return err
		}
		if past.To != idle || !past.Live() {
			continue
		}
		if seen.PreviousImage == "" {
			seen.PreviousImage = past.ImageID
		}
		if len(kept) > 0 && kept[0].Deployment == past.Origin() {
			seen.Kept = true
		}
		break
	}
	return nil
}

// observeTarget finds the deployment that a rollback names, by its id or a part of
// that, and its image.
func (d *Deployer) observeTarget(ctx context.Context, request Request, seen *Observation) (err error) {
	ids, err := d.Journal.List(ctx, request.Service)
	if err != nil {
		return err
	}
	id, err := named(ids, request.Service, request.Target)
	if errors.Is(err, ErrNoDeployment) {
		return hint.Wrap(fmt.Errorf("%w: %s has no deployment %s", ErrNothingKept, request.Service, request.Target), hint.Of(err))
	}
	if err != nil {
		return err
	}
	if seen.Target, err = d.read(ctx, request.Service, id); err != nil {
		return err
	}
	if seen.Target.Digest == "" && seen.Target.Restart != "" {
		origin, err := d.read(ctx, request.Service, seen.Target.Restart)
		if err != nil {
			return err
		}
		seen.Target.Digest = origin.Digest
	}
	have := false
	if seen.Target.ImageID != "" {
		have, err = d.Engine.HasImage(ctx, seen.Target.ImageID)
	}
	if seen.TargetImage = seen.Target.Digest; have {
		seen.TargetImage = seen.Target.ImageID
	}
	return err
}

// read returns one past deployment.
func (d *Deployer) read(ctx context.Context, service, id string) (Deployment, error) {
	var past Deployment
	document, err := d.Journal.Read(ctx, service, id)
	if err != nil || document == nil {
		return past, err
	}
	if err := json.Unmarshal(document, &past); err != nil {
		return past, fmt.Errorf("read deployment %s: %w", id, err)
	}
	return past, nil
}

// HalfwayError is an error after which something stays changed that is neither
// finished nor undone. Whatever was asked for can be asked for again.
type HalfwayError struct{ Err error }

func (e *HalfwayError) Error() string { return e.Err.Error() }

// Unwrap returns the error itself.
func (e *HalfwayError) Unwrap() error { return e.Err }

// halfway makes a *HalfwayError of err, which may be nil.
func halfway(err error) error {
	if err == nil {
		return nil
	}
	return &HalfwayError{Err: err}
}

// BeforeError is an error that came before anything was changed.
type BeforeError struct{ Err error }

func (e *BeforeError) Error() string { return e.Err.Error() }

// Unwrap returns what went wrong.
func (e *BeforeError) Unwrap() error { return e.Err }

func before(err error) error {
	if err == nil || errors.As(err, new(*BeforeError)) {
		return err
	}
	return &BeforeError{Err: err}
}
