package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bg/color"
	"bg/engine"
	"bg/hint"
)

// ErrUnfinished says that the newest deployment has not ended, so that what is there may
// still be needed.
var ErrUnfinished = errors.New("a deployment is unfinished")

// Store is what a sweep finds and removes on the Engine.
type Store interface {
	Owned(ctx context.Context, src engine.Source) ([]engine.Container, error)
	Images(ctx context.Context) ([]engine.Image, error)
	RemoveImage(ctx context.Context, i engine.Image) error
}

// Histories reads the journals of all services.
type Histories interface {
	Documents
	Services(ctx context.Context) ([]string, error)
}

// Sweeper removes what no rollback of a service needs.
type Sweeper struct {
	*Deployer
	Store     Store
	Histories Histories
}

// Attic is what a sweep depends on, as it was at one moment.
type Attic struct {
	Observation
	Now     time.Time
	History []Deployment       // of the service, the newest first
	Owned   []engine.Container // that bg made for the service
	Images  []engine.Image     // all of the Engine
	Foreign map[string]string  // the images that another service's history has, and that service
}

// Sweep is what is to be stopped and removed.
type Sweep struct {
	Service    string             `json:"service"`
	Stop       []string           `json:"stop"`       // containers that were warm long enough
	Containers []string           `json:"containers"` // to remove
	Images     []string           `json:"images"`     // to remove, by name or else by id
	Kept       []string           `json:"kept"`       // what stays though its time is over, each with its reason
	stop       []engine.Container // of idle
	idle       color.Color
	remove     []engine.Container
	images     []engine.Image
}

// Sweep removes what no rollback to one of the newest keep versions needs, and
// stops the old color when it was warm long enough. With dry it only says so. It
// holds the service's lock, because a deployment starts what it would remove.
func (s *Sweeper) Sweep(ctx context.Context, request Request, keep int, dry bool) (Sweep, error) {
	ctx, lock, err := s.lock(ctx, request)
	if err != nil {
		return Sweep{}, err
	}
	defer func() { s.release(ctx, lock) }()
	attic, err := s.look(ctx, request)
	if err != nil {
		return Sweep{}, err
	}
	sweep, err := MakeSweep(request.Service, keep, attic)
	if err != nil || dry {
		return sweep, err
	}
	if len(sweep.stop) > 0 {
		if err := s.leave(ctx, request, attic.Observation); err != nil {
			return sweep, halfway(fmt.Errorf("before %s stops: %w", names(sweep.stop), err))
		}
	}
	return sweep, halfway(s.execute(ctx, sweep))
}

// leave sees to it that nginx sends to the live color and that no request is left
// at the other one. That nginx's files say so is not enough: whoever wrote them
// may have been killed before nginx read them.
func (s *Sweeper) leave(ctx context.Context, request Request, seen Observation) error {
	live, idle := seen.Live.Color, color.Next(seen.Live.Color)
	m := matching(seen.Containers[live], seen.Instances[live])
	if len(m.missing) > 0 { // nginx would lose what may be registered soon
		return hint.Wrap(fmt.Errorf("%w: %s is live: %s", ErrInconsistent, live, m.lack()), "bg repair "+request.Service)
	}
	run := newRun(s.Deployer, request, Plan{Service: request.Service, From: idle, To: live}, seen, nil)
	run.record = &Deployment{Service: request.Service, From: idle, To: live}
	if _, err := run.switchTo(ctx, Step{Verb: Switch, Color: live}); err != nil {
		return err
	}
	_, err := run.drain(ctx, Step{Verb: Drain, Color: idle})
	return err
}

// look observes all that a sweep depends on.
func (s *Sweeper) look(ctx context.Context, request Request) (a Attic, err error) {
	a.Now = time.Now()
	if a.Observation, err = s.Observe(ctx, request); err != nil {
		return a, err
	}
	if a.History, err = History(ctx, s.Histories, request.Service); err != nil {
		return a, err
	}
	if a.Owned, err = s.Store.Owned(ctx, s.Source); err != nil {
		return a, err
	}
	if a.Images, err = s.Store.Images(ctx); err != nil {
		return a, err
	}
	a.Foreign, err = s.foreign(ctx, request.Service)
	return a, err
}

// foreign returns the images that the histories of other services name.
func (s *Sweeper) foreign(ctx context.Context, service string) (map[string]string, error) {
	services, err := s.Histories.Services(ctx)
	if err != nil {
		return nil, err
	}
	images := map[string]string{}
	for _, other := range services {
		if other == service {
			continue
		}
		list, err := History(ctx, s.Histories, other)
		if err != nil {
			return nil, err
		}
		for _, d := range list {
			images[d.ImageID] = other
		}
	}
	return images, nil
}

// MakeSweep decides what is stopped and removed. It is a pure function.
func MakeSweep(service string, keep int, a Attic) (Sweep, error) {
	s := Sweep{Service: service, Stop: []string{}, Containers: []string{}, Images: []string{}, Kept: []string{}, idle: color.Next(a.Live.Color)}
	if len(a.History) == 0 {
		return s, nil
	}
	if newest := a.History[0]; newest.Open() {
		return s, hint.Wrap(fmt.Errorf("%w: %s is %s", ErrUnfinished, newest.ID, newest.Outcome), "end it first: bg resume "+service+", or bg abort "+service)
	}
	if a.Live.Color == color.None {
		return s, nil
	}
	s.cool(a)
	s.discard(a)
	s.forget(keep, a)
	return s, nil
}

// lastLive returns the newest deployment that made c live, nil when none is
// remembered.
func (a Attic) lastLive(c color.Color) *Deployment {
	i := slices.IndexFunc(a.History, func(d Deployment) bool { return d.Outcome == Done && d.To == c })
	if i < 0 {
		return nil
	}
	return &a.History[i]
}

// cool stops the old color when it was warm long enough and nothing sends to it.
func (s *Sweep) cool(a Attic) {
	running := slices.DeleteFunc(slices.Clone(a.Containers[s.idle]), engine.Container.Stopped)
	switched, old := a.lastLive(a.Live.Color), a.lastLive(s.idle)
	if len(running) == 0 || switched == nil || old == nil || running[0].Deployment != old.Origin() {
		return // not what was live before the newest switch
	}
	switch {
	case switched.WarmUntil != nil && a.Now.Before(*switched.WarmUntil):
		s.Kept = append(s.Kept, fmt.Sprintf("%s: warm until %s", names(running), switched.WarmUntil.Format(time.RFC3339)))
	case slices.ContainsFunc(a.Proxy.Upstreams, func(address string) bool { return a.serves(s.idle, address) }):
		s.Kept = append(s.Kept, fmt.Sprintf("%s: nginx sends to it", names(running)))
	case len(a.Proxy.Leaving) > 0:
		s.Kept = append(s.Kept, fmt.Sprintf("%s: old nginx workers may still have requests there", names(running)))
	default:
		s.stop = running
		s.Stop = append(s.Stop, each(running)...)
	}
}

// discard removes stopped containers that no rollback starts again. What is live is
// what Consul KV says: the history may not know its deployment any more.
func (s *Sweep) discard(a Attic) {
	needed := map[string]bool{}
	for _, c := range []color.Color{color.Blue, color.Green} {
		if d := a.lastLive(c); d != nil {
			needed[d.Origin()] = true
		}
	}
	for _, c := range a.Owned {
		same := func(other engine.Container) bool { return other.ID == c.ID }
		live, kept := slices.ContainsFunc(a.Containers[a.Live.Color], same), slices.ContainsFunc(a.Containers[s.idle], same)
		if !c.Stopped() || needed[c.Deployment] || live || kept && a.doubtful(c) {
			continue
		}
		s.remove = append(s.remove, c)
	}
	s.Containers = append(s.Containers, each(s.remove)...)
}

// doubtful reports whether c, of the idle color, may be what was live last there:
// nothing newer was, and the history does not say that its deployment was undone.
func (a Attic) doubtful(c engine.Container) bool {
	if old := a.lastLive(color.Next(a.Live.Color)); old != nil && c.Deployment < old.ID {
		return false
	}
	return !slices.ContainsFunc(a.History, func(d Deployment) bool {
		return d.ID == c.Deployment && (d.Outcome == Failed || d.Outcome == Aborted)
	})
}

// forget removes the images of deployments that are older than the newest keep
// versions. One that anything else may need stays.
func (s *Sweep) forget(keep int, a Attic) {
	young, old := split(a.History, keep)
	needed, candidates := map[string]bool{}, map[string]bool{}
	for _, d := range young {
		needed[d.ImageID] = true
	}
	var own []string // the names by which this service deployed
	for _, d := range a.History {
		own = append(own, engine.FullName(d.Image))
	}
	for _, d := range old {
		candidates[d.ImageID] = d.ImageID != "" && !needed[d.ImageID]
	}
	for _, i := range a.Images {
		if !candidates[i.ID] {
			continue
		}
		if reason := s.inUse(i, a, own); reason != "" {
			s.Kept = append(s.Kept, fmt.Sprintf("image %s: %s", label(i), reason))
			continue
		}
		s.images = append(s.images, i)
		s.Images = append(s.Images, label(i))
	}
}

// split divides a history where the newest keep versions that were live end.
func split(history []Deployment, keep int) (young, old []Deployment) {
	versions := map[string]bool{}
	for i, d := range history {
		if d.Outcome != Done || versions[d.ImageID] {
			continue
		}
		if len(versions) == keep {
			return history[:i], history[i:]
		}
		versions[d.ImageID] = true
	}
	return history, nil
}

// inUse returns why an image has to stay, "" when nothing needs it.
func (s *Sweep) inUse(i engine.Image, a Attic, own []string) string {
	if other, shared := a.Foreign[i.ID]; shared {
		return "service " + other + " deployed it too"
	}
	for _, user := range i.UsedBy {
		if !slices.ContainsFunc(s.remove, func(c engine.Container) bool { return c.ID == user }) {
			return fmt.Sprintf("container %.12s uses it", user)
		}
	}
	for _, name := range i.Names {
		if !slices.Contains(own, name) {
			return "it is also called " + name
		}
	}
	for _, digest := range i.Digests {
		if !slices.ContainsFunc(own, func(name string) bool { return engine.Repository(name) == engine.Repository(digest) }) {
			return "it is also " + digest
		}
	}
	return ""
}

// execute stops and removes.
func (s *Sweeper) execute(ctx context.Context, sweep Sweep) error {
	if len(sweep.stop) > 0 {
		if _, err := s.Engine.Stop(ctx, sweep.stop, s.Settings.StopTimeout); err != nil {
			return err
		}
		if err := (&run{Deployer: s.Deployer}).waitGone(ctx, sweep.idle, sweep.stop); err != nil {
			return err
		}
	}
	if err := s.Engine.Remove(ctx, sweep.remove); err != nil {
		return err
	}
	for _, i := range sweep.images {
		if err := s.Store.RemoveImage(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

func each(list []engine.Container) []string {
	all := make([]string, 0, len(list))
	for _, c := range list {
		all = append(all, c.Name)
	}
	return all
}

// label is what a person calls an image.
func label(i engine.Image) string {
	if len(i.Names) > 0 {
		return strings.Join(i.Names, ", ")
	}
	return fmt.Sprintf("%.19s", i.ID)
}

// Text returns the sweep for a person to read; dry says that it was only planned.
func (s Sweep) Text(dry bool) string {
	stopped, removed := "stopped", "removed"
	if dry {
		stopped, removed = "would stop", "would remove"
	}
	var b strings.Builder
	for _, name := range s.Stop {
		fmt.Fprintf(&b, "%s %s: it was warm long enough\n", stopped, name)
	}
	for _, name := range s.Containers {
		fmt.Fprintf(&b, "%s container %s\n", removed, name)
	}
	for _, name := range s.Images {
		fmt.Fprintf(&b, "%s image %s\n", removed, name)
	}
	for _, reason := range s.Kept {
		fmt.Fprintf(&b, "kept %s\n", reason)
	}
	if b.Len() == 0 {
		return s.Service + ": nothing to remove\n"
	}
	return b.String()
}
