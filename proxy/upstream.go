package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// directive is one statement of an nginx file: its words, and the number of
// blocks that it stands in.
type directive struct {
	words []string
	depth int
	line  int
	block bool    // it opens a block
	parts []token // its words in the source
}

func (d directive) name() string { return d.words[0] }

// directives lists the statements of an nginx file in their order.
func directives(src []byte) ([]directive, error) {
	tokens, err := tokenize(src)
	if err != nil {
		return nil, err
	}
	var list []directive
	var d directive
	depth := 0
	for _, t := range tokens {
		switch {
		case t.kind == tokenWord:
			d.words, d.parts = append(d.words, t.text), append(d.parts, t)
			continue
		case t.kind == tokenClose && len(d.words) > 0:
			return nil, fmt.Errorf("line %d: %q before '}' is not ended by ';'", t.line, strings.Join(d.words, " "))
		case t.kind == tokenClose && depth == 0:
			return nil, fmt.Errorf("line %d: '}' closes no block", t.line)
		case t.kind == tokenClose:
			depth--
			continue
		case len(d.words) == 0:
			return nil, fmt.Errorf("line %d: unexpected '%c'", t.line, t.kind)
		}
		d.depth, d.line, d.block = depth, d.parts[0].line, t.kind == tokenOpen
		if d.block {
			depth++
		}
		list = append(list, d)
		d = directive{}
	}
	if len(d.words) > 0 {
		return nil, fmt.Errorf("line %d: %q is not ended by ';'", d.parts[0].line, strings.Join(d.words, " "))
	}
	if depth > 0 {
		return nil, fmt.Errorf("%d blocks are never closed", depth)
	}
	return list, nil
}

// upstream is an upstream block: a name and the addresses of the servers that
// take requests.
type upstream struct {
	name    string
	line    int
	servers []string
}

// upstreams returns the upstream blocks of an nginx file. Servers that are
// marked down are left out.
func upstreams(src []byte) ([]upstream, error) {
	list, err := directives(src)
	if err != nil {
		return nil, err
	}
	var found []upstream
	inside := -1 // depth of the upstream block's own directives
	for _, d := range list {
		switch {
		case d.block && d.name() == "upstream" && len(d.words) > 1:
			found = append(found, upstream{name: d.words[1], line: d.line})
			inside = d.depth + 1
		case d.depth < inside:
			inside = -1
		case d.depth == inside && d.name() == "server" && len(d.words) > 1 && !slices.Contains(d.words[2:], "down"):
			last := &found[len(found)-1]
			last.servers = append(last.servers, normalAddress(d.words[1]))
		}
	}
	return found, nil
}

// normalAddress returns the one spelling of a server's address that addresses
// are compared in: host:port in lower case, with the port 80 that nginx assumes
// when there is none. A unix socket stays as it is.
func normalAddress(address string) string {
	if strings.HasPrefix(address, "unix:") {
		return address
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = strings.Trim(address, "[]"), "80"
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.String()
	}
	return net.JoinHostPort(strings.ToLower(host), port)
}

// checkUpstreams returns nil when each upstream block has a server, the servers
// include all that in wants and none that it forbids, and those of the block preview
// are in's preview.
func checkUpstreams(source string, src []byte, in RenderInput, preview string) error {
	blocks, err := upstreams(src)
	if err != nil {
		return fmt.Errorf("%w: %s rendered to something that is no nginx file: %w", ErrTemplate, source, err)
	}
	if len(blocks) == 0 {
		return fmt.Errorf("%w: %s defines no upstream block", ErrEmpty, source)
	}
	var servers []string
	for _, b := range blocks {
		if len(b.servers) == 0 {
			return fmt.Errorf("%w: upstream %s in %s is empty", ErrEmpty, b.name, source)
		}
		if b.name != preview {
			servers = append(servers, b.servers...)
		}
	}
	missing := slices.DeleteFunc(normalAddresses(in.Want), func(a string) bool { return slices.Contains(servers, a) })
	if len(missing) > 0 {
		return fmt.Errorf("%w: %s lacks %s", ErrForeign, source, strings.Join(missing, ", "))
	}
	foreign := slices.DeleteFunc(normalAddresses(in.Forbid), func(a string) bool { return !slices.Contains(servers, a) })
	if len(foreign) > 0 {
		return fmt.Errorf("%w: %s names %s", ErrForeign, source, strings.Join(foreign, ", "))
	}
	return checkPreview(source, preview, blocks, in.Preview)
}

// normalAddresses returns a new list with the normal spelling of each address.
func normalAddresses(addresses []string) []string {
	var list []string
	for _, a := range addresses {
		list = append(list, normalAddress(a))
	}
	return list
}
