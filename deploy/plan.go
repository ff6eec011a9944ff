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
)

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
	Restart bool   `json:"restart,omitempty"`
	Steps   []Step `json:"steps"`
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
	if pointed == p.To {
		p.add(Switch, p.From, fmt.Sprintf("an earlier deployment was interrupted: nginx sends to %s, and %s is live", p.To, p.From))
		p.add(Drain, p.To, "no request may be left at "+p.To.String()+" before it is replaced")
		pointed = p.From
	}
	if pointed != p.To && len(seen.Proxy.Leaving) > 0 && active(seen.Containers[p.To]) > 0 {
		p.add(Drain, p.To, fmt.Sprintf("an earlier deployment was interrupted: requests may be left at %s", p.To))
	}
	if request.Rollback {
		if err := p.rollback(seen); err != nil {
			return Plan{}, err
		}
	} else {
		p.add(Start, p.To, startCause(p, seen))
	}
	p.add(Register, p.To, "requests may only go to the very containers that were started")
	p.add(Pretest, p.To, countTests(request.PreTests, "directly"))
	p.add(Switch, p.To, fmt.Sprintf("nginx sends to %s", pointed))
	p.add(Posttest, p.To, countTests(request.PostTests, "through nginx"))
	p.add(Commit, p.To, fmt.Sprintf("Consul says %s", p.From))
	if p.From != color.None {
		p.add(Drain, p.From, fmt.Sprintf("nginx's old workers still have requests at %s", p.From))
	}
	if old := active(seen.Containers[p.From]); old > 0 {
		p.add(Stop, p.From, fmt.Sprintf("%d of its containers run; they are kept for a rollback", old))
	}
	return p, nil
}

// rollback plans that the color which was live before is started again.
func (p *Plan) rollback(seen Observation) error {
	switch {
	case p.From == color.None:
		return hint.Wrap(fmt.Errorf("%w: %s was never deployed", ErrNothingKept, p.Service), "bg deploy "+p.Service)
	case len(seen.Containers[p.To]) > 0 && seen.Kept:
		p.Restart, p.Image = true, seen.Containers[p.To][0].Image
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
	fmt.Fprintf(&b, "%s: %s -> %s, image %s\n", p.Service, p.From, p.To, p.Image)
	for i, s := range p.Steps {
		fmt.Fprintf(&b, "%3d. %-8s %-5s  %s\n", i+1, s.Verb, s.Color, s.Cause)
	}
	return b.String()
}
