// Package config reads how a service is deployed: from flags, BG_ variables,
// the file bg.yml and the defaults, in that order.
package config

import (
	"path/filepath"
	"strings"
	"time"

	"bg/color"
)

// Config is everything that a service's folder says about its deployment. Files
// on this machine are absolute paths; "{service}" is replaced everywhere,
// "{color}" only by the methods that take a color.
type Config struct {
	File string // the file that was read, "" when there is none
	Dir  string // the service's folder

	Service  string
	Image    string // overrides the Compose file's image
	Tag      string // overrides only its tag
	Replicas int    // containers of a color; 0 as the Compose file says
	Keep     time.Duration
	History  int // how many deployments are remembered

	Consul   Consul
	Compose  Compose
	Health   Health
	Tests    Tests
	Hooks    []Hook
	Metrics  Metrics
	Report   string // the HTML page to write, "" for none
	Proxy    Proxy
	Evidence Evidence
	Timeouts Timeouts
	Lock     Lock

	catalog string // the pattern of the catalog's names
	origins map[string]origin
	files   []file // what CheckFiles looks at
}

// Consul says where in Consul the service's keys are.
type Consul struct {
	Prefix string // "" or ends with a slash
}

// Compose says which Compose service runs a color.
type Compose struct {
	File    string
	Project string
	Service string // may hold "{color}"; "" means that it is detected
	Port    int    // the container port that serves; 0 when only one is published
	Pull    string // always, missing or never
}

// Health says when an instance is ready for requests.
type Health struct {
	Path     string        // "" sends no request
	Passes   int           // good answers in a row
	Interval time.Duration // between two requests
	Timeout  time.Duration // for a whole color
}

// Proxy says how nginx is reached and which of its files belong to the service.
type Proxy struct {
	Container string // "" when Host is set
	Host      *Host
	Upstreams Upstreams
	Includes  Includes
	URL       string // base URL through nginx, without a slash at its end; "" sends no probes
	Probe     Probe
}

// Host is an nginx that runs on this machine outside of containers.
type Host struct {
	Check    []string // tests the configuration
	Reload   []string
	PIDFile  string // "" means that the master process is searched
	ErrorLog string
}

// Upstreams is the file with the upstream blocks.
type Upstreams struct {
	Template string // may hold "{color}"
	Path     string // in nginx's file system
}

// Includes is the file with the locations, of which both are "" when bg does
// not manage it.
type Includes struct {
	File string // may hold "{color}"
	Path string // in nginx's file system
}

// Probe is the request through nginx that tells which color answers.
type Probe struct {
	Path   string
	Header string // of the response
}

// Evidence is what is asked through nginx all the while a deployment runs: the
// keys below probe.
type Evidence struct {
	Rate int // requests a second; 0 sends none
	Path string
}

// Metrics says where the numbers of a deployment go. Both are "" by default.
type Metrics struct {
	File string // for node_exporter's textfile collector
	Push string // base URL of a Pushgateway
}

// Timeouts are the limits of single steps. Register's is Health.Timeout.
type Timeouts struct {
	Start  time.Duration
	Switch time.Duration
	Drain  time.Duration
	Undo   time.Duration
	Stop   time.Duration // 0 means as the Compose file says
}

// Lock says how a service is held during a deployment.
type Lock struct {
	TTL  time.Duration // how long the lock outlives a killed bg
	Wait time.Duration // for another deployment to end
}

// Catalog returns the name of color c in Consul's catalog.
func (c *Config) Catalog(of color.Color) string { return colored(c.catalog, of) }

// CatalogPattern returns the name in Consul's catalog with "{color}" in it.
func (c *Config) CatalogPattern() string { return c.catalog }

// KVKey returns the KV key below the service's own, such as books-ms/color.
func (c *Config) KVKey(parts ...string) string {
	return c.Consul.Prefix + strings.Join(append([]string{c.Service}, parts...), "/")
}

func colored(pattern string, c color.Color) string {
	return strings.ReplaceAll(pattern, "{color}", string(c))
}

// defaults returns what holds when nothing is set. The service's name is not
// known yet.
func defaults() *Config {
	return &Config{
		History: 50,
		Compose: Compose{Project: "{service}", Pull: "always"},
		Health:  Health{Path: "/ping", Passes: 3, Interval: 25 * time.Millisecond, Timeout: time.Minute},
		Tests:   Tests{Timeout: 5 * time.Minute},
		Proxy: Proxy{
			Container: "nginx",
			Upstreams: Upstreams{Path: "/etc/nginx/upstreams/{service}.conf"},
			Includes:  Includes{Path: "/etc/nginx/includes/{service}.conf"},
			URL:       "http://localhost:8000",
			Probe:     Probe{Header: "X-BG-Color"},
		},
		Evidence: Evidence{Rate: 20},
		Timeouts: Timeouts{Start: 2 * time.Minute, Switch: 15 * time.Second, Drain: time.Minute, Undo: time.Minute},
		Lock:     Lock{TTL: 15 * time.Second},
		catalog:  "{service}-{color}",
		origins:  map[string]origin{},
	}
}

// resolve makes name, which is relative to the service's folder, absolute.
func (c *Config) resolve(name string) string {
	name = strings.ReplaceAll(name, "{service}", c.Service)
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(c.Dir, name)
}
