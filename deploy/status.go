package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"bg/color"
	"bg/engine"
	"bg/hint"
	"bg/registry"
)

// Standing is everything that a status is made of. What could not be looked at is
// in Unseen.
type Standing struct {
	Damage
	Holder *registry.Holder // of the service's lock, nil when nobody has it
	Unseen []Unseen
	Now    time.Time
}

// Unseen is a part that could not be looked at.
type Unseen struct {
	Part string `json:"part"` // Consul KV, blue, green, nginx, the journal
	Why  string `json:"why"`
	Hint string `json:"hint,omitempty"`
}

// Status says how a service stands.
type Status struct {
	Service    string           `json:"service"`
	Live       color.Color      `json:"live"`
	Image      string           `json:"image,omitempty"`
	Deployment string           `json:"deployment,omitempty"` // that made it live, "" when it is not known
	Since      *time.Time       `json:"since,omitempty"`
	By         *Who             `json:"by,omitempty"`
	Colors     []ColorStatus    `json:"colors"`
	Nginx      NginxStatus      `json:"nginx"`
	Open       *OpenStatus      `json:"open,omitempty"` // the deployment that is not over
	Holder     *registry.Holder `json:"holder,omitempty"`
	Problems   []Problem        `json:"problems"`
	Unseen     []Unseen         `json:"unseen,omitempty"`
}

// ColorStatus is one color.
type ColorStatus struct {
	Color      color.Color       `json:"color"`
	Containers []ContainerStatus `json:"containers"`
	Instances  []InstanceStatus  `json:"instances"`
}

// ContainerStatus is one container.
type ContainerStatus struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Health string `json:"health,omitempty"`
	Image  string `json:"image"`
}

// InstanceStatus is one registration.
type InstanceStatus struct {
	Address string   `json:"address"`
	Failing []string `json:"failing,omitempty"` // the checks that do not pass
}

// NginxStatus is what nginx says.
type NginxStatus struct {
	Upstreams []string `json:"upstreams"` // that its file sends to
	Answer    string   `json:"answer,omitempty"`
	Version   string   `json:"version,omitempty"`
	Leaving   int      `json:"leaving,omitempty"` // old workers that have requests left
}

// OpenStatus is a deployment that runs, is paused, or was interrupted.
type OpenStatus struct {
	ID    string    `json:"id"`
	State string    `json:"state"` // running, paused, interrupted, undo failed
	To    string    `json:"to"`
	Step  Verb      `json:"step,omitempty"`
	Since time.Time `json:"since"` // when it began, or was paused
	Age   string    `json:"age"`
	By    Who       `json:"by"`
	// Preview is the command that reaches the color that is held through nginx.
	Preview string `json:"preview,omitempty"`
}

// Problem is a disagreement of parts, and the command that mends it.
type Problem struct {
	What string `json:"what"`
	Mend string `json:"mend"`
}

// ConsulStatus says what Consul alone tells of a service, for places from which its
// containers and nginx cannot be looked at because of why.
func ConsulStatus(ctx context.Context, d *Deployer, service string, holders Holders, why error) (Status, error) {
	s := Standing{Now: time.Now(), Unseen: []Unseen{{Part: "containers and nginx", Why: why.Error(), Hint: hint.Of(why)}}}
	var err error
	if s.Live, err = d.Colors.Live(ctx, service); err != nil {
		s.Unseen = append(s.Unseen, Unseen{Part: "Consul KV", Why: err.Error(), Hint: hint.Of(err)})
	}
	if s.Newest, s.Recorded, err = d.documents(ctx, service); err != nil {
		return Status{}, err
	}
	if s.Holder, err = holders.Holder(ctx, service); err != nil {
		return Status{}, err
	}
	s.Instances = map[color.Color][]registry.Instance{}
	for _, c := range []color.Color{color.Blue, color.Green} {
		if s.Instances[c], err = d.Catalog.Instances(ctx, d.Source.Catalog(c)); err != nil {
			return Status{}, err
		}
	}
	return MakeStatus(service, s), nil
}

// Status looks at all parts of the service and changes nothing. A part that does
// not answer is no error: the others are told all the same.
func (d *Deployer) Status(ctx context.Context, service string, holders Holders) Status {
	s := Standing{Now: time.Now()}
	s.Containers, s.Instances = map[color.Color][]engine.Container{}, map[color.Color][]registry.Instance{}
	var blue, green colorState
	parts := []struct {
		name string
		look func() error
	}{
		{"Consul KV", func() (err error) { s.Live, err = d.Colors.Live(ctx, service); return registry.Classify(err) }},
		{"blue", func() (err error) { blue, err = d.observeColor(ctx, color.Blue); return err }},
		{"green", func() (err error) { green, err = d.observeColor(ctx, color.Green); return err }},
		{"nginx", func() (err error) { s.Proxy, err = d.Proxy.Observe(ctx); return err }},
		{"nginx's answer", func() error { s.Answer = d.Proxy.Answer(ctx); return nil }},
		{"the journal", func() (err error) { s.Newest, s.Recorded, err = d.documents(ctx, service); return err }},
		{"the lock", func() (err error) { s.Holder, err = holders.Holder(ctx, service); return err }},
	}
	errs := make([]error, len(parts))
	var all sync.WaitGroup
	for i, part := range parts {
		all.Go(func() { errs[i] = part.look() })
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			s.Unseen = append(s.Unseen, Unseen{Part: parts[i].name, Why: err.Error(), Hint: hint.Of(err)})
		}
	}
	s.Containers[color.Blue], s.Instances[color.Blue] = blue.containers, blue.instances
	s.Containers[color.Green], s.Instances[color.Green] = green.containers, green.instances
	return MakeStatus(service, s)
}

// MakeStatus says how the service stands. It is a pure function.
func MakeStatus(service string, s Standing) Status {
	status := Status{
		Service: service, Live: s.Live.Color, Holder: s.Holder, Unseen: s.Unseen, Problems: []Problem{},
		Nginx: NginxStatus{Upstreams: s.Proxy.Upstreams, Version: s.Proxy.Version, Leaving: len(s.Proxy.Leaving)},
	}
	if s.Answer.URL != "" {
		status.Nginx.Answer = s.Answer.String()
	}
	if r := s.Recorded; r.ID != "" && r.To == s.Live.Color {
		since := cmpTime(r.Committed, r.Ended)
		status.Image, status.Deployment, status.By, status.Since = r.Image, r.ID, &r.By, since
	}
	for _, c := range []color.Color{color.Blue, color.Green} {
		status.Colors = append(status.Colors, s.color(c))
	}
	if len(s.Containers[s.Live.Color]) > 0 {
		status.Image = s.Containers[s.Live.Color][0].Image
	}
	if s.Newest.Open() {
		status.Open = s.open()
	}
	if len(s.Unseen) == 0 {
		status.Problems = s.problems(service)
	}
	return status
}

func cmpTime(first, otherwise *time.Time) *time.Time {
	if first != nil {
		return first
	}
	return otherwise
}

func (s Standing) color(c color.Color) ColorStatus {
	status := ColorStatus{Color: c, Containers: []ContainerStatus{}, Instances: []InstanceStatus{}}
	for _, k := range s.Containers[c] {
		status.Containers = append(status.Containers, ContainerStatus{Name: k.Name, State: k.State, Health: k.Health, Image: k.Image})
	}
	for _, i := range s.Instances[c] {
		one := InstanceStatus{Address: i.HostPort()}
		for _, check := range i.Failing() {
			one.Failing = append(one.Failing, fmt.Sprintf("%s is %s", check.Name, check.Status))
		}
		status.Instances = append(status.Instances, one)
	}
	return status
}

// open says how the newest deployment stands, which is not over.
func (s Standing) open() *OpenStatus {
	d := s.Newest
	o := &OpenStatus{ID: d.ID, State: string(d.Outcome), To: d.To.String(), Step: d.At(), Since: d.Started, By: d.By}
	switch {
	case d.Outcome == Paused && d.Paused != nil:
		o.Since, o.Preview = *d.Paused, d.Preview
	case s.Holder != nil:
		o.State = string(Running)
	case d.Outcome == Running, d.Outcome == Done:
		o.State = string(Interrupted)
	}
	o.Age = s.Now.Sub(o.Since).Round(time.Second).String()
	return o
}

// problems names what disagrees, each with the command that mends it. While
// somebody changes the service, its parts disagree as they have to.
func (s Standing) problems(service string) []Problem {
	if s.Holder != nil {
		return []Problem{}
	}
	if s.Newest.Open() && unmoved(s.Newest, s.Observation) == nil {
		return s.openProblems(service)
	}
	found := []Problem{}
	plan, err := RepairPlan(service, s.Damage)
	if err != nil && s.Newest.ID == "" && s.Live.Color == color.None && active(s.Containers[color.Blue])+active(s.Containers[color.Green]) == 0 {
		return found // it was never deployed
	}
	if err != nil {
		return append(found, Problem{What: err.Error(), Mend: hint.Of(err)})
	}
	mend := "bg repair " + service
	for _, step := range plan.Steps {
		switch step.Verb {
		case Start, Stop:
			found = append(found, Problem{What: fmt.Sprintf("%s: %s", step.Color, step.Cause), Mend: mend})
		case Commit:
			found = append(found, Problem{What: step.Cause, Mend: mend})
		default: // the way to these
		}
	}
	if plan.has(Start) {
		return found // all else follows from that
	}
	m := matching(s.Containers[plan.To], s.Instances[plan.To])
	if !m.complete() {
		found = append(found, Problem{What: fmt.Sprintf("Consul's catalog, %s: %s", plan.To, m.lack()), Mend: m.advice(plan.To.String())})
	}
	if says := s.nginx(plan.To); says != "" && len(m.ours) > 0 {
		found = append(found, Problem{What: "nginx: " + says, Mend: mend})
	}
	return found
}

// openProblems are those of a deployment that is not over.
func (s Standing) openProblems(service string) []Problem {
	d := s.Newest
	switch {
	case d.Outcome == Paused:
		return []Problem{}
	case d.Live():
		return []Problem{{
			What: fmt.Sprintf("deployment %s was killed in %s, after its commit: %s may still run", d.ID, d.At(), d.From),
			Mend: "bg resume " + service,
		}}
	case d.Outcome == UndoFailed || len(d.Undo) > 0:
		return []Problem{{What: fmt.Sprintf("deployment %s could not be undone: %s", d.ID, d.Reason), Mend: "bg abort " + service}}
	}
	return []Problem{{
		What: fmt.Sprintf("deployment %s was killed in %s: %s is live, and %s is not finished", d.ID, d.At(), d.From, d.To),
		Mend: "bg resume " + service + ", or bg abort " + service,
	}}
}

// Text returns the status for a person to read.
func (s Status) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s is live", s.Service, s.Live)
	if s.Image != "" {
		fmt.Fprintf(&b, ", %s", s.Image)
	}
	if s.Since != nil {
		fmt.Fprintf(&b, ", since %s", s.Since.Format(time.RFC3339))
	}
	if s.By != nil {
		fmt.Fprintf(&b, " by %s@%s (%s)", s.By.User, s.By.Host, s.Deployment)
	}
	b.WriteString("\n")
	for _, c := range s.Colors {
		c.text(&b)
	}
	s.Nginx.text(&b)
	if o := s.Open; o != nil {
		fmt.Fprintf(&b, "  deployment %s to %s: %s in %s for %s, by %s@%s\n", o.ID, o.To, o.State, o.Step, o.Age, o.By.User, o.By.Host)
		if o.State == string(Paused) {
			fmt.Fprintf(&b, "    bg resume %s goes on with it, bg abort %s undoes it\n", s.Service, s.Service)
			if o.Preview != "" {
				fmt.Fprintf(&b, "    %s\n", previewText(o.Preview, o.To))
			}
		}
	}
	if s.Holder != nil {
		fmt.Fprintf(&b, "  held by %s\n", s.Holder)
	}
	for _, u := range s.Unseen {
		fmt.Fprintf(&b, "  %s could not be looked at: %s\n", u.Part, u.Why)
		if u.Hint != "" {
			fmt.Fprintf(&b, "    hint: %s\n", u.Hint)
		}
	}
	for _, p := range s.Problems {
		fmt.Fprintf(&b, "  ! %s\n    mend: %s\n", p.What, p.Mend)
	}
	return b.String()
}

func (c ColorStatus) text(b *strings.Builder) {
	fmt.Fprintf(b, "  %-5s ", c.Color)
	if len(c.Containers) == 0 {
		b.WriteString(" no container")
	}
	for _, k := range c.Containers {
		health := ""
		if k.Health != "" {
			health = " (" + k.Health + ")"
		}
		fmt.Fprintf(b, " %s %s%s", k.Name, k.State, health)
	}
	var at []string
	for _, i := range c.Instances {
		state := "passing"
		if len(i.Failing) > 0 {
			state = strings.Join(i.Failing, "; ")
		}
		at = append(at, i.Address+" "+state)
	}
	if len(at) == 0 {
		at = []string{"not registered"}
	}
	fmt.Fprintf(b, "; %s\n", strings.Join(at, ", "))
}

func (n NginxStatus) text(b *strings.Builder) {
	fmt.Fprintf(b, "  nginx  sends to %s", listed(n.Upstreams))
	if n.Answer != "" {
		fmt.Fprintf(b, "; %s", n.Answer)
	}
	if n.Leaving > 0 {
		fmt.Fprintf(b, "; %d old workers have requests left", n.Leaving)
	}
	b.WriteString("\n")
}

// State is the one word for how the service stands.
func (s Status) State() string {
	switch {
	case s.Open != nil:
		return s.Open.State
	case len(s.Unseen) > 0:
		return "not all seen"
	case len(s.Problems) > 0:
		return "inconsistent"
	case s.Live == color.None:
		return "never deployed"
	}
	return "good"
}

// Version returns what of the image's name tells versions apart.
func (s Status) Version() string {
	at := strings.LastIndexAny(s.Image, ":@")
	if at < 0 || slices.Contains([]byte(s.Image[at:]), '/') {
		return s.Image
	}
	return s.Image[at+1:]
}
