package config

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"

	"bg/hint"
)

// The names that are looked for in a service's folder, the first one first.
// Those of Compose files have Compose's own order.
func configNames() []string { return []string{"bg.yml", "bg.yaml"} }
func composeNames() []string {
	return []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}
}
func templateNames() []string {
	return []string{"nginx-upstreams-{color}.ctmpl", "nginx-upstreams.ctmpl"}
}

const includesName = "nginx-includes.conf"

// file is a file on this machine that the configuration names.
type file struct {
	name   *string
	origin origin
}

// Find returns the bg.yml in dir, "" when there is none, and whether dir is a
// service's folder: by that file, or by a Compose file with a template.
func Find(dir string) (file string, service bool) {
	if name := present(dir, configNames(), ""); name != "" {
		return filepath.Join(dir, name), true
	}
	return "", present(dir, composeNames(), "") != "" && present(dir, templateNames(), "") != ""
}

// present returns the first of names that dir has as a file, else none. A name
// with {color} stands for the blue one.
func present(dir string, names []string, none string) string {
	for _, name := range names {
		info, err := os.Stat(filepath.Join(dir, colored(name, "blue")))
		if err == nil && !info.IsDir() {
			return name
		}
	}
	return none
}

// local has the file *name, which was set at o, made absolute and looked at.
func (l *loader) local(name *string, o origin) {
	l.cfg.files = append(l.cfg.files, file{name, o})
}

// folder fills in what depends on the service's name and on the files that are
// there, and makes the names of files absolute.
func (l *loader) folder() {
	c := l.cfg
	c.fill(&c.catalog, &c.Compose.Project, &c.Compose.Service, &c.Proxy.Upstreams.Path, &c.Proxy.Includes.Path)
	c.Proxy.URL = strings.TrimRight(c.Proxy.URL, "/")
	if c.Proxy.Host != nil {
		c.Proxy.Container = ""
	}
	if _, set := c.origins["proxy.probe.path"]; !set {
		c.Proxy.Probe.Path = cmp.Or(c.Health.Path, "/")
	}
	if _, set := c.origins["probe.path"]; !set {
		c.Evidence.Path = c.Proxy.Probe.Path
	}
	if c.Compose.File == "" {
		c.Compose.File = present(c.Dir, composeNames(), "docker-compose.yml")
	}
	if c.Proxy.Upstreams.Template == "" {
		c.Proxy.Upstreams.Template = present(c.Dir, templateNames(), templateNames()[0])
	}
	if _, set := c.origins["proxy.includes.file"]; !set {
		c.Proxy.Includes.File = present(c.Dir, []string{includesName}, "")
	}
	if c.Proxy.Includes.File == "" {
		c.Proxy.Includes.Path = ""
	}
	for _, written := range []*string{&c.Metrics.File, &c.Report} {
		if *written != "" {
			*written = c.resolve(*written)
		}
	}
	l.tests()
	l.local(&c.Compose.File, c.origins["compose.file"])
	l.local(&c.Proxy.Upstreams.Template, c.origins["proxy.upstreams.template"])
	if c.Proxy.Includes.File != "" {
		l.local(&c.Proxy.Includes.File, c.origins["proxy.includes.file"])
	}
	for _, f := range c.files {
		*f.name = c.resolve(*f.name)
	}
}

// tests fills in what single tests leave out.
func (l *loader) tests() {
	for _, list := range [][]Test{l.cfg.Tests.Pre, l.cfg.Tests.Post} {
		for i := range list {
			t := &list[i]
			if t.Timeout == 0 {
				t.Timeout = l.cfg.Tests.Timeout
			}
			if t.Compose != nil && t.Compose.File == "" {
				t.Compose.File = l.cfg.Compose.File
				l.local(&t.Compose.File, origin{})
			}
		}
	}
}

// CheckFiles returns an *Error about the first file that is named and is not
// there, for both colors. Only deployments need them all.
func (c *Config) CheckFiles() error {
	for _, f := range c.files {
		for _, name := range []string{colored(*f.name, "blue"), colored(*f.name, "green")} {
			info, err := os.Stat(name)
			switch {
			case err != nil:
				return hint.Wrap(f.origin.fail("%s: %s", name, cause(err)), "run bg in the service's folder, or correct the name in bg.yml")
			case info.IsDir():
				return hint.Wrap(f.origin.fail("%s is a folder", name), "name the file in it")
			}
		}
	}
	return nil
}
