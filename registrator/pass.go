package registrator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"golang.org/x/sync/errgroup"
)

// parallel bounds the requests to one daemon at a time.
const parallel = 8

// seen is what is remembered of a container between passes, so that only what
// changed is looked at again.
type seen struct {
	print    string // "" forces another look
	services []Service
	failed   bool   // it exited with a failure of its own
	shares   bool   // its address depends on another container
	dropped  string // what was said about settings that were left out
}

// pass looks at what the list or a hint says has changed, compares the outcome
// with Consul and makes the difference up. It does what it can and returns all
// errors: the next pass does the rest.
func (r *Registrator) pass(ctx context.Context, from batch) error {
	if from.full {
		if err := r.locate(ctx); err != nil {
			return err
		}
	}
	actual, err := r.agent.entries(ctx)
	if err != nil {
		return err
	}
	list, err := r.engine.list(ctx, r.cfg.Deregister == OnSuccess)
	if err != nil {
		return err
	}
	want, lookErr := r.look(ctx, list, from, actual)
	r.status.counted(len(list), len(want.services))
	if err := r.execute(ctx, plan(want, actual, r.host, r.cfg.Cleanup)); lookErr == nil || err != nil && !errors.Is(err, errRefused) {
		return err
	}
	return lookErr
}

// look returns what Docker says now. A container that could not be looked at
// keeps what it has.
func (r *Registrator) look(ctx context.Context, list []listed, from batch, actual map[string]entry) (truth, error) {
	marked := map[string]bool{}
	for _, e := range actual {
		marked[e.Mark.Container] = true
	}
	var mu sync.Mutex
	var errs []error
	next := make(map[string]seen, len(list))
	kept := map[string]bool{}
	g := errgroup.Group{}
	g.SetLimit(parallel)
	for _, l := range list {
		known := r.seen[l.id]
		if known.print == l.print && !known.shares && !from.full && !from.containers[l.id] {
			mu.Lock()
			next[l.id] = known
			mu.Unlock()
			continue
		}
		if !l.live() && !marked[short(l.id)] {
			continue // it exited, and nothing of it is registered
		}
		g.Go(func() error {
			s, err := r.lookAt(ctx, l, known)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs, kept[short(l.id)] = append(errs, err), true
				return nil
			}
			next[l.id] = s
			return nil
		})
	}
	_ = g.Wait() // the functions collect their errors
	r.seen = next
	return r.merge(list, kept, len(errs) == 0), summary(errs)
}

// lookAt inspects one container. One that is gone or does not run has no services.
func (r *Registrator) lookAt(ctx context.Context, l listed, known seen) (seen, error) {
	s, found, err := r.engine.inspect(ctx, l.id)
	if err != nil {
		return seen{}, err
	}
	if !found || !s.running {
		return seen{print: l.print, failed: found && s.failed()}, nil
	}
	services, dropped := servicesOf(s.Container, r.cfg, r.host)
	said := fmt.Sprint(dropped)
	if len(dropped) > 0 && said != known.dropped {
		r.log.Warn("settings left out", "container", s.Name, "dropped", dropped)
	}
	return seen{print: l.print, services: services, shares: s.sharesNetwork(), dropped: said}, nil
}

// merge puts the services of all containers together. When two claim one id, as
// two SERVICE_IDs may, the younger container has it.
func (r *Registrator) merge(list []listed, kept map[string]bool, complete bool) truth {
	t := truth{services: map[string]Service{}, kept: kept, complete: complete}
	// Docker lists the youngest first, but the order is not promised.
	owner := map[string]listed{}
	for _, l := range list {
		s := r.seen[l.id]
		if s.failed && r.cfg.Deregister == OnSuccess {
			t.kept[short(l.id)] = true
		}
		for _, service := range s.services {
			if other, taken := owner[service.ID]; taken && younger(other, l) {
				continue
			}
			owner[service.ID], t.services[service.ID] = l, service
		}
	}
	return t
}

func younger(a, b listed) bool {
	if a.created.Equal(b.created) {
		return a.id > b.id
	}
	return a.created.After(b.created)
}

// execute makes the calls, registrations before deregistrations. What is under
// way when ctx ends is finished.
func (r *Registrator) execute(ctx context.Context, ops []op) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), callTimeout, errSlow)
	defer cancel()
	var mu sync.Mutex
	var errs []error
	run := func(registrations bool) {
		g := errgroup.Group{}
		g.SetLimit(parallel)
		for _, o := range ops {
			if (o.service != nil) != registrations {
				continue
			}
			g.Go(func() error {
				if err := r.apply(ctx, o); err != nil {
					mu.Lock()
					defer mu.Unlock()
					errs = append(errs, err)
				}
				return nil
			})
		}
		_ = g.Wait() // the functions collect their errors
	}
	run(true)
	run(false)
	return summary(errs)
}

// errRefused is returned when all that failed is what Consul finds wrong with
// single services: their owners have to mend them, the rest is in step.
var errRefused = errors.New("refused by Consul")

// summary makes one error of many: after a connection is lost there may be as
// many as there are containers, and they say the same.
func summary(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	worst := errs[0]
	allRefused := true
	for _, err := range errs {
		if !refused(err, http.StatusBadRequest) && !scriptsDisabled(err) {
			worst, allRefused = err, false
			break
		}
	}
	if allRefused {
		worst = fmt.Errorf("%w: %w", errRefused, worst)
	}
	if len(errs) > 1 {
		return fmt.Errorf("%w (and %d more)", worst, len(errs)-1)
	}
	return worst
}

// apply makes one call.
func (r *Registrator) apply(ctx context.Context, o op) error {
	if o.service == nil {
		err := r.agent.deregister(ctx, o.id)
		r.status.called("deregister", err)
		if err == nil {
			r.log.Info("deregistered", "id", o.id, "cause", o.cause)
		}
		return err
	}
	s := o.service
	err := r.agent.register(ctx, *s, o.dropCheck)
	r.status.called("register", err)
	if err == nil {
		r.log.Info("registered", "id", s.ID, "name", s.Name, "address", s.Address, "port", s.Port,
			"container", s.Mark.Container, "cause", o.cause)
	}
	return err
}
