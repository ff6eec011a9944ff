package proxy

import (
	"bytes"
	"context"
	"maps"
)

// proof is a way from one state of nginx to files, and that nginx accepts each
// of its steps.
type proof struct {
	from   Files
	config dump
	to     Files
	way    []write
}

// Prepare renders a color's files and proves them, ahead of a Render and an
// Apply, which then only has to find that nothing has changed since. It changes
// nothing, and its errors are those that the two would have.
func (n *Nginx) Prepare(ctx context.Context, input RenderInput) error {
	files, err := n.Render(ctx, input)
	if err != nil {
		return err
	}
	seen, err := n.glance(ctx)
	if err != nil {
		return err
	}
	_, err = n.prove(ctx, seen, files)
	return err
}

// remembered returns the way that was proven from what is seen to files, nil
// when there is none: somebody has changed nginx's configuration meanwhile, or
// other files were proven.
func (n *Nginx) remembered(seen look, files Files) []write {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.proven
	if p.way == nil || !p.from.same(seen.files) || !p.to.same(files) || !p.config.same(seen.config) {
		return nil
	}
	return p.way
}

// remember keeps a way that was proven.
func (n *Nginx) remember(seen look, files Files, way []write) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.proven = proof{from: seen.files, config: seen.config, to: files, way: way}
}

// same reports whether nginx would read the same.
func (d dump) same(other dump) bool {
	return d.main == other.main && d.version == other.version && maps.EqualFunc(d.content, other.content, bytes.Equal)
}
