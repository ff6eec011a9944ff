package deploy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"bg/color"
	"bg/engine"
	"bg/hint"
)

// The errors of recovery's plans. Nothing has been changed.
var (
	// ErrNothingOpen: there is no deployment to go on with.
	ErrNothingOpen = errors.New("no deployment is paused or interrupted")
	// ErrOtherDeployment: the newest deployment is not the one that was named.
	ErrOtherDeployment = errors.New("another deployment is the newest")
	// ErrOver: the deployment can only be undone, or cannot be undone any more.
	ErrOver = errors.New("the deployment is past that")
)

// AbortPlan returns the steps that undo d, which is open and not live, given
// what was observed. It is a pure function. What nginx runs with is not told by
// its files: somebody may have been killed between writing and reloading. So
// whenever a switch was begun, nginx is made to switch back, and the new color
// goes only after the last worker that may send to it.
func AbortPlan(d Deployment, seen Observation) (Plan, error) {
	p := Plan{Service: d.Service, From: d.From, To: d.To, Image: d.Image, Restart: d.Kept}
	if d.Live() {
		return Plan{}, hint.Wrap(fmt.Errorf("%w: %s is live since the commit of %s", ErrOver, d.To, d.ID),
			fmt.Sprintf("bg resume %s finishes it; bg rollback %s goes back to %s", d.Service, d.Service, d.From))
	}
	if err := unmoved(d, seen); err != nil {
		return Plan{}, err
	}
	if d.switching() {
		cause, err := backCause(d, seen)
		if err != nil {
			return Plan{}, err
		}
		p.add(Switch, p.From, cause)
	}
	switch {
	case !d.begun(Start): // what was warm before stays so
	case d.Kept:
		p.add(Stop, p.To, "it was started again; its containers are kept")
	default:
		p.add(Remove, p.To, fmt.Sprintf("%s made it, and it never was live", d.ID))
	}
	return p, nil
}

// backCause says with what nginx is switched back.
func backCause(d Deployment, seen Observation) (string, error) {
	switch {
	case d.From == color.None && d.Before == nil:
		return "", hint.Wrap(fmt.Errorf("%w: %s does not know what nginx's files were before", ErrInconsistent, d.ID),
			"remove the service's files from nginx, reload it, stop "+d.To.String()+", and deploy again")
	case d.From == color.None:
		return "nginx gets the files back that it had before the first deployment", nil
	case d.Before == nil:
		return fmt.Sprintf("a switch to %s was begun: nginx may not have read its files", d.From), nil
	case d.Before != nil && d.Before.usable(d.From, seen):
		return "a switch was begun: nginx gets the files back that it had before", nil
	default:
		return fmt.Sprintf("a switch was begun: nginx gets new files, since %s is at other addresses than before", d.From), nil
	}
}

// unmoved returns ErrInconsistent when somebody changed the live color since d
// began.
func unmoved(d Deployment, seen Observation) error {
	want := d.From
	if d.Live() {
		want = d.To
	}
	if seen.Live.Color == want {
		return nil
	}
	return hint.Wrap(fmt.Errorf("%w: %s left %s live, and Consul KV says %s", ErrInconsistent, d.ID, want, seen.Live.Color),
		"bg status "+d.Service+" says what serves; bg repair "+d.Service+" makes nginx and the containers agree with Consul KV")
}

// FinishPlan returns what is left to do of d, which is live. It is a pure
// function.
func FinishPlan(d Deployment, seen Observation) (Plan, error) {
	p := Plan{Service: d.Service, From: d.From, To: d.To, Image: d.Image}
	if err := unmoved(d, seen); err != nil {
		return Plan{}, err
	}
	old := active(seen.Containers[p.From])
	if p.From == color.None || old == 0 {
		return p, nil
	}
	if d.WarmUntil == nil {
		if err := p.keepTo(d, seen); err != nil {
			return Plan{}, err
		}
	}
	p.add(Drain, p.From, fmt.Sprintf("nginx's old workers may still have requests at %s", p.From))
	if d.WarmUntil != nil {
		return p, nil
	}
	p.add(Stop, p.From, fmt.Sprintf("%d of its containers run; they are kept for a rollback", old))
	return p, nil
}

// keepTo plans that nginx is seen sending to the live color before the old one is
// stopped: somebody may have switched it back by hand, or reboots moved ports.
// When nothing of the live color is registered there is nothing to send to, and
// the old one stays only where nginx's files name it.
func (p *Plan) keepTo(d Deployment, seen Observation) error {
	if len(matching(seen.Containers[p.To], seen.Instances[p.To]).ours) > 0 {
		p.add(Switch, p.To, fmt.Sprintf("nginx has to be seen sending to %s before %s stops", p.To, p.From))
		return nil
	}
	pointed, err := d.pointed(seen)
	if err == nil && pointed == p.From {
		err = hint.Wrap(fmt.Errorf("%w: %s is live and not registered, and nginx sends to %s", ErrInconsistent, p.To, p.From),
			fmt.Sprintf("docker start %s; or, if %s is to be live: consul kv put %s/color %s", names(seen.Containers[p.To]), p.From, p.Service, p.From))
	}
	return err
}

// ClearPlan returns what has to be done about d, which is open, before another
// deployment: before its commit it is undone, after that the rest is done.
func ClearPlan(d Deployment, seen Observation) (Plan, error) {
	if d.Live() {
		return FinishPlan(d, seen)
	}
	return AbortPlan(d, seen)
}

// ResumePlan returns the steps that are left of d, which is open, up to and with
// request.Until. It is a pure function. What can have changed while nobody
// looked is done again: containers are registered anew after a restart, tests
// are worth nothing for other addresses, and only answers tell what nginx runs
// with.
func ResumePlan(request Request, d Deployment, seen Observation) (Plan, error) {
	if d.Live() {
		p, err := FinishPlan(d, seen)
		p.cut(request.Until)
		return p, err
	}
	p := Plan{Service: d.Service, From: d.From, To: d.To, Image: d.Image, Pin: cmp.Or(d.ImageID, d.Pin), Restart: d.Kept, Warm: d.Warm}
	if len(d.Undo) > 0 || d.Outcome == UndoFailed {
		return Plan{}, hint.Wrap(fmt.Errorf("%w: its undo was begun", ErrOver), "bg abort "+d.Service)
	}
	if err := unmoved(d, seen); err != nil {
		return Plan{}, err
	}
	pointed, err := d.pointed(seen)
	if err != nil {
		return Plan{}, err
	}
	standing := d.standing(seen)
	if !standing {
		if pointed, err = p.startAgain(d, seen, pointed); err != nil {
			return Plan{}, err
		}
	}
	// What was live a while ago, and never stopped, was tested then.
	warm, same := standing && d.Warm, standing && d.sameAddresses(seen)
	p.add(Register, p.To, "the containers may have changed while nobody looked")
	if !warm && (!same || !d.did(Pretest)) {
		p.add(Pretest, p.To, countTests(request.PreTests, "directly"))
	}
	p.add(Switch, p.To, resumedSwitch(d, pointed))
	if !warm && (!same || !d.did(Posttest) || pointed != p.To) {
		p.add(Posttest, p.To, countTests(request.PostTests, "through nginx"))
	}
	request.Rollback = d.Rollback
	p.end(request, seen)
	if request.Until != "" && slices.Index(order, request.Until) < slices.Index(order, d.done()) {
		return Plan{}, hint.Wrap(fmt.Errorf("%w: %s is done, and %s comes before it", ErrOver, d.done(), request.Until), "bg resume "+d.Service)
	}
	p.cut(request.Until)
	if !d.begun(Switch) { // nginx may send all requests to it already
		p.expose(seen)
	}
	return p, nil
}

// pointed is pointedAt, and knows where d's own containers were before they were
// restarted.
func (d Deployment) pointed(seen Observation) (color.Color, error) {
	stale := func(address string) bool { return !slices.Contains(d.Addresses, address) }
	if d.begun(Switch) && len(seen.Proxy.Upstreams) > 0 && !slices.ContainsFunc(seen.Proxy.Upstreams, stale) {
		return d.To, nil
	}
	return pointedAt(seen)
}

// resumedSwitch says why nginx is looked after when a deployment goes on.
func resumedSwitch(d Deployment, pointed color.Color) string {
	if d.did(Switch) {
		return fmt.Sprintf("nginx has to be seen sending to %s still", d.To)
	}
	return fmt.Sprintf("nginx sends to %s", pointed)
}

// startAgain plans the start of a color that was not started, or did not stay. It
// replaces what still runs, so nginx must not send there; it returns the color
// that nginx sends to then.
func (p *Plan) startAgain(d Deployment, seen Observation, pointed color.Color) (color.Color, error) {
	reached := d.switching() || pointed == p.To
	switch {
	case d.Kept && len(d.ours(seen)) == 0:
		return pointed, hint.Wrap(fmt.Errorf("%w: the containers that were started again are gone", ErrOver), "bg abort "+d.Service)
	case reached && p.From == color.None:
		return pointed, hint.Wrap(fmt.Errorf("%w: not all containers of %s run, and nginx has no other color to send to while they are started", ErrOver, p.To), "bg abort "+d.Service)
	case reached || p.From != color.None && active(seen.Containers[p.To]) > 0:
		p.free(seen, pointed)
		pointed = p.From
	}
	if d.did(Start) || d.Warm {
		p.add(Start, p.To, "not all of its containers run")
	} else {
		p.add(Start, p.To, "it is not known to have been done")
	}
	return pointed, nil
}

// done returns the last step that is known to be done.
func (d Deployment) done() Verb {
	var done Verb
	for _, verb := range order {
		if d.did(verb) {
			done = verb
		}
	}
	return done
}

// ours returns the containers of the new color that belong to d.
func (d Deployment) ours(seen Observation) []engine.Container {
	return slices.DeleteFunc(slices.Clone(seen.Containers[d.To]), func(c engine.Container) bool {
		if d.Kept {
			return !slices.ContainsFunc(d.Containers, func(id string) bool { return strings.HasPrefix(c.ID, id) })
		}
		return c.Deployment != d.ID
	})
}

// standing reports whether all containers that were started run.
func (d Deployment) standing(seen Observation) bool {
	running := slices.DeleteFunc(d.ours(seen), func(c engine.Container) bool { return !c.Running() })
	return (d.did(Start) || d.Warm) && len(running) >= len(d.Containers)
}

// sameAddresses reports whether the containers are registered where they were
// when the steps that are done were done.
func (d Deployment) sameAddresses(seen Observation) bool {
	now := matching(d.ours(seen), seen.Instances[d.To]).addresses()
	return len(now) > 0 && slices.Equal(slices.Sorted(slices.Values(now)), slices.Sorted(slices.Values(d.Addresses)))
}

// after returns what is to be observed when d has been cleared away by
// ClearPlan's steps. It is what a plan is made for before that is done.
func (seen Observation) after(d Deployment) Observation {
	down, removed := d.To, !d.Kept
	if !d.begun(Start) || d.Live() && d.WarmUntil != nil {
		down = color.None
	} else if d.Live() {
		down, removed = d.From, false
	}
	if c := seen.Live.Color; d.switching() && (!d.Live() || d.WarmUntil == nil) {
		seen.Proxy.Upstreams, seen.Proxy.Preview = matching(seen.Containers[c], seen.Instances[c]).addresses(), nil
	}
	containers, instances := map[color.Color][]engine.Container{}, seen.Instances
	for c, list := range seen.Containers {
		containers[c] = slices.Clone(list)
	}
	if removed {
		containers[down] = slices.DeleteFunc(containers[down], func(c engine.Container) bool { return c.Deployment == d.ID })
	}
	for i := range containers[down] {
		containers[down][i].State = "exited"
	}
	seen.Containers, seen.Instances, seen.Proxy.Leaving = containers, instances, nil
	return seen
}
