package proxy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"bg/color"
	"bg/hint"
)

// PreviewName is the header and the cookie by which a client asks for a color that
// is held: "X-BG-Preview: green".
const PreviewName = "X-BG-Preview"

// previewVariable is what a template reads to know the color that is held. One
// that does not mention it has no preview.
const previewVariable = "BG_PREVIEW"

// Preview is a color that runs and is not live: who asks for it by PreviewName
// reaches it, and nobody else does.
type Preview struct {
	Color color.Color // None: there is no preview
	Want  []string    // its addresses; it has no others
}

// previewBlock returns the name of the upstream block that a preview is in. By it
// the block is told from those that all requests go to.
func (c Config) previewBlock() string { return "bg-preview-" + c.Service }

// split returns the addresses that all requests go to, and those of a preview.
func (n *Nginx) split(blocks []upstream) (all, preview []string) {
	for _, b := range blocks {
		if b.name == n.cfg.previewBlock() {
			preview = append(preview, b.servers...)
		} else {
			all = append(all, b.servers...)
		}
	}
	return all, preview
}

// previews reports whether the templates of both colors have a preview, and it can
// be seen who reaches it.
func (n *Nginx) previews() bool {
	if n.cfg.URL == "" || n.cfg.Upstreams.Path == "" {
		return false
	}
	return !slices.ContainsFunc([]color.Color{color.Blue, color.Green}, func(c color.Color) bool {
		text, err := n.cfg.Read(n.cfg.Upstreams.source(c))
		return err != nil || !bytes.Contains(text, []byte(previewVariable))
	})
}

// checkPreview returns nil when the servers of the preview are those that are
// wanted, and no others.
func checkPreview(source, block string, blocks []upstream, want Preview) error {
	var servers []string
	for _, b := range blocks {
		if b.name == block {
			servers = append(servers, b.servers...)
		}
	}
	slices.Sort(servers)
	if wanted := slices.Sorted(slices.Values(normalAddresses(want.Want))); !slices.Equal(servers, wanted) {
		return hint.Wrap(fmt.Errorf("%w: upstream %s in %s is [%s] instead of [%s]", ErrForeign, block, source, strings.Join(servers, ", "), strings.Join(wanted, ", ")),
			"see the template that bg ships: it has this block while "+previewVariable+" is not empty")
	}
	return nil
}
