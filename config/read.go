package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The YAML parser's time grows faster than a file's size and depth: 60,000
// opening brackets take it 37 s.
const (
	sizeLimit  = 64 << 10 // bytes
	depthLimit = 50       // collections in collections
)

// reader walks over the nodes of one YAML file. Walking, instead of decoding
// into structs, keeps the place of every value, also for checks that come after
// reading, and the text of values such as the tag 1.10, which as a number is 1.1.
type reader struct {
	name    string
	lines   []string
	anchors map[string]ast.Node
}

// leaf reads one value; key is its path.
type leaf func(key string, node ast.Node) error

// newReader returns the reader of content, which is the file's that messages
// call name.
func newReader(name string, content []byte) (*reader, error) {
	switch {
	case len(content) > sizeLimit:
		return nil, &Error{Where: name, Message: fmt.Sprintf("is larger than %d KiB", sizeLimit>>10)}
	case !utf8.Valid(content):
		return nil, &Error{Where: name, Message: "is not UTF-8 text"}
	}
	source := strings.TrimPrefix(string(content), "\ufeff")
	if deep(source) {
		return nil, &Error{Where: name, Message: fmt.Sprintf("is nested deeper than %d levels", depthLimit)}
	}
	return &reader{name: name, lines: strings.Split(source, "\n"), anchors: map[string]ast.Node{}}, nil
}

// deep reports whether source may be nested deeper than depthLimit. It counts
// what opens a collection without knowing what is in quotes.
func deep(source string) bool {
	depth := 0
	for line := range strings.Lines(source) {
		for _, r := range line {
			switch r {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(depth-1, 0)
			}
			if depth > depthLimit {
				return true
			}
		}
		if dashes := strings.Count(line, "- "); dashes > depthLimit && strings.HasPrefix(strings.TrimLeft(line, " "), "- - ") {
			return true
		}
	}
	return false
}

// read hands the values of the file's mapping to leaves.
func (r *reader) read(leaves map[string]leaf) error {
	root, err := r.parse(strings.Join(r.lines, "\n"))
	if err != nil || root == nil {
		return err
	}
	return r.mapping(root, "", "", leaves)
}

// parse returns the only document of the file, nil when it is empty.
func (r *reader) parse(source string) (root ast.Node, err error) {
	// The parser has a history of panics on malformed input.
	defer func() {
		if p := recover(); p != nil {
			err = origin{where: r.name}.fail("cannot be read as YAML: %v", p)
		}
	}()
	file, err := parser.ParseBytes([]byte(source), 0)
	if syntax, ok := errors.AsType[yaml.Error](err); ok {
		return nil, r.place(syntax.GetToken(), "").fail("%s", syntax.GetMessage())
	}
	if err != nil {
		return nil, origin{where: r.name}.fail("%v", err)
	}
	for _, doc := range file.Docs {
		switch {
		case doc == nil || doc.Body == nil:
		case root != nil:
			return nil, r.fail(doc.Body, "", "is a second document; there can be one")
		default:
			root = doc.Body
		}
	}
	return root, nil
}

// mapping hands each value of the mapping node to its leaf. Leaves have the keys
// below base; those of node start with prefix. A key that only starts leaves'
// keys is a mapping of its own.
func (r *reader) mapping(node ast.Node, base, prefix string, leaves map[string]leaf) error {
	node, err := r.follow(node)
	if err != nil || isNull(node) {
		return err
	}
	m, ok := node.(ast.MapNode)
	if !ok {
		return r.fail(node, join(base, prefix), "is %s; it takes the keys %s", describe(node), strings.Join(below(prefix, leaves), ", "))
	}
	for pairs := m.MapRange(); pairs.Next(); {
		if err := r.pair(pairs.KeyValue(), base, prefix, leaves); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) pair(pair *ast.MappingValueNode, base, prefix string, leaves map[string]leaf) error {
	name, known := keyName(pair.Key), below(prefix, leaves)
	if !slices.Contains(known, name) {
		return r.fail(pair.Key, join(base, prefix), "unknown key %q%s", name, suggest(name, known, leaves))
	}
	read, ok := leaves[prefix+name]
	if !ok {
		return r.mapping(pair.Value, base, prefix+name+".", leaves)
	}
	node, err := r.follow(pair.Value)
	if err != nil || isNull(node) {
		return err
	}
	return read(join(base, prefix+name), node)
}

// keyName returns the text of a key.
func keyName(key ast.MapKeyNode) string {
	if name, ok := key.(*ast.StringNode); ok {
		return name.Value
	}
	return key.GetToken().Value
}

// suggest names the known key that key may stand for: one of the same name
// elsewhere, or the nearest of those beside it.
func suggest(key string, known []string, leaves map[string]leaf) string {
	for _, path := range slices.Sorted(maps.Keys(leaves)) {
		if path == key || strings.HasSuffix(path, "."+key) {
			return fmt.Sprintf("; did you mean %s?", nested(path))
		}
	}
	return didYouMean(key, known)
}

// nested writes a path as the YAML that it stands for.
func nested(path string) string {
	parts := strings.Split(path, ".")
	return strings.Join(parts, ": { ") + ": …" + strings.Repeat(" }", len(parts)-1)
}

// below returns the next part of each of leaves' keys that start with prefix.
func below(prefix string, leaves map[string]leaf) []string {
	found := map[string]bool{}
	for key := range leaves {
		if rest, ok := strings.CutPrefix(key, prefix); ok {
			part, _, _ := strings.Cut(rest, ".")
			found[part] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// join returns the path of the keys below base that path leads to.
func join(base, path string) string {
	return strings.Trim(base+"."+path, ".")
}

// scalar returns the text of a value of kind want.
func (r *reader) scalar(key string, node ast.Node, want kind) (string, error) {
	node, err := r.follow(node)
	if err != nil {
		return "", err
	}
	var value string
	var fits bool
	switch n := node.(type) {
	case *ast.StringNode:
		value, fits = n.Value, want != number
	case *ast.LiteralNode:
		value, fits = n.Value.Value, want != number
	case *ast.IntegerNode:
		value, fits = n.Token.Value, true
	case *ast.FloatNode:
		value, fits = n.Token.Value, want == text
	case *ast.InfinityNode:
		value, fits = n.Token.Value, want == text
	}
	if !fits {
		return "", r.fail(node, key, "is %s; it takes %s", describe(node), want)
	}
	return value, nil
}

// list hands each entry of the list node to read, with its index in the key.
func (r *reader) list(key string, node ast.Node, read leaf) error {
	node, err := r.follow(node)
	if err != nil {
		return err
	}
	entries, ok := node.(*ast.SequenceNode)
	if !ok {
		return r.fail(node, key, "is %s; it takes a list", describe(node))
	}
	for i, entry := range entries.Values {
		if err := read(fmt.Sprintf("%s[%d]", key, i), entry); err != nil {
			return err
		}
	}
	return nil
}

// words returns the texts in a list that has at least one.
func (r *reader) words(key string, node ast.Node) (words []string, err error) {
	err = r.list(key, node, func(key string, node ast.Node) error {
		word, err := r.scalar(key, node, text)
		words = append(words, word)
		return err
	})
	if err == nil && (len(words) == 0 || words[0] == "") {
		err = r.fail(node, key, "names no command")
	}
	return words, err
}

// follow returns the value that node stands for. An anchor is known from its
// first use on. It cannot make a loop: each step down takes a key, and the known
// keys end.
func (r *reader) follow(node ast.Node) (ast.Node, error) {
	switch n := node.(type) {
	case *ast.AnchorNode:
		r.anchors[n.Name.GetToken().Value] = n.Value
		return r.follow(n.Value)
	case *ast.AliasNode:
		target, ok := r.anchors[n.Value.GetToken().Value]
		if !ok {
			return nil, r.fail(n, "", "unknown anchor %q", n.Value.GetToken().Value)
		}
		return target, nil
	case *ast.TagNode:
		return nil, r.fail(n, "", "YAML tags are not used here")
	}
	return node, nil
}

func isNull(node ast.Node) bool {
	_, null := node.(*ast.NullNode)
	return null || node == nil
}

// describe says what node is.
func describe(node ast.Node) string {
	switch n := node.(type) {
	case ast.MapNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode:
		return fmt.Sprintf("the text %q", n.Value)
	case *ast.LiteralNode:
		return "a text"
	case *ast.NullNode, nil:
		return "empty"
	}
	return node.GetToken().Value
}

// fail returns the error about the value node of key.
func (r *reader) fail(node ast.Node, key, format string, args ...any) *Error {
	return r.origin(node, key).fail(format, args...)
}

// origin returns the place of the value node of key.
func (r *reader) origin(node ast.Node, key string) origin {
	at := node.GetToken()
	// The token of a mapping without braces is its first colon.
	if m, ok := node.(ast.MapNode); ok && at != nil && at.Type == token.MappingValueType {
		if pairs := m.MapRange(); pairs.Next() {
			at = pairs.Key().GetToken()
		}
	}
	return r.place(at, key)
}

func (r *reader) place(at *token.Token, key string) origin {
	if at == nil || at.Position == nil {
		return origin{where: r.name, key: key}
	}
	line, column := at.Position.Line, at.Position.Column
	return origin{where: fmt.Sprintf("%s:%d:%d", r.name, line, column), key: key, excerpt: excerpt(r.lines, line, column)}
}
