package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"bg/hint"
)

// Source is where a configuration comes from. Names of files are relative to the
// service's folder, wherever they are set.
type Source struct {
	File    string // a file that must exist; "" looks for bg.yml in Dir
	Dir     string // the service's folder, "" is the current one; with File, that file's folder is taken
	Service string // the SERVICE argument, "" when there was none
	// Lookup returns variables, such as os.LookupEnv; nil means none are set.
	Lookup func(string) (string, bool)
	Flags  map[string]string // from a Setting's key to its value, those set only
}

// loader fills a Config.
type loader struct {
	*reader
	cfg      *Config
	settings []Setting
}

// Load returns the configuration of a service. Its error is an *Error, with the
// place and the source, or the file's own when it cannot be read.
func Load(src Source) (*Config, error) {
	l := &loader{cfg: defaults(), settings: Settings()}
	for _, step := range []func(Source) error{l.file, l.variables, l.flags, l.service, l.check} {
		if err := step(src); err != nil {
			return nil, err
		}
	}
	l.folder()
	return l.cfg, nil
}

// file applies bg.yml, when there is one.
func (l *loader) file(src Source) (err error) {
	name := src.File
	if name == "" {
		name, _ = Find(src.Dir)
	}
	dir := src.Dir
	if name != "" {
		dir = filepath.Dir(name)
	}
	if l.cfg.Dir, err = filepath.Abs(dir); err != nil {
		return fmt.Errorf("find folder %s: %w", dir, err)
	}
	if name == "" {
		return nil
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return &Error{Where: name, Message: cause(err)}
	}
	l.cfg.File = name
	return l.content(name, content)
}

// content applies the content of the file that messages call name.
func (l *loader) content(name string, content []byte) (err error) {
	if l.reader, err = newReader(name, content); err != nil {
		return err
	}
	return l.read(l.leaves())
}

// leaves are all keys of the file.
func (l *loader) leaves() map[string]leaf {
	leaves := map[string]leaf{
		"tests.pre":  l.testList(&l.cfg.Tests.Pre),
		"tests.post": l.testList(&l.cfg.Tests.Post),
		"hooks":      l.hookList,
	}
	for _, s := range l.settings {
		leaves[s.Key] = func(key string, node ast.Node) error {
			value, err := l.scalar(key, node, s.kind)
			if err != nil {
				return err
			}
			return l.set(s, value, l.origin(node, key))
		}
	}
	for key, read := range l.hostLeaves() {
		leaves["proxy.host."+key] = func(key string, node ast.Node) error {
			if l.cfg.Proxy.Host == nil {
				l.cfg.Proxy.Host = &Host{}
				l.cfg.origins["proxy.host"] = l.origin(node, "proxy.host")
			}
			return read(key, node)
		}
	}
	return leaves
}

// hostLeaves are the keys of an nginx on this machine, which only the file sets.
func (l *loader) hostLeaves() map[string]leaf {
	absolute := func(v string) error {
		if !filepath.IsAbs(v) {
			return fmt.Errorf("%q is not an absolute path", v)
		}
		return checkLine(v)
	}
	return map[string]leaf{
		"check": func(key string, node ast.Node) (err error) {
			l.cfg.Proxy.Host.Check, err = l.words(key, node)
			if err == nil && !slices.Contains(l.cfg.Proxy.Host.Check, "-t") {
				err = l.fail(node, key, "has no -t; it takes a command such as [nginx, -t]")
			}
			return err
		},
		"reload": func(key string, node ast.Node) (err error) {
			l.cfg.Proxy.Host.Reload, err = l.words(key, node)
			return err
		},
		"pid_file":  l.into(text, func(v string) error { l.cfg.Proxy.Host.PIDFile = v; return absolute(v) }),
		"error_log": l.into(text, func(v string) error { l.cfg.Proxy.Host.ErrorLog = v; return absolute(v) }),
	}
}

// into returns the leaf that gives a scalar to set.
func (l *loader) into(want kind, set func(string) error) leaf {
	return func(key string, node ast.Node) error {
		value, err := l.scalar(key, node, want)
		if err != nil {
			return err
		}
		if err := set(value); err != nil {
			return l.fail(node, key, "%v", err)
		}
		return nil
	}
}

// checked returns the setter of field for values that check, unless nil, accepts.
func checked(field *string, check func(string) error) func(string) error {
	return func(value string) error {
		*field = value
		if check == nil {
			return nil
		}
		return check(value)
	}
}

// set gives value, which was found at o, to setting s.
func (l *loader) set(s Setting, value string, o origin) error {
	l.cfg.origins[s.Key] = o
	if err := s.set(l.cfg, value); err != nil {
		return o.fail("%v", err)
	}
	return nil
}

// variables applies BG_ variables. One that is set to nothing counts as not
// set: that is how Jenkins hands on a parameter that was left empty.
func (l *loader) variables(src Source) error {
	if src.Lookup == nil {
		return nil
	}
	for _, s := range l.settings {
		value, _ := src.Lookup(s.Env)
		if value == "" || s.Key == "service" && src.Service != "" {
			continue
		}
		if s.Key == "service" {
			if err := l.agree(value, s.Env); err != nil {
				return err
			}
		}
		if err := l.set(s, value, origin{where: s.Env}); err != nil {
			return err
		}
	}
	return nil
}

// flags applies flags in the order of the settings.
func (l *loader) flags(src Source) error {
	for _, s := range l.settings {
		value, ok := src.Flags[s.Key]
		if !ok {
			continue
		}
		if err := l.set(s, value, origin{where: "--" + s.Flag}); err != nil {
			return err
		}
	}
	return nil
}

// service applies the SERVICE argument.
func (l *loader) service(src Source) error {
	if src.Service == "" && l.cfg.Service == "" {
		return hint.Wrap(&Error{Message: "which service is not said"}, "name it as the argument SERVICE, or as service in bg.yml")
	}
	if src.Service == "" {
		return nil
	}
	if err := l.agree(src.Service, "SERVICE"); err != nil {
		return err
	}
	return l.set(l.settings[0], src.Service, origin{where: "SERVICE"})
}

// agree refuses a service other than the one that the file is for: with its
// Compose file and templates, another service would be overwritten.
func (l *loader) agree(value, where string) error {
	o, inFile := l.cfg.origins["service"]
	if !inFile || o.key == "" || l.cfg.Service == value {
		return nil
	}
	return hint.Wrap(o.fail("is %q, and %s is %q", l.cfg.Service, where, value), "run bg in the folder of "+value+", or name its bg.yml with --file")
}

// check looks at values that have to go together.
func (l *loader) check(Source) error {
	c := l.cfg
	host, hasHost := c.origins["proxy.host"]
	_, hasContainer := c.origins["proxy.container"]
	switch {
	case hasHost && hasContainer:
		return host.fail("is for an nginx on this machine, and proxy.container for one in a container; set one of them")
	case hasHost && (c.Proxy.Host.Check == nil || c.Proxy.Host.Reload == nil):
		return host.fail("needs both check and reload")
	case c.Proxy.Upstreams.Path == c.Proxy.Includes.Path:
		return c.first("proxy.includes.path", "proxy.upstreams.path").fail("the upstreams and the includes have one path, %s", c.Proxy.Includes.Path)
	case c.Proxy.URL == "" && slices.ContainsFunc(c.Tests.Post, func(t Test) bool { return t.HTTP != nil }):
		return c.first("proxy.url").fail("is empty, and tests.post has a request to send there")
	}
	return nil
}

// first returns the origin of the first of keys that was set.
func (c *Config) first(keys ...string) origin {
	for _, key := range keys {
		if o, ok := c.origins[key]; ok {
			return o
		}
	}
	return origin{key: keys[0]}
}

// cause returns what went wrong with a file, without its name.
func cause(err error) string {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err.Error()
	}
	return err.Error()
}

// fill replaces {service} in values that are no files.
func (c *Config) fill(values ...*string) {
	for _, v := range values {
		*v = strings.ReplaceAll(*v, "{service}", c.Service)
	}
}
