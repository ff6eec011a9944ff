package proxy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	texttemplate "text/template"

	dep "github.com/hashicorp/consul-template/dependency"

	"bg/color"
)

// CatalogConfig says which Consul the templates read. What is empty is as the
// CONSUL_* variables say.
type CatalogConfig struct {
	Address    string // such as http://localhost:8500
	Token      string
	TokenFile  string
	CACert     string // file
	CAPath     string // directory
	ClientCert string // file
	ClientKey  string // file
	ServerName string // to expect in Consul's certificate
	Insecure   bool   // take any certificate
}

// open returns consul-template's client for Consul. It contacts nothing.
func (c CatalogConfig) open() (*dep.ClientSet, error) {
	clients := dep.NewClientSet()
	if err := clients.CreateConsulClient(&dep.CreateConsulClientInput{
		Address: c.Address, Token: c.Token, TokenFile: c.TokenFile,
		SSLEnabled: c.CACert != "" || c.CAPath != "" || c.ClientCert != "" || c.ServerName != "" || c.Insecure,
		SSLVerify:  !c.Insecure,
		SSLCert:    c.ClientCert, SSLKey: c.ClientKey, SSLCACert: c.CACert, SSLCAPath: c.CAPath, ServerName: c.ServerName,
	}); err != nil {
		return nil, fmt.Errorf("open Consul for the templates: %w", err)
	}
	return clients, nil
}

// data is what the templates of one rendering read. Its methods stand in for
// the functions of consul-template that fetch: those take no context, render
// first without the data, and log keys and values through the global logger.
// The helpers that work on the answers (byTag, toLower, loop, …) stay
// consul-template's.
type data struct {
	ctx     context.Context // the rendering's; template functions have no other way to it
	clients *dep.ClientSet
	cfg     Config
	color   color.Color
	preview color.Color    // that is held, None when none is
	planned []string       // see RenderInput
	source  string         // the template that runs
	failure error          // what a function of it met
	answers map[string]any // so that one rendering sees one state of Consul
	taints  []taint
}

// functions returns the functions that stand in for consul-template's.
func (d *data) functions() texttemplate.FuncMap {
	return texttemplate.FuncMap{
		"service":      d.service,
		"services":     d.services,
		"nodes":        d.nodes,
		"datacenters":  d.datacenters,
		"key":          d.key,
		"keyExists":    d.keyExists,
		"keyOrDefault": d.keyOrDefault,
		"ls":           func(prefix string) ([]*dep.KeyPair, error) { return d.ls(prefix, false) },
		"safeLs":       func(prefix string) ([]*dep.KeyPair, error) { return d.ls(prefix, true) },
		"tree":         func(prefix string) ([]*dep.KeyPair, error) { return d.tree(prefix, false) },
		"safeTree":     func(prefix string) ([]*dep.KeyPair, error) { return d.tree(prefix, true) },
		"file":         d.file,
		"env":          d.env,
		"mustEnv":      d.mustEnv,
		"envOrDefault": d.envOrDefault,
	}
}

// keep remembers what a function met, because consul-template flattens the
// errors of functions to text.
func (d *data) keep(err *error) {
	if *err != nil && d.failure == nil {
		d.failure = *err
	}
}

// once returns the answer to query, which ask fetches the first time.
func once[T any](d *data, query string, ask func() (T, error)) (T, error) {
	if answer, ok := d.answers[query]; ok {
		return answer.(T), nil
	}
	answer, err := ask()
	if err != nil {
		if d.ctx.Err() != nil {
			err = context.Cause(d.ctx)
		}
		return answer, fmt.Errorf("read %s from Consul: %w", query, err)
	}
	d.answers[query] = answer
	return answer, nil
}

// env returns a variable of the deployment's, or of this process's
// environment when it holds no secret: an nginx file is no place for one.
func (d *data) env(name string) (value string, err error) {
	defer d.keep(&err)
	value, _, err = d.lookupEnv(name)
	return value, err
}

func (d *data) envOrDefault(name, otherwise string) (value string, err error) {
	defer d.keep(&err)
	if value, found, err := d.lookupEnv(name); found || err != nil {
		return value, err
	}
	return otherwise, nil
}

func (d *data) mustEnv(name string) (value string, err error) {
	defer d.keep(&err)
	if value, _, err = d.lookupEnv(name); err == nil && value == "" {
		err = fmt.Errorf("the environment variable %s is empty", name)
	}
	return value, err
}

func (d *data) lookupEnv(name string) (value string, found bool, err error) {
	switch name {
	case "BG_SERVICE":
		return d.cfg.Service, true, nil
	case "BG_COLOR":
		return string(d.color), true, nil
	case "BG_CATALOG":
		return d.cfg.catalogName(d.color), true, nil
	case previewVariable:
		return string(d.preview), true, nil
	case previewVariable + "_CATALOG":
		if d.preview == color.None {
			return "", true, nil
		}
		return d.cfg.catalogName(d.preview), true, nil
	}
	if credential.MatchString(name) {
		return "", false, fmt.Errorf("the environment variable %s looks like a credential, which has no place in an nginx file", name)
	}
	value, found = os.LookupEnv(name)
	return value, found, nil
}

// file returns the content of a file below the template's directory.
func (d *data) file(path string) (content string, err error) {
	defer d.keep(&err)
	dir := filepath.Dir(d.source)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if filepath.IsAbs(path) {
		if dir, err = filepath.Abs(dir); err != nil {
			return "", err
		}
		if path, err = filepath.Rel(dir, path); err != nil {
			return "", err
		}
	}
	text, err := root.ReadFile(path)
	return string(text), err
}
