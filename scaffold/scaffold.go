// Package scaffold makes what a service's folder lacks for its first deployment.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/goccy/go-yaml"

	"bg/hint"
	"bg/templates"
)

// File is one file that is to be written.
type File struct {
	Name    string `json:"name"`
	Content string `json:"content"`
	Why     string `json:"why"`
	// Exists says that there is one by this name. It stays unless it is forced.
	Exists bool `json:"exists,omitempty"`
}

// Service is what the files are made of.
type Service struct {
	Name   string
	Image  string // without a tag
	Port   int    // of the container
	Health string // the readiness path
	Path   string // of the location that leads to the service
	// Compose is the Compose service that runs it, where its name is not one of
	// those that bg looks for; Plan fills it in.
	Compose string
	Proxy   string // the container of nginx
	URL     string // through nginx
}

// Names of the files, in the order in which they are shown.
const (
	composeFile   = "docker-compose.yml"
	settingsFile  = "bg.yml"
	upstreamsFile = "nginx-upstreams.ctmpl"
	includesFile  = "nginx-includes.conf"
	jenkinsFile   = "Jenkinsfile"
)

//go:embed files
var files embed.FS

// Plan returns the files for a service in dir, among them those that exist
// already. A folder without a Dockerfile and without a Compose file is none of a
// service.
func Plan(dir string, s Service) ([]File, error) {
	compose, hasCompose := first(dir, "compose.yaml", "compose.yml", composeFile, "docker-compose.yaml")
	if !hasCompose && !exists(dir, "Dockerfile") {
		return nil, hint.Wrap(fmt.Errorf("%w: it has neither a Dockerfile nor a Compose file", ErrFolder), "go to the folder of the service that is to be deployed")
	}
	if hasCompose {
		var err error
		if s.Compose, err = only(filepath.Join(dir, compose), s.Name); err != nil {
			return nil, err
		}
	}
	var list []File
	for _, f := range []struct{ name, source, why string }{
		{composeFile, "files/docker-compose.yml.tmpl", "the service in two colors"},
		{upstreamsFile, "nginx-upstreams.ctmpl", "where nginx sends requests: the instances of the color that is deployed"},
		{includesFile, "nginx-includes.conf.ctmpl", "which paths lead to the service"},
		{settingsFile, "files/bg.yml.tmpl", "how it is deployed"},
		{jenkinsFile, "files/Jenkinsfile.tmpl", "the pipeline: build, start and test, approval, switch"},
	} {
		if f.name == composeFile && hasCompose {
			f.name = compose
		}
		content, err := render(f.source, s)
		if err != nil {
			return nil, err
		}
		list = append(list, File{Name: f.name, Content: content, Why: f.why, Exists: exists(dir, f.name)})
	}
	return list, nil
}

// only returns the one service of a Compose file, "" when there are several or
// when bg finds it by its name.
func only(file, service string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var doc struct{ Services map[string]any }
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrFolder, file, err)
	}
	for name := range doc.Services {
		if len(doc.Services) == 1 && name != "app" && name != service {
			return name, nil
		}
	}
	return "", nil
}

// ErrFolder says that this is no folder of a service.
var ErrFolder = errors.New("this is no service's folder")

// render fills in a file. bg's own templates are filled in once, with the
// functions of consul-template that they use; the upstreams are copied, because
// each deployment renders them.
func render(source string, s Service) (string, error) {
	if source == upstreamsFile {
		text, err := fs.ReadFile(templates.Files, source)
		return string(text), err
	}
	from, left, right := fs.FS(files), "[[", "]]"
	if strings.HasSuffix(source, ".ctmpl") {
		from, left, right = templates.Files, "{{", "}}"
	}
	text, err := fs.ReadFile(from, source)
	if err != nil {
		return "", err
	}
	variables := map[string]string{"BG_SERVICE": s.Name, "BG_PATH": s.Path}
	t, err := template.New(source).Delims(left, right).Funcs(template.FuncMap{
		"env": func(name string) string { return variables[name] },
		"envOrDefault": func(name, otherwise string) string {
			if variables[name] == "" {
				return otherwise
			}
			return variables[name]
		},
		"regexReplaceAll": func(pattern, with, text string) string {
			return regexp.MustCompile(pattern).ReplaceAllString(text, with)
		},
	}).Parse(string(text))
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = t.Execute(&out, s)
	return out.String(), err
}

// Write writes those of list that do not exist, or all when force is set, and
// returns the names that were written.
func Write(dir string, list []File, force bool) ([]string, error) {
	var written []string
	for _, f := range list {
		flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
		if force {
			flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
		}
		file, err := os.OpenFile(filepath.Join(dir, f.Name), flags, 0o644)
		if os.IsExist(err) {
			continue // also one that came into being meanwhile
		}
		if err != nil {
			return written, err
		}
		_, err = file.WriteString(f.Content)
		if closed := file.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return written, fmt.Errorf("write %s: %w", f.Name, err)
		}
		written = append(written, f.Name)
	}
	return written, nil
}

// port finds the first port in EXPOSE lines of a Dockerfile.
var port = regexp.MustCompile(`(?im)^\s*EXPOSE\s+(\d+)`)

// Port returns the port that the Dockerfile in dir exposes, and otherwise when
// it exposes none.
func Port(dir string, otherwise int) int {
	text, err := os.ReadFile(filepath.Join(dir, "Dockerfile"))
	if err != nil {
		return otherwise
	}
	if match := port.FindSubmatch(text); match != nil {
		if _, err := fmt.Sscan(string(match[1]), &otherwise); err != nil {
			return 0
		}
	}
	return otherwise
}

func exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}

// first returns the first of names that dir has.
func first(dir string, names ...string) (string, bool) {
	i := slices.IndexFunc(names, func(name string) bool { return exists(dir, name) })
	if i < 0 {
		return "", false
	}
	return names[i], true
}
