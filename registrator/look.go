package registrator

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// looks bounds the containers that are looked at at a time.
	looks = 32
	// lookWithin bounds how long a pass waits for them. Docker answers for a
	// container that it is just starting or stopping only when it has done so,
	// which must not hold up the others.
	lookWithin = 150 * time.Millisecond
)

// seen is what is remembered of a container between passes, so that only what
// changed is looked at again.
type seen struct {
	print    string // "" forces another look
	services []Service
	failed   bool   // it exited with a failure of its own
	shares   bool   // its address depends on another container
	dropped  string // what was said about settings that were left out
}

// looked is the outcome of looking at one container.
type looked struct {
	listed
	seen seen
	err  error
	late bool // it takes longer than the pass waits
}

// look returns what Docker says now. A container that takes too long, or that could
// not be looked at, keeps what it has.
func (r *Registrator) look(ctx context.Context, list []listed, from batch, actual map[string]entry) (truth, error) {
	late := r.takeLate()
	marked := map[string]bool{}
	for _, e := range actual {
		marked[e.Mark.Container] = true
	}
	next := make(map[string]seen, len(list))
	var changed []listed
	for _, l := range list {
		known := r.seen[l.id]
		switch {
		case known.print == l.print && (late[l.id] || !known.shares) && !from.asks(l.id):
			next[l.id] = known
		case l.live() || marked[short(l.id)]: // otherwise it exited, and nothing of it is registered
			changed = append(changed, l)
		}
	}
	kept, unseen := map[string]bool{}, map[string]bool{}
	var errs []error
	for _, l := range r.lookAtAll(ctx, changed, from) {
		switch known := r.seen[l.id]; {
		case l.err != nil:
			errs, kept[short(l.id)] = append(errs, l.err), true
		case l.late:
			kept[short(l.id)] = true
			if known.print == l.print {
				next[l.id] = known // until there is news, it holds
			}
			if from.full || r.unseen[l.id] {
				unseen[l.id] = true
			}
		default:
			next[l.id] = l.seen
		}
	}
	r.seen, r.unseen = next, unseen
	return r.merge(list, kept), summary(errs)
}

// takeLate adds the outcomes that came since the last pass to what is known, and
// returns whose they are. A look that failed counts as one for the health: while
// Docker is busy with a container for many seconds, the others are in step.
func (r *Registrator) takeLate() map[string]bool {
	came := map[string]bool{}
	for id, l := range r.looker.takeLate() {
		delete(r.unseen, id)
		if l.err == nil {
			r.seen[id], came[id] = l.seen, true
		}
	}
	return came
}

// lookAtAll looks at containers at the same time. The outcome of one that takes too
// long is late; the pass that a hint asks for then takes it.
func (r *Registrator) lookAtAll(ctx context.Context, list []listed, from batch) []looked {
	g := gathering{outcomes: make(chan looked, len(list)), waiting: map[string]listed{}}
	for _, l := range list {
		if !r.looker.begin(l, from.asks(l.id)) {
			g.all = append(g.all, looked{listed: l, late: true})
			continue
		}
		g.waiting[l.id] = l
		known, host := r.seen[l.id], r.host // later passes change both
		r.looker.running.Go(func() {
			r.looker.slots <- struct{}{}
			s, err := r.lookAt(ctx, l, known, host)
			<-r.looker.slots
			r.finished(ctx, looked{listed: l, seen: s, err: err}, &g)
		})
	}
	return g.collect(lookWithin)
}

// finished hands the outcome of a look to the pass that began it, or leaves it for
// the next one.
func (r *Registrator) finished(ctx context.Context, l looked, g *gathering) {
	late := !g.deliver(l)
	again := r.looker.end(l, late)
	if late && l.err != nil && ctx.Err() == nil {
		r.status.called("look", l.err)
		r.log.Warn("not looked at; trying again", "container", short(l.id), "error", l.err)
		again = true
	}
	switch {
	case again:
		r.hints.container(l.id)
	case late:
		r.hints.some()
	}
}

// gathering collects the outcomes that come in time.
type gathering struct {
	outcomes chan looked // has room for all
	waiting  map[string]listed
	all      []looked

	mu   sync.Mutex
	over bool
}

// deliver hands an outcome over and reports false when it is too late.
func (g *gathering) deliver(l looked) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.over {
		g.outcomes <- l
	}
	return !g.over
}

// collect returns an outcome for each container after at most the time given.
func (g *gathering) collect(within time.Duration) []looked {
	late := time.NewTimer(within)
	defer late.Stop()
	for len(g.waiting) > 0 {
		select {
		case l := <-g.outcomes:
			g.came(l)
		case <-late.C:
			g.finish()
			return g.all
		}
	}
	return g.all
}

func (g *gathering) came(l looked) {
	delete(g.waiting, l.id)
	g.all = append(g.all, l)
}

func (g *gathering) finish() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
	for len(g.outcomes) > 0 {
		g.came(<-g.outcomes)
	}
	for _, l := range g.waiting {
		g.all = append(g.all, looked{listed: l, late: true})
	}
}

// lookAt inspects one container. One that is gone or does not run has no services.
func (r *Registrator) lookAt(ctx context.Context, l listed, known seen, host Host) (seen, error) {
	s, found, err := r.engine.inspect(ctx, l.id)
	if err != nil {
		return seen{}, err
	}
	if !found || !s.running {
		return seen{print: l.print, failed: found && s.failed()}, nil
	}
	services, dropped := servicesOf(s.Container, r.cfg, host)
	said := fmt.Sprint(dropped)
	if len(dropped) > 0 && said != known.dropped {
		r.log.Warn("settings left out", "container", s.Name, "dropped", dropped)
	}
	return seen{print: l.print, services: services, shares: s.sharesNetwork(), dropped: said}, nil
}

// merge puts the services of all containers together. When two claim one id, as
// two SERVICE_IDs may, the younger container has it.
func (r *Registrator) merge(list []listed, kept map[string]bool) truth {
	t := truth{services: map[string]Service{}, kept: kept, complete: len(kept) == 0}
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
