package registrator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// parallel bounds the calls to Consul at a time.
const parallel = 8

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
	r.addColors(ctx, &want, actual)
	r.status.counted(len(list), len(want.services))
	err = r.execute(ctx, plan(want, actual, r.host, r.cfg.Cleanup))
	if err == nil || errors.Is(err, errRefused) {
		if unsaid := r.reassure(ctx, want); err == nil {
			err = unsaid
		}
	}
	if lookErr == nil || err != nil && !errors.Is(err, errRefused) {
		return err
	}
	return lookErr
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

// named bounds the refusals that are told one by one.
const named = 10

// summary makes one error of many: after a connection is lost there may be as
// many as there are containers, and they say the same. Refusals are named, in
// an order that does not change.
func summary(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	for _, err := range errs {
		if !refused(err, http.StatusBadRequest) && !scriptsDisabled(err) && !errors.Is(err, errReport) {
			return andMore(err, len(errs)-1)
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	worst := fmt.Errorf("%w: %w", errRefused, errs[0])
	for _, err := range errs[1:min(named, len(errs))] {
		worst = fmt.Errorf("%w; %w", worst, err)
	}
	return andMore(worst, len(errs)-named)
}

func andMore(err error, more int) error {
	if more <= 0 {
		return err
	}
	return fmt.Errorf("%w (and %d more)", err, more)
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
	if s.report != nil {
		return r.applyReport(ctx, o)
	}
	err := r.agent.register(ctx, *s, o.dropCheck)
	r.status.called("register", err)
	if err == nil {
		r.log.Info("registered", "id", s.ID, "name", s.Name, "address", s.Address, "port", s.Port,
			"container", s.Mark.Container, "cause", o.cause)
	}
	return err
}
