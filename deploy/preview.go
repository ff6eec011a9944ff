package deploy

import (
	"context"
	"fmt"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"bg/color"
	"bg/engine"
	"bg/proxy"
	"bg/registry"
)

// Images says what images and Compose files mean.
type Images interface {
	Version(ctx context.Context, ref string, policy engine.Pull) (engine.Version, error)
	Shape(ctx context.Context, src engine.Source, c color.Color) (replicas, port int, err error)
	Described(ctx context.Context, src engine.Source, c color.Color, k engine.Container) (bool, error)
}

// Prover says whether nginx would take files.
type Prover interface {
	Prove(ctx context.Context, files proxy.Files) error
}

// Holders says who holds a service.
type Holders interface {
	Holder(ctx context.Context, service string) (*registry.Holder, error)
}

// Previewer tells what a deployment would do and change. It changes nothing.
type Previewer struct {
	*Deployer
	Images  Images
	Prover  Prover
	Holders Holders
}

// Preview is what a deployment would do and change.
type Preview struct {
	Plan Plan           `json:"plan"`
	Old  engine.Version `json:"old"` // what is live; zero when nothing is
	New  engine.Version `json:"new"`
	Diff string         `json:"diff"` // of nginx's files, in the unified format
	// Planned are addresses in Diff that stand for instances which are not
	// started yet: Docker chooses their ports.
	Planned []string `json:"planned,omitempty"`
	// Holder is who deploys at this moment, nil when nobody does.
	Holder *registry.Holder `json:"holder,omitempty"`
	// Changes are the reasons to deploy. Without one there is nothing to do:
	// the same image and the same nginx files are live and healthy.
	Changes []string `json:"changes"`
}

// Preview observes and compares.
func (p *Previewer) Preview(ctx context.Context, request Request) (Preview, error) {
	view := Preview{Changes: []string{}}
	earlier, err := p.newest(ctx, request.Service)
	if err != nil {
		return Preview{}, err
	}
	if earlier.Open() {
		view.Changes = append(view.Changes, fmt.Sprintf("deployment %s is %s: bg resume %s goes on with it, bg abort %s undoes it", earlier.ID, earlier.Outcome, request.Service, request.Service))
	}
	var seen Observation
	if view.Plan, seen, err = p.foresee(ctx, request, earlier); err != nil {
		return Preview{}, err
	}
	if view.Holder, err = p.Holders.Holder(ctx, request.Service); err != nil {
		return Preview{}, err
	}
	if err := p.compareImages(ctx, &view, seen); err != nil {
		return Preview{}, err
	}
	if err := p.compareFiles(ctx, &view, seen); err != nil {
		return Preview{}, err
	}
	return view, p.compareLive(ctx, &view, seen)
}

// compareImages finds the image that is live and the one that would be.
func (p *Previewer) compareImages(ctx context.Context, view *Preview, seen Observation) (err error) {
	if view.New, err = p.Images.Version(ctx, seen.Image, p.Source.Pull); err != nil {
		return err
	}
	live := seen.Containers[view.Plan.From]
	if len(live) == 0 {
		return nil
	}
	view.Old = engine.Version{Ref: live[0].Image, ID: live[0].ImageID}
	if view.Old.Digest, err = p.Engine.Digest(ctx, live[0].ImageID); err != nil {
		return err
	}
	if !view.Old.Same(view.New) {
		view.Changes = append(view.Changes, fmt.Sprintf("the image: %s instead of %s", view.New, view.Old))
	}
	return nil
}

// compareFiles renders nginx's files for the color that would be live, has nginx
// try them, and compares them with those on disk.
func (p *Previewer) compareFiles(ctx context.Context, view *Preview, seen Observation) error {
	to := view.Plan.To
	input := proxy.RenderInput{Color: to}
	if m := matching(seen.Containers[to], seen.Instances[to]); len(m.ours) > 0 && m.complete() && view.Plan.Warm {
		input.Want = m.addresses()
	} else {
		planned, err := p.planned(ctx, to)
		if err != nil {
			return err
		}
		input.Planned, input.Want, view.Planned = planned, planned, planned
	}
	files, err := p.Proxy.Render(ctx, input)
	if err != nil {
		return err
	}
	if err := p.Prover.Prove(ctx, files); err != nil {
		return err
	}
	view.Diff = diff(seen.Proxy.Files, files)
	return nil
}

// planned returns addresses that stand for the instances of c. They are of a
// network that is reserved for documentation (RFC 5737), so that nobody has them.
func (p *Previewer) planned(ctx context.Context, c color.Color) ([]string, error) {
	replicas, port, err := p.Images.Shape(ctx, p.Source, c)
	if err != nil {
		return nil, err
	}
	if port == 0 {
		port = 80
	}
	var list []string
	for i := range min(max(replicas, 1), 250) {
		list = append(list, fmt.Sprintf("192.0.2.%d:%d", i+1, port))
	}
	return list, nil
}

// compareLive finds what is not as a deployment would make it, apart from the
// image: the containers, their registrations, nginx's files.
func (p *Previewer) compareLive(ctx context.Context, view *Preview, seen Observation) error {
	live := view.Plan.From
	if live == color.None {
		view.Changes = append(view.Changes, "the service was never deployed")
		return nil
	}
	if first := view.Plan.Steps[0]; first.Verb == Switch || first.Verb == Drain {
		view.Changes = append(view.Changes, first.Cause)
	}
	containers := seen.Containers[live]
	if err := p.compareContainers(ctx, view, containers); err != nil {
		return err
	}
	m := matching(containers, seen.Instances[live])
	if !m.complete() {
		view.Changes = append(view.Changes, fmt.Sprintf("%s in Consul: %s", p.Source.Catalog(live), m.lack()))
		return nil
	}
	files, err := p.Proxy.Render(ctx, proxy.RenderInput{Color: live, Want: m.addresses()})
	switch {
	case err != nil:
		view.Changes = append(view.Changes, fmt.Sprintf("nginx's files cannot be rendered for %s: %v", live, err))
	case diff(seen.Proxy.Files, files) != "":
		view.Changes = append(view.Changes, "nginx's files: for "+live.String()+" too they would be others than those on disk")
	}
	return nil
}

// compareContainers compares the live containers with the Compose file.
func (p *Previewer) compareContainers(ctx context.Context, view *Preview, live []engine.Container) error {
	replicas, _, err := p.Images.Shape(ctx, p.Source, view.Plan.From)
	if err != nil {
		return err
	}
	if len(live) != replicas {
		view.Changes = append(view.Changes, fmt.Sprintf("%d containers instead of %d", replicas, len(live)))
	}
	for _, k := range live {
		same, err := p.Images.Described(ctx, p.Source, view.Plan.From, k)
		switch {
		case err != nil:
			return err
		case !k.Running():
			view.Changes = append(view.Changes, fmt.Sprintf("%s is %s", k.Name, k.State))
		case k.Health != "" && k.Health != "healthy":
			view.Changes = append(view.Changes, fmt.Sprintf("%s is %s", k.Name, k.Health))
		case !same:
			view.Changes = append(view.Changes, fmt.Sprintf("the Compose file: it does not describe %s as it runs", k.Name))
		}
	}
	return nil
}

// diff returns the difference of nginx's files in the unified format, "" when
// there is none.
func diff(from, to proxy.Files) string {
	return diffFile(from.Upstreams, to.Upstreams) + diffFile(from.Includes, to.Includes)
}

func diffFile(from, to proxy.File) string {
	label := func(f proxy.File) string {
		if f.Absent || f.Path == "" {
			return "/dev/null"
		}
		return f.Path
	}
	return udiff.Unified(label(from), label(to), string(from.Data), string(to.Data))
}

// Text returns the preview for a person to read.
func (v Preview) Text() string {
	var b strings.Builder
	b.WriteString(v.Plan.Text())
	if v.Old.Ref != "" {
		fmt.Fprintf(&b, "\nimage now:   %s", v.Old)
	}
	fmt.Fprintf(&b, "\nimage then:  %s\n", v.New)
	if v.Diff != "" {
		b.WriteString("\n" + v.Diff)
	}
	if len(v.Planned) > 0 {
		fmt.Fprintf(&b, "\n%s stand%s for what %s gets when it starts.\n", strings.Join(v.Planned, ", "), plural(len(v.Planned), "s", ""), v.Plan.To)
	}
	if v.Holder != nil {
		fmt.Fprintf(&b, "\n%s is held by %s\n", v.Plan.Service, v.Holder)
	}
	if len(v.Changes) == 0 {
		b.WriteString("\nNothing to do: this image and these nginx files are live and healthy.\n")
		return b.String()
	}
	b.WriteString("\nA deployment would change:\n")
	for _, change := range v.Changes {
		b.WriteString("  " + change + "\n")
	}
	return b.String()
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
