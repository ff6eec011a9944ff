package proxy

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/hashicorp/consul-template/template"

	"bg/color"
	"bg/hint"
)

// RenderInput is what a color's files are rendered for.
type RenderInput struct {
	Color color.Color
	// Want are the addresses "ip:port" of this deployment's instances: all of
	// them must be in the upstream list.
	Want []string
	// Forbid are the addresses that must not be in it: the other color's, and
	// those of instances that are registered and are not there any more.
	Forbid []string
	// Planned are addresses that stand for the color's instances where these
	// are not started yet. The catalog is not asked for them then.
	Planned []string
	// Preview is the color that is held, which only those reach who ask for it.
	Preview Preview
}

// Render renders the service's files to memory, for in.Color whatever color
// Consul KV says. Its errors are ErrTemplate, ErrHostile, ErrEmpty or
// ErrForeign, or Consul's own.
func (n *Nginx) Render(ctx context.Context, in RenderInput) (Files, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, n.cfg.RenderTimeout,
		fmt.Errorf("no answer from Consul to the templates within %s", n.cfg.RenderTimeout))
	defer cancel()
	clients, err := n.catalog.open()
	if err != nil {
		return Files{}, err
	}
	defer clients.Stop()
	d := &data{ctx: ctx, clients: clients, cfg: n.cfg, color: in.Color, preview: in.Preview.Color, planned: in.Planned, answers: map[string]any{}}
	upstreams, err := n.render(d, n.cfg.Upstreams)
	if err != nil {
		return Files{}, err
	}
	if err := checkUpstreams(n.cfg.Upstreams.source(in.Color), upstreams.Data, in, n.cfg.previewBlock()); err != nil {
		return Files{}, hint.Default(err, fmt.Sprintf("see what the catalog has: curl $CONSUL_HTTP_ADDR/v1/health/service/%s",
			n.cfg.catalogName(in.Color)))
	}
	includes, err := n.render(d, n.cfg.Includes)
	if err != nil {
		return Files{}, err
	}
	return Files{Color: in.Color, Preview: in.Preview.Color, Upstreams: upstreams, Includes: includes}, nil
}

// render returns what m becomes: the output of its template, or a copy.
func (n *Nginx) render(d *data, m Managed) (File, error) {
	if m.Path == "" {
		return File{}, nil
	}
	source := m.source(d.color)
	text, err := n.cfg.Read(source)
	if err != nil {
		return File{}, fmt.Errorf("read %s: %w", source, err)
	}
	if strings.HasSuffix(source, ".ctmpl") {
		if text, err = d.execute(source, text); err != nil {
			return File{}, err
		}
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return File{}, fmt.Errorf("%w: %s is empty", ErrEmpty, source)
	}
	return File{Path: m.Path, Data: text}, nil
}

// execute runs one template, once: its functions ask Consul when they are
// called, so that nothing is rendered from half of the data and each error has
// its line.
func (d *data) execute(source string, text []byte) ([]byte, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, fmt.Errorf("%w: %s is empty", ErrEmpty, source)
	}
	d.source, d.failure = source, nil
	t, err := template.NewTemplate(&template.NewTemplateInput{
		Contents:         string(text),
		ExtFuncMap:       d.functions(),
		FunctionDenylist: denied(),
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrTemplate, source, err)
	}
	result, err := t.Execute(&template.ExecuteInput{Brain: template.NewBrain()})
	if err != nil {
		return nil, d.explain(err)
	}
	return result.Output, d.spilled(result.Output)
}

// place finds the line in an error of text/template: "template: name:3:14: …",
// with no name for the file itself.
var place = regexp.MustCompile(`template: ([^:]*):(\d+)(?::\d+)?: `)

// explain says where and why a template failed. What its functions met is kept
// in d.failure, because consul-template flattens errors to text.
func (d *data) explain(err error) error {
	where, why := d.source, err.Error()
	if at := place.FindStringSubmatchIndex(why); at != nil {
		where += ":" + why[at[4]:at[5]]
		why = why[at[1]:]
	}
	if d.failure != nil {
		return fmt.Errorf("%w %s: %w", ErrTemplate, where, d.failure)
	}
	return fmt.Errorf("%w %s: %s", ErrTemplate, where, why)
}
