// Package deploy makes the other color of a service live: it observes what is
// there, plans the steps, and executes them one by one, undoing them when one
// fails.
package deploy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"bg/color"
	"bg/engine"
	"bg/hint"
)

// Verb is the name of a step.
type Verb string

// The verbs, in the order of a whole deployment.
const (
	Start    Verb = "start"
	Register Verb = "register"
	Pretest  Verb = "pretest"
	Switch   Verb = "switch"
	Posttest Verb = "posttest"
	Commit   Verb = "commit"
	Drain    Verb = "drain"
	Stop     Verb = "stop"
	// Expose is only in plans that pause before the switch: the color that is
	// held can be reached by who asks for it.
	Expose Verb = "expose"
	// Remove is only in plans that undo: a version that failed is nothing to
	// roll back to.
	Remove Verb = "remove"
)

// order has the verbs of a whole deployment as they follow each other.
var order = []Verb{Start, Register, Pretest, Switch, Posttest, Commit, Drain, Stop}

// ParseVerb returns the step that word names.
func ParseVerb(word string) (Verb, error) {
	if slices.Contains(order, Verb(word)) {
		return Verb(word), nil
	}
	return "", fmt.Errorf("%q is not a step: %s", word, strings.Trim(fmt.Sprint(order), "[]"))
}

// Step is one verb on one color, and why it is in the plan.
type Step struct {
	Verb  Verb        `json:"step"`
	Color color.Color `json:"color"`
	Cause string      `json:"cause"`
}

// Plan is what a deployment is going to do.
type Plan struct {
	Service string      `json:"service"`
	From    color.Color `json:"from"`
	To      color.Color `json:"to"`
	Image   string      `json:"image"`
	// Restart says that the containers of To, which were stopped and kept,
	// are started again instead of being created.
	Restart bool `json:"restart,omitempty"`
	// Warm says that these containers were never stopped, so that nothing has
	// to be started or tested again.
	Warm bool `json:"warm,omitempty"`
	// Pin is the exact image to run, by id or digest, where Image may mean
	// another one by now.
	Pin string `json:"pin,omitempty"`
	// Keep is how long the containers of From stay warm, such as 10m0s; ""
	// when they are stopped.
	Keep  string `json:"keep,omitempty"`
	Steps []Step `json:"steps"`
	// Until is the step after which the deployment is paused, "" when it goes
	// on to its end.
	Until Verb `json:"until,omitempty"`
	// Repair says that To is live already, and that the steps mend it.
	Repair bool `json:"repair,omitempty"`
}

// The errors of planning. Nothing has been changed.
var (
	// ErrInconsistent: what was observed does not say which color is live.
	ErrInconsistent = errors.New("it is not clear which color is live")
	// ErrNothingKept: there is no earlier version to roll back to.
	ErrNothingKept = errors.New("nothing to roll back to")
)

// MakePlan returns the steps that fulfil request, given what was observed. It
// is a pure function.
func MakePlan(request Request, seen Observation) (Plan, error) {
	p := Plan{Service: request.Service, From: seen.Live.Color, To: color.Next(seen.Live.Color), Image: seen.Image}
	pointed, err := pointedAt(seen)
	if err != nil {
		return Plan{}, err
	}
	if p.From == color.None && pointed != color.None {
		return Plan{}, hint.Wrap(fmt.Errorf("%w: Consul KV has no color of %s, and nginx sends to %s", ErrInconsistent, p.Service, pointed),
			fmt.Sprintf("check consul.prefix; if %s serves, write it: consul kv put %s%s/color %s", pointed, request.Prefix, p.Service, pointed))
	}
	p.Warm = request.Rollback && warm(request, seen, p.To)
	if pointed == p.To || len(seen.Proxy.Preview) > 0 || !p.Warm && p.From != color.None && active(seen.Containers[p.To]) > 0 {
		p.free(seen, pointed)
		pointed = p.From
	}
	if request.Rollback {
		if err := p.rollback(request, seen); err != nil {
			return Plan{}, err
		}
	} else {
		p.add(Start, p.To, startCause(p, seen))
	}
	p.add(Register, p.To, "requests may only go to the very containers that were started")
	if !p.Warm {
		p.add(Pretest, p.To, countTests(request.PreTests, "directly"))
	}
	p.add(Switch, p.To, fmt.Sprintf("nginx sends to %s", pointed))
	if !p.Warm {
		p.add(Posttest, p.To, countTests(request.PostTests, "through nginx"))
	}
	p.end(request, seen)
	p.cut(request.Until)
	p.expose(seen)
	return p, nil
}

// free plans that nothing sends to the new color any more, before its containers
// are replaced. That nginx's files say so is not enough while they run: somebody
// may have been killed between writing and reloading. Where nginx answers as it
// should, the switch changes nothing.
func (p *Plan) free(seen Observation, pointed color.Color) {
	cause := fmt.Sprintf("%s runs: nginx has to be seen sending to %s before it is replaced", p.To, p.From)
	switch {
	case pointed == p.To:
		cause = fmt.Sprintf("an earlier deployment was interrupted: nginx sends to %s, and %s is live", p.To, p.From)
	case len(seen.Proxy.Preview) > 0:
		cause = fmt.Sprintf("nginx still sends those to %s who ask for it", listed(seen.Proxy.Preview))
	case active(seen.Containers[p.To]) == 0:
		cause = fmt.Sprintf("a switch was begun: nginx has to be seen sending to %s before %s is started", p.From, p.To)
	}
	p.add(Switch, p.From, cause)
	p.add(Drain, p.To, "no request may be left at "+p.To.String()+" before it is replaced")
}

// end plans what comes after the tests.
func (p *Plan) end(request Request, seen Observation) {
	p.add(Commit, p.To, fmt.Sprintf("Consul says %s", p.From))
	if p.From != color.None {
		p.add(Drain, p.From, fmt.Sprintf("nginx's old workers still have requests at %s", p.From))
	}
	switch old := active(seen.Containers[p.From]); {
	case old > 0 && request.Keep > 0 && !request.Rollback:
		p.Keep = request.Keep.String()
	case old > 0: // what was rolled back did harm: it is not left running
		p.add(Stop, p.From, fmt.Sprintf("%d of its containers run; they are kept for a rollback", old))
	}
}

// cut ends the plan after the step until. Where there is no such step, it ends
// before the first one that comes later.
func (p *Plan) cut(until Verb) {
	if until == "" {
		return
	}
	for i, s := range p.Steps {
		// What a plan does first, with the other colors, belongs to no step of its own.
		own := s.Color == p.To && s.Verb != Drain || s.Color == p.From && (s.Verb == Drain || s.Verb == Stop)
		if own && slices.Index(order, s.Verb) > slices.Index(order, until) {
			p.Steps, p.Until = p.Steps[:i], until
			return
		}
	}
}

// rollback plans that the color which was live before is started again, unless
// it still runs, or that the version of an earlier deployment is.
func (p *Plan) rollback(request Request, seen Observation) error {
	kept := seen.Containers[p.To]
	switch {
	case p.From == color.None:
		return hint.Wrap(fmt.Errorf("%w: %s was never deployed", ErrNothingKept, p.Service), "bg deploy "+p.Service)
	case p.Warm:
		p.Restart, p.Image = true, kept[0].Image
	case request.Target != "" && !keeps(request, seen, kept):
		return p.target(seen)
	case seen.Kept:
		p.Restart, p.Image = true, kept[0].Image
		p.add(Start, p.To, "its containers were kept when it was replaced")
	case seen.PreviousImage != "":
		p.Image = seen.PreviousImage
		p.add(Start, p.To, "its containers are gone; this image was live as "+p.To.String()+" last")
	default:
		return hint.Wrap(fmt.Errorf("%w: no container of %s is left, and the history names no image", ErrNothingKept, p.To),
			"bg deploy "+p.Service+" --image IMAGE")
	}
	return nil
}

// keeps reports whether the containers of the idle color that are still there
// are those that a rollback asks for.
func keeps(request Request, seen Observation, kept []engine.Container) bool {
	return seen.Kept && (request.Target == "" || kept[0].Deployment == seen.Target.Origin())
}

// warm reports whether these containers run and are registered, so that nginx
// only has to send to them again.
func warm(request Request, seen Observation, idle color.Color) bool {
	kept := seen.Containers[idle]
	return seen.Live.Color != color.None && keeps(request, seen, kept) &&
		active(kept) == len(kept) && matching(kept, seen.Instances[idle]).complete()
}

// target plans that the image of an earlier deployment is started anew.
func (p *Plan) target(seen Observation) error {
	to, live := seen.Target, seen.Containers[p.From]
	switch {
	case to.Outcome != Done:
		return hint.Wrap(fmt.Errorf("%w: deployment %s was never live: %s", ErrNothingKept, to.ID, to.Outcome), "bg history "+p.Service)
	case len(live) > 0 && live[0].Deployment != "" && live[0].Deployment == to.Origin():
		return hint.Wrap(fmt.Errorf("%w: deployment %s is what is live", ErrNothingKept, to.ID), "bg history "+p.Service)
	case seen.TargetImage == "":
		return hint.Wrap(fmt.Errorf("%w: the image of deployment %s, %s, is not on this Engine any more, and it was in no registry", ErrNothingKept, to.ID, to.Image),
			"build it again and bg deploy "+p.Service+" --image IMAGE")
	}
	p.Image, p.Pin = to.Image, seen.TargetImage
	p.add(Start, p.To, "the image of deployment "+to.ID)
	return nil
}

func (p *Plan) add(verb Verb, c color.Color, cause string) {
	p.Steps = append(p.Steps, Step{Verb: verb, Color: c, Cause: cause})
}

// pointedAt returns the color that nginx sends requests to, None when there is
// none yet, and ErrInconsistent when it sends to both.
func pointedAt(seen Observation) (color.Color, error) {
	var pointed []color.Color
	for _, c := range []color.Color{color.Blue, color.Green} {
		if slices.ContainsFunc(seen.Proxy.Upstreams, func(a string) bool { return seen.serves(c, a) }) {
			pointed = append(pointed, c)
		}
	}
	idle := color.Next(seen.Live.Color)
	switch {
	case len(pointed) == 0 && len(seen.Proxy.Upstreams) > 0 && active(seen.Containers[idle]) > 0:
		return color.None, hint.Wrap(fmt.Errorf("%w: nginx sends to %s, which is no known instance, while containers of %s run",
			ErrInconsistent, strings.Join(seen.Proxy.Upstreams, ", "), idle), "is Registrator running? if nothing sends to "+idle.String()+", stop its containers and deploy again")
	case len(pointed) == 0:
		return color.None, nil
	case len(pointed) == 1:
		return pointed[0], nil
	default:
		return color.None, hint.Wrap(fmt.Errorf("%w: nginx sends to blue and to green (%s)", ErrInconsistent, strings.Join(seen.Proxy.Upstreams, ", ")),
			"leave one color in nginx's upstreams file, reload nginx, and deploy again")
	}
}

func startCause(p Plan, seen Observation) string {
	switch {
	case p.From == color.None:
		return "the service was never deployed"
	case len(seen.Containers[p.To]) > 0:
		return fmt.Sprintf("%s is live; the old containers of %s are replaced", p.From, p.To)
	default:
		return fmt.Sprintf("%s is live, so %s is free", p.From, p.To)
	}
}

func countTests(n int, how string) string {
	switch n {
	case 0:
		return "no tests are configured"
	case 1:
		return "1 test has to pass " + how
	default:
		return fmt.Sprintf("%d tests have to pass %s", n, how)
	}
}

// active counts the containers that serve or may come to serve by themselves.
func active(list []engine.Container) int {
	n := 0
	for _, c := range list {
		if !c.Stopped() {
			n++
		}
	}
	return n
}

// Text returns the plan for a person to read.
func (p Plan) Text() string {
	var b strings.Builder
	if p.Repair {
		fmt.Fprintf(&b, "%s: %s is live, image %s", p.Service, p.To, p.Image)
	} else {
		fmt.Fprintf(&b, "%s: %s -> %s, image %s", p.Service, p.From, p.To, p.Image)
	}
	if p.Pin != "" && p.Pin != p.Image {
		fmt.Fprintf(&b, " (%s)", p.Pin)
	}
	b.WriteByte('\n')
	for i, s := range p.Steps {
		fmt.Fprintf(&b, "%3d. %-8s %-5s  %s\n", i+1, s.Verb, s.Color, s.Cause)
	}
	if p.Repair && len(p.Steps) == 0 {
		b.WriteString("     nothing to repair\n")
	}
	if p.Keep != "" {
		fmt.Fprintf(&b, "     %s stays warm for %s: a rollback is only a switch, until bg gc %s or the next deployment stops it\n", p.From, p.Keep, p.Service)
	}
	if p.Until != "" {
		fmt.Fprintf(&b, "     paused: bg resume %s goes on, bg abort %s undoes it\n", p.Service, p.Service)
	}
	return b.String()
}
