package deploy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"bg/color"
	"bg/engine"
	"bg/hint"
	"bg/proxy"
)

// Damage is what a repair depends on.
type Damage struct {
	Observation
	Answer proxy.Answer // of nginx to a client
	Newest Deployment
	// Recorded is the newest deployment that is known to have become live.
	Recorded Deployment
}

// RepairPlan returns the steps after which nginx and the containers are as Consul
// KV says: after a reboot, which gives containers other ports, or after somebody's
// edit. Where KV says nothing, it gets the color that the journal and nginx agree
// on. A plan without steps says that nothing is to be done. It is a pure function.
func RepairPlan(service string, damage Damage) (Plan, error) {
	live, err := damage.live(service)
	if err != nil {
		return Plan{}, err
	}
	if d := damage.Newest; d.Open() && unmoved(d, damage.Observation) == nil {
		return Plan{}, hint.Wrap(fmt.Errorf("%w: %s is %s in %s", ErrUnfinished, d.ID, d.Outcome, d.At()),
			fmt.Sprintf("bg resume %s goes on with it, bg abort %s undoes it; a repair is for what is left then", service, service))
	}
	p := Plan{Service: service, From: color.Next(live), To: live, Restart: true, Repair: true}
	if err := p.mendContainers(damage); err != nil {
		return Plan{}, err
	}
	p.mendNginx(damage)
	p.mendIdle(damage)
	if damage.Live.Color == color.None && live != color.None {
		p.add(Commit, live, fmt.Sprintf("Consul KV has no color; %s made %s live, and nginx sends to it", damage.Recorded.ID, live))
	}
	return p, nil
}

// live returns the color that is to be live.
func (damage Damage) live(service string) (color.Color, error) {
	if damage.Live.Color != color.None {
		return damage.Live.Color, nil
	}
	said := damage.Recorded.To
	pointed, err := pointedAt(damage.Observation)
	switch {
	case err != nil:
		return color.None, err
	case said == color.None && pointed == color.None:
		return color.None, hint.Wrap(fmt.Errorf("%w: %s was never deployed", ErrNoDeployment, service), "bg deploy "+service)
	case said == color.None || pointed != said && (pointed != color.None || active(damage.Containers[said]) == 0):
		return color.None, hint.Wrap(fmt.Errorf("%w: Consul KV has no color of %s, the journal says %s, and nginx sends to %s", ErrInconsistent, service, said, pointed),
			"find out which color serves, then write it: consul kv put "+service+"/color blue (or green)")
	}
	return said, nil
}

// mendContainers plans what makes the live color run and be registered.
func (p *Plan) mendContainers(damage Damage) error {
	list := damage.Containers[p.To]
	if len(list) == 0 {
		return hint.Wrap(fmt.Errorf("%w: %s is live, and it has no container", ErrInconsistent, p.To),
			fmt.Sprintf("bg rollback %s, or bg deploy %s; if %s serves: consul kv put %s/color %s", p.Service, p.Service, p.From, p.Service, p.From))
	}
	p.Image = list[0].Image
	down := len(slices.DeleteFunc(slices.Clone(list), engine.Container.Running))
	if down > 0 {
		p.add(Start, p.To, fmt.Sprintf("%d of its %d containers do not run", down, len(list)))
	}
	switch m := matching(list, damage.Instances[p.To]); {
	case down > 0:
		p.add(Register, p.To, "containers get other ports when they are started")
	case !m.complete():
		p.add(Register, p.To, m.lack())
	}
	return nil
}

// mendNginx plans what makes nginx send to the live color.
func (p *Plan) mendNginx(damage Damage) {
	cause := damage.nginx(p.To)
	switch {
	case p.has(Start):
		cause = "its containers are elsewhere then"
	case p.has(Register) && len(damage.addresses(p.To)) == 0:
		cause = "nginx gets its addresses when they are known"
	}
	if cause != "" {
		p.point(cause)
	}
}

// addresses returns where color c is.
func (damage Damage) addresses(c color.Color) []string {
	return matching(damage.Containers[c], damage.Instances[c]).addresses()
}

// nginx says how nginx is not as it has to be while live is live, "" when it is.
func (damage Damage) nginx(live color.Color) string {
	want, has := damage.addresses(live), damage.Proxy.Upstreams
	files, answer := damage.Proxy.Files, damage.Answer
	switch {
	case files.Upstreams.Absent, files.Includes.Absent && files.Includes.Path != "":
		return "a file of the service is gone from nginx"
	case !sameSet(want, has):
		return fmt.Sprintf("its file sends to %s, and %s is at %s", listed(has), live, listed(want))
	case len(damage.Proxy.Preview) > 0:
		return fmt.Sprintf("its file still sends those to %s who ask for it", listed(damage.Proxy.Preview))
	case answer.Color != "" && answer.Color != live.String():
		return fmt.Sprintf("its file is right, and it answers with %s: it has not read it", answer.Color)
	case answer.Status >= http.StatusBadGateway && answer.Status <= http.StatusGatewayTimeout:
		return fmt.Sprintf("its file is right, and it answers %d", answer.Status)
	}
	return ""
}

// point plans that nginx sends to the live color, as was seen and not only as its
// file says.
func (p *Plan) point(cause string) {
	if !p.has(Register) {
		p.add(Register, p.To, "requests may only go to containers that are ready")
	}
	p.add(Switch, p.To, cause)
}

func (p *Plan) has(verb Verb) bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Verb == verb })
}

// mendIdle plans the end of containers that serve nobody.
func (p *Plan) mendIdle(damage Damage) {
	idle := active(damage.Containers[p.From])
	warm := damage.Recorded.WarmUntil != nil && damage.Recorded.To == p.To
	if idle == 0 || warm && damage.Answer.Color == p.To.String() {
		return
	}
	if !p.has(Switch) {
		p.point(fmt.Sprintf("%s runs, so nginx has to be seen sending to %s", p.From, p.To))
	}
	if warm {
		return
	}
	p.add(Drain, p.From, fmt.Sprintf("no request may be left at %s", p.From))
	p.add(Stop, p.From, fmt.Sprintf("%s is live, and %d containers of %s run; they are kept", p.To, idle, p.From))
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func listed(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, ", ")
}

// Repair makes nginx, the containers and Consul KV agree, as RepairPlan says, and
// returns that plan. With dry it changes nothing.
func (d *Deployer) Repair(ctx context.Context, request Request, dry bool) (Plan, error) {
	if dry {
		damage, err := d.assess(ctx, request)
		if err != nil {
			return Plan{}, err
		}
		plan, err := RepairPlan(request.Service, damage)
		return plan, before(err)
	}
	ctx, lock, err := d.lock(ctx, request)
	if err != nil {
		return Plan{}, err
	}
	defer func() { d.release(ctx, lock) }()
	damage, err := d.assess(ctx, request)
	if err != nil {
		return Plan{}, err
	}
	plan, err := RepairPlan(request.Service, damage)
	if err != nil {
		return Plan{}, before(err)
	}
	run := newRun(d, request, plan, damage.Observation, lock)
	return plan, run.repair(ctx, damage)
}

// assess observes what a repair depends on.
func (d *Deployer) assess(ctx context.Context, request Request) (Damage, error) {
	seen, err := d.Observe(ctx, request)
	if err != nil {
		return Damage{}, err
	}
	damage := Damage{Observation: seen, Answer: d.Proxy.Answer(ctx)}
	damage.Newest, damage.Recorded, err = d.documents(ctx, request.Service)
	return damage, before(err)
}

// documents returns the newest deployment, and the newest one that became live.
func (d *Deployer) documents(ctx context.Context, service string) (newest, recorded Deployment, err error) {
	if newest, err = d.newest(ctx, service); err == nil {
		recorded, err = d.recorded(ctx, service, newest)
	}
	return newest, recorded, err
}

// recorded returns the newest deployment that became live.
func (d *Deployer) recorded(ctx context.Context, service string, newest Deployment) (Deployment, error) {
	if newest.ID == "" || newest.Live() {
		return newest, nil
	}
	ids, err := d.Journal.List(ctx, service)
	if err != nil {
		return Deployment{}, err
	}
	for _, id := range ids {
		if past, err := d.read(ctx, service, id); err != nil || past.Live() {
			return past, err
		}
	}
	return Deployment{}, nil
}

// repair takes the steps of a RepairPlan. They are no deployment, so the journal
// has none of them; each can be repeated, and a repair that was ended is begun
// again.
func (r *run) repair(ctx context.Context, damage Damage) error {
	r.record = &Deployment{ID: damage.Recorded.ID, Service: r.plan.Service, From: r.plan.From, To: r.plan.To, Image: r.plan.Image, Started: time.Now().UTC()}
	r.containers = damage.Containers[r.plan.To]
	r.record.Kept, r.record.Containers = true, ids(r.containers)
	r.Report(Event{Time: time.Now(), Kind: Planned, Plan: &r.plan})
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, step := range r.plan.Steps {
		if err := r.mend(ctx, step, damage, cancel); err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return halfway(fmt.Errorf("repair %s: %s %s: %w", r.plan.Service, step.Verb, step.Color, err))
		}
	}
	r.guardOff.Store(true)
	return halfway(r.giveUp(ctx, damage))
}

// mend takes one step.
func (r *run) mend(ctx context.Context, step Step, damage Damage, cancel context.CancelCauseFunc) error {
	if err := context.Cause(ctx); err != nil {
		return err // the lock is lost, or somebody wants an end
	}
	started := time.Now()
	r.Report(Event{Time: started, Kind: Begin, Step: step.Verb, Color: step.Color, Message: step.Cause})
	var observed string
	var err error
	if step.Verb == Commit {
		observed, err = r.rewrite(ctx, step, damage)
	} else {
		observed, err = r.step(ctx, step, cancel)
	}
	took := time.Since(started)
	event := Event{Time: time.Now(), Kind: End, Step: step.Verb, Color: step.Color, Message: observed, Duration: took, Seconds: took.Seconds()}
	if err != nil {
		event.Kind, event.Message = Fail, err.Error()
	}
	r.Report(event)
	return err
}

// rewrite writes the color into Consul KV, if nobody did so meanwhile.
func (r *run) rewrite(ctx context.Context, step Step, damage Damage) (string, error) {
	document, err := damage.Newest.document()
	if err != nil {
		return "", err
	}
	set := r.Colors.SetOp(r.plan.Service, damage.Live, step.Color)
	return fmt.Sprintf("%s = %s", set.KV.Key, step.Color), r.Journal.Save(ctx, r.lock, r.plan.Service, damage.Newest.ID, document, set)
}

// giveUp ends the document of a deployment that somebody's change of the color
// made void.
func (r *run) giveUp(ctx context.Context, damage Damage) error {
	newest := damage.Newest
	if !newest.Open() {
		return nil
	}
	now := time.Now().UTC()
	newest.Ended, newest.Outcome, newest.Reason = &now, Interrupted, "given up by a repair: "+unmoved(newest, damage.Observation).Error()
	document, err := newest.document()
	return errors.Join(err, r.Journal.Save(ctx, r.lock, r.plan.Service, newest.ID, document))
}
