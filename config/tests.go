package config

import (
	"fmt"
	"net/http"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Tests are the integration tests of a service.
type Tests struct {
	Timeout time.Duration // of each test that names none
	Pre     []Test        // against an instance, before the switch
	Post    []Test        // through nginx, after it
}

// Test is one integration test: one of HTTP, Run and Compose is set.
type Test struct {
	Name    string // "" when the file gives none
	Timeout time.Duration
	HTTP    *HTTPTest
	Run     []string // a command and its arguments; from a text in the file, sh -c
	Compose *ComposeTest
}

// HTTPTest is a request and what its answer has to be.
type HTTPTest struct {
	Method   string // default GET
	Path     string
	Header   http.Header
	Body     string
	Status   int    // 0 accepts 200 to 299
	Contains string // what the answer's body has to contain
	Follow   bool   // redirects are followed
}

// ComposeTest is a service of a Compose file that runs to its end.
type ComposeTest struct {
	File    string // default the service's own
	Service string
}

// testList returns the leaf that reads a list of tests.
func (l *loader) testList(into *[]Test) leaf {
	return func(key string, node ast.Node) error {
		return l.list(key, node, func(key string, node ast.Node) error {
			test, err := l.test(key, node)
			*into = append(*into, test)
			return err
		})
	}
}

func (l *loader) test(key string, node ast.Node) (Test, error) {
	t, request, service := Test{}, HTTPTest{Method: http.MethodGet}, ComposeTest{}
	leaves := map[string]leaf{
		"name":    l.into(text, checked(&t.Name, checkLine)),
		"timeout": l.into(duration, func(v string) (err error) { t.Timeout, err = parseDuration(v, time.Second, day); return err }),
		"run":     func(key string, node ast.Node) (err error) { t.Run, err = l.command(key, node); return err },
	}
	for name, read := range l.requestLeaves(&request) {
		leaves["http."+name] = func(key string, node ast.Node) error { t.HTTP = &request; return read(key, node) }
	}
	for name, read := range l.composeLeaves(&service) {
		leaves["compose."+name] = func(key string, node ast.Node) error { t.Compose = &service; return read(key, node) }
	}
	if err := l.mapping(node, key, "", leaves); err != nil {
		return t, err
	}
	return t, l.complete(key, node, t)
}

// complete returns what t lacks.
func (l *loader) complete(key string, node ast.Node, t Test) error {
	kinds := 0
	for _, set := range []bool{t.HTTP != nil, t.Run != nil, t.Compose != nil} {
		if set {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return l.fail(node, key, "has %d of http, run and compose; a test is one of them", kinds)
	case t.HTTP != nil && t.HTTP.Path == "":
		return l.fail(node, join(key, "http"), "the path is missing")
	case t.Compose != nil && t.Compose.Service == "":
		return l.fail(node, join(key, "compose"), "the service is missing")
	}
	return nil
}

func (l *loader) requestLeaves(t *HTTPTest) map[string]leaf {
	return map[string]leaf{
		"method":   l.into(text, checked(&t.Method, matches(methodForm, "a method such as GET or POST"))),
		"path":     l.into(text, checked(&t.Path, checkURLPath)),
		"body":     l.into(text, checked(&t.Body, nil)),
		"contains": l.into(text, checked(&t.Contains, nil)),
		"status":   l.into(number, func(v string) (err error) { t.Status, err = parseNumber(v, 100, 599); return err }),
		"follow":   func(key string, node ast.Node) (err error) { t.Follow, err = l.yes(key, node); return err },
		"header":   func(key string, node ast.Node) (err error) { t.Header, err = l.header(key, node); return err },
	}
}

// header reads a mapping from a header's name to its value.
func (l *loader) header(key string, node ast.Node) (http.Header, error) {
	pairs, ok := node.(ast.MapNode)
	if !ok {
		return nil, l.fail(node, key, "is %s; it takes a mapping from names to values", describe(node))
	}
	header := http.Header{}
	for each := pairs.MapRange(); each.Next(); {
		name := keyName(each.Key())
		if err := checkHeader(name); err != nil {
			return nil, l.fail(each.Key(), key, "%v", err)
		}
		var value string
		if err := l.into(text, checked(&value, checkLine))(join(key, name), each.Value()); err != nil {
			return nil, err
		}
		header.Set(name, value)
	}
	return header, nil
}

func (l *loader) composeLeaves(t *ComposeTest) map[string]leaf {
	return map[string]leaf{
		"file": func(key string, node ast.Node) error {
			l.local(&t.File, l.origin(node, key))
			return l.into(text, checked(&t.File, checkFile("{service}")))(key, node)
		},
		"service": l.into(text, checked(&t.Service, checkContainer)),
	}
}

// command reads a command: a list of words, or a text for the shell.
func (l *loader) command(key string, node ast.Node) ([]string, error) {
	if _, list := node.(*ast.SequenceNode); list {
		return l.words(key, node)
	}
	var script string
	err := l.into(text, checked(&script, func(v string) error {
		if v == "" {
			return fmt.Errorf("names no command")
		}
		return nil
	}))(key, node)
	return []string{"sh", "-c", script}, err
}
