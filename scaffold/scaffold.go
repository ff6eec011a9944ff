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
	// Stays says that it is not even forced: a Compose file describes more than
	// this service.
	Stays bool `json:"stays,omitempty"`
	// Adds is the one line that a file which stays lacks, "" when it lacks none.
	Adds string `json:"adds,omitempty"`
	was  []byte // what a file to which something is added was
}

// Service is what the files are made of.
type Service struct {
	Name   string
	Image  string // without a tag
	Port   int    // of the container
	Health string // the readiness path
	Path   string // of the location that leads to the service
	// Compose is the Compose service that runs it, where its name is not one of
	// those that bg looks for. Plan fills it in when there is one only.
	Compose string
	Builds  bool   // the Compose file names no image; Plan fills it in
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
// service. The error is a *SeveralError when it has to be said which service of the
// Compose file it is.
func Plan(dir string, s Service) ([]File, error) {
	compose, hasCompose := first(dir, "compose.yaml", "compose.yml", composeFile, "docker-compose.yaml")
	if !hasCompose && !exists(dir, "Dockerfile") {
		return nil, hint.Wrap(fmt.Errorf("%w: it has neither a Dockerfile nor a Compose file", ErrFolder), "go to the folder of the service that is to be deployed")
	}
	var list []File
	if hasCompose {
		existing, err := existing(dir, compose, &s)
		if err != nil {
			return nil, err
		}
		list = append(list, existing)
	}
	for _, f := range []struct{ name, source, why string }{
		{composeFile, "files/docker-compose.yml.tmpl", "the service in two colors"},
		{upstreamsFile, "nginx-upstreams.ctmpl", "where nginx sends requests: the instances of the color that is deployed"},
		{includesFile, "nginx-includes.conf.ctmpl", "which paths lead to the service"},
		{settingsFile, "files/bg.yml.tmpl", "how it is deployed"},
		{jenkinsFile, "files/Jenkinsfile.tmpl", "the pipeline: build, start and test, approval, switch"},
	} {
		if f.name == composeFile && hasCompose {
			continue
		}
		content, err := render(f.source, s)
		if err != nil {
			return nil, err
		}
		list = append(list, File{Name: f.name, Content: content, Why: f.why, Exists: exists(dir, f.name)})
	}
	return list, nil
}

// existing returns the folder's Compose file with what it lacks, and tells s what
// is to be known of it.
func existing(dir, name string, s *Service) (File, error) {
	file := File{Name: name, Why: "what runs the service", Exists: true, Stays: true}
	c, err := readCompose(dir, name)
	if err != nil {
		return file, err
	}
	service, found, err := c.choose(*s)
	if err != nil {
		return file, err
	}
	if s.Compose = service; found {
		s.Compose = ""
	}
	s.Builds = c.builds(service)
	file.Content = string(c.text)
	if !c.hidden(service) {
		return file, nil
	}
	file.Adds = fmt.Sprintf("ports: [\"%d\"]", s.Port)
	text, err := c.with(service, file.Adds)
	file.Content, file.was = string(text), c.text
	file.Why = "it lacks a published port of " + service + ", by which it is registered"
	return file, err
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

// Write writes those of list that do not exist, or all when force is set, adds to
// the Compose file what it lacks, and returns the names that were written.
func Write(dir string, list []File, force bool) ([]string, error) {
	var written []string
	for _, f := range list {
		if f.Stays {
			added, err := f.add(dir)
			written = append(written, added...)
			if err != nil {
				return written, err
			}
			continue
		}
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

// add puts the line into a file that otherwise stays as it is, and returns the names
// that were written.
func (f File) add(dir string) ([]string, error) {
	if f.Adds == "" {
		return nil, nil
	}
	path := filepath.Join(dir, f.Name)
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	now, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(now, f.was) {
		return nil, hint.Wrap(fmt.Errorf("%s was changed meanwhile", f.Name), "bg init again")
	}
	// Whole or not at all: it is the user's only one.
	if err := os.WriteFile(path+".new", []byte(f.Content), info.Mode().Perm()); err != nil {
		return nil, err
	}
	return []string{f.Name}, os.Rename(path+".new", path)
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
