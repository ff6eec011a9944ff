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
}

// looker looks at containers, some for longer than one pass.
type looker struct {
	slots   chan struct{}
	running sync.WaitGroup

	mu   sync.Mutex
	busy map[string]bool // by container id: still being looked at
}

func newLooker() *looker {
	return &looker{slots: make(chan struct{}, looks), busy: map[string]bool{}}
}

// begin reports whether the container may be looked at: not when somebody still does.
func (k *looker) begin(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.busy[id] {
		return false
	}
	k.busy[id] = true
	return true
}

func (k *looker) end(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.busy, id)
}

// look returns what Docker says now. A container that could not be looked at, or
// that takes too long, keeps what it has.
func (r *Registrator) look(ctx context.Context, list []listed, from batch, actual map[string]entry) (truth, error) {
	marked := map[string]bool{}
	for _, e := range actual {
		marked[e.Mark.Container] = true
	}
	next := make(map[string]seen, len(list))
	var changed []listed
	for _, l := range list {
		known := r.seen[l.id]
		switch {
		case known.print == l.print && !known.shares && !from.full && !from.containers[l.id]:
			next[l.id] = known
		case l.live() || marked[short(l.id)]: // otherwise it exited, and nothing of it is registered
			changed = append(changed, l)
		}
	}
	kept := map[string]bool{}
	var errs []error
	for _, l := range r.lookAtAll(ctx, changed, from.full) {
		switch {
		case l.err != nil:
			errs, kept[short(l.id)] = append(errs, l.err), true
		case l.seen.print == "":
			kept[short(l.id)] = true
		default:
			next[l.id] = l.seen
		}
	}
	r.seen = next
	return r.merge(list, kept), summary(errs)
}

// lookAtAll looks at containers at the same time. The outcome of one that takes
// too long has no print; as soon as it can be looked at a hint says so. With
// patience every one is waited for.
func (r *Registrator) lookAtAll(ctx context.Context, list []listed, patience bool) []looked {
	g := gathering{outcomes: make(chan looked, len(list)), waiting: map[string]listed{}}
	for _, l := range list {
		if !r.looker.begin(l.id) {
			g.all = append(g.all, looked{listed: l})
			continue
		}
		g.waiting[l.id] = l
		known, host := r.seen[l.id], r.host // later passes change both
		r.looker.running.Go(func() {
			r.looker.slots <- struct{}{}
			s, err := r.lookAt(ctx, l, known, host)
			<-r.looker.slots
			r.looker.end(l.id)
			if !g.deliver(looked{l, s, err}) {
				r.hints.container(l.id)
			}
		})
	}
	if patience {
		return g.collect(0)
	}
	return g.collect(lookWithin)
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

// collect returns an outcome for each container after at most the time given, 0
// for none; those that did not come are without a print.
func (g *gathering) collect(within time.Duration) []looked {
	late, stop := timeout(within)
	defer stop()
	for len(g.waiting) > 0 {
		select {
		case l := <-g.outcomes:
			g.came(l)
		case <-late:
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
		g.all = append(g.all, looked{listed: l})
	}
}

// timeout is time.After that can be stopped, and stays silent when d is 0.
func timeout(d time.Duration) (<-chan time.Time, func()) {
	if d == 0 {
		return nil, func() {}
	}
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
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
