package scaffold

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"bg/hint"
)

// SeveralError says that a Compose file has several services, of which somebody
// has to choose.
type SeveralError struct {
	File     string
	Services []string
}

func (e *SeveralError) Error() string {
	return fmt.Sprintf("%s has several services: %s", e.File, strings.Join(e.Services, ", "))
}

// compose is a Compose file, as far as it matters here.
type compose struct {
	name     string // of the file
	text     []byte
	root     string // where the services are, in YAML's path language
	services map[string]map[string]any
}

// readCompose reads a Compose file, in today's layout or in the old one, in which
// services stand at the top.
func readCompose(dir, name string) (compose, error) {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return compose{}, err
	}
	return parseCompose(name, text)
}

func parseCompose(name string, text []byte) (compose, error) {
	c := compose{name: name, text: text, root: "$.services", services: map[string]map[string]any{}}
	var doc map[string]any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return c, fmt.Errorf("%w: %s: %w", ErrFolder, name, err)
	}
	services, today := doc["services"].(map[string]any)
	if !today {
		services, c.root = doc, "$"
	}
	for service, value := range services {
		if of, isMap := value.(map[string]any); isMap {
			c.services[service] = of
		}
	}
	return c, nil
}

// choose returns the service that bg is to color, and whether it finds it by itself.
func (c compose) choose(s Service) (name string, found bool, err error) {
	_, named := c.services[s.Compose]
	names := slices.Sorted(maps.Keys(c.services))
	switch {
	case s.Compose != "" && !named:
		return "", false, hint.Wrap(fmt.Errorf("%w: %s has no service %s", ErrFolder, c.name, s.Compose), "it has "+strings.Join(names, ", "))
	case s.Compose != "":
		return s.Compose, false, nil
	}
	// The names that bg looks for, and in their order.
	for _, usual := range []string{"app-blue", "blue", s.Name + "-blue", "app", s.Name} {
		if _, has := c.services[usual]; has {
			return usual, true, nil
		}
	}
	if len(names) == 1 {
		return names[0], false, nil
	}
	return "", false, &SeveralError{File: c.name, Services: names}
}

// takesMore reports whether a service takes a part of its keys from elsewhere.
func (c compose) takesMore(service string) bool {
	return c.services[service]["extends"] != nil || c.services[service]["<<"] != nil
}

// builds reports whether a service names no image, but only how one is built.
func (c compose) builds(service string) bool {
	return !c.takesMore(service) && c.services[service]["image"] == nil
}

// hidden reports whether a service publishes no port, so that Registrator would not
// register it.
func (c compose) hidden(service string) bool {
	of := c.services[service]
	return !c.takesMore(service) && of["ports"] == nil && of["network_mode"] == nil && of["net"] == nil
}

// with returns the file with one more key, "key: value", at the beginning of a
// service. All else stays as it is, comments too.
func (c compose) with(service, entry string) ([]byte, error) {
	file, err := parser.ParseBytes(c.text, 0)
	if err != nil {
		return nil, err
	}
	path, err := yaml.PathString(c.root + ".'" + service + "'")
	if err != nil {
		return nil, err
	}
	node, err := path.FilterFile(file)
	if err != nil {
		return nil, err
	}
	text, err := insert(string(c.text), node, entry)
	if err == nil {
		err = c.only(service, []byte(text))
	}
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("%w: %s: service %s: %w", ErrFolder, c.name, service, err), "add by hand to "+service+": "+entry)
	}
	return []byte(text), nil
}

// insert puts entry before the first key of a mapping.
func insert(text string, node ast.Node, entry string) (string, error) {
	if anchored, is := node.(*ast.AnchorNode); is {
		node = anchored.Value
	}
	mapping, is := node.(*ast.MappingNode)
	if !is || len(mapping.Values) == 0 {
		return "", fmt.Errorf("it is a %s", node.Type())
	}
	lines := strings.SplitAfter(text, "\n")
	at := mapping.Values[0].Key.GetToken().Position
	line := lines[at.Line-1]
	before, after := line[:at.Column-1], line[at.Column-1:]
	if mapping.IsFlowStyle {
		lines[at.Line-1] = before + entry + ", " + after
	} else {
		lines[at.Line-1] = before + entry + "\n" + strings.Repeat(" ", len(before)) + after
	}
	return strings.Join(lines, ""), nil
}

// only returns an error unless text differs from the file in one service alone, by
// keys that were not there.
func (c compose) only(service string, text []byte) error {
	changed, err := parseCompose(c.name, text)
	if err != nil {
		return err
	}
	for name, before := range c.services {
		after := maps.Clone(changed.services[name])
		if name == service {
			maps.DeleteFunc(after, func(key string, _ any) bool { return before[key] == nil })
		}
		if !reflect.DeepEqual(before, after) {
			return fmt.Errorf("nothing can be added to it without a change of %s", name)
		}
	}
	return nil
}
