package config

import (
	"slices"
	"strings"
	"time"
)

// Setting is one value that the file, a BG_ variable and a flag can set.
type Setting struct {
	Key    string // the path in the file, such as health.timeout
	Env    string // the variable; an empty one counts as not set
	Flag   string // without dashes; "" for the service, which is an argument
	Usage  string // for the help text
	Deploy bool   // only deployments use it

	kind kind
	set  func(*Config, string) error
}

// kind is what a YAML value has to be.
type kind int

const (
	text     kind = 1
	number   kind = 2
	duration kind = 3
)

func (k kind) String() string {
	return [...]string{text: "a text", number: "a number", duration: "a duration such as 30s"}[k]
}

// Settings returns all settings in the order of the help text.
func Settings() []Setting {
	everywhere := []string{"service", "catalog", "consul.prefix"} // not only in deployments
	list := slices.Concat(serviceSettings(), readySettings(), proxySettings(), flowSettings())
	for i := range list {
		s := &list[i]
		s.Env = "BG_" + strings.ToUpper(strings.NewReplacer(".", "_").Replace(s.Key))
		if s.Key != "service" {
			s.Flag = strings.NewReplacer(".", "-", "_", "-").Replace(s.Key)
		}
		s.Deploy = !slices.Contains(everywhere, s.Key)
	}
	return list
}

func serviceSettings() []Setting {
	return []Setting{
		textOf("service", "the service's name", func(c *Config) *string { return &c.Service }, checkService),
		textOf("image", "image instead of the Compose file's", func(c *Config) *string { return &c.Image }, checkImage),
		textOf("tag", "tag instead of the image's", func(c *Config) *string { return &c.Tag }, checkTag),
		numberOf("replicas", "containers of a color (default as the Compose file says)", 1, 1000, func(c *Config) *int { return &c.Replicas }),
		textOf("catalog", "name in Consul's catalog (default {service}-{color})", func(c *Config) *string { return &c.catalog }, checkCatalog),
		{Key: "consul.prefix", Usage: "what goes before all keys in Consul KV", kind: text, set: setPrefix},
		textOf("compose.file", "the Compose file", func(c *Config) *string { return &c.Compose.File }, checkFile("{service}")),
		textOf("compose.project", "the Compose project's name (default {service})", func(c *Config) *string { return &c.Compose.Project }, checkProject),
		textOf("compose.service", "the Compose service of a color (default app-{color}, {color} or app)", func(c *Config) *string { return &c.Compose.Service }, checkComposeService),
		numberOf("compose.port", "the container port that serves, when there are several", 0, 65535, func(c *Config) *int { return &c.Compose.Port }),
		textOf("compose.pull", "when the image is pulled: always, missing or never", func(c *Config) *string { return &c.Compose.Pull }, checkPull),
	}
}

func readySettings() []Setting {
	return []Setting{
		textOf("health.path", "readiness path; empty sends no request", func(c *Config) *string { return &c.Health.Path }, optional(checkURLPath)),
		numberOf("health.passes", "good answers in a row that make an instance ready", 1, 1000, func(c *Config) *int { return &c.Health.Passes }),
		durationOf("health.interval", "time between two readiness requests", time.Millisecond, time.Hour, func(c *Config) *time.Duration { return &c.Health.Interval }),
		durationOf("health.timeout", "time for the new color to register and get ready", time.Second, day, func(c *Config) *time.Duration { return &c.Health.Timeout }),
		durationOf("tests.timeout", "time for one integration test", time.Second, day, func(c *Config) *time.Duration { return &c.Tests.Timeout }),
	}
}

func proxySettings() []Setting {
	return []Setting{
		textOf("proxy.container", "the container that nginx runs in", func(c *Config) *string { return &c.Proxy.Container }, checkContainer),
		textOf("proxy.url", "base URL through nginx; empty sends no probes", func(c *Config) *string { return &c.Proxy.URL }, optional(checkURL)),
		textOf("proxy.upstreams.template", "template of the upstream blocks", func(c *Config) *string { return &c.Proxy.Upstreams.Template }, checkFile("{service}", "{color}")),
		textOf("proxy.upstreams.path", "where nginx reads the upstream blocks", func(c *Config) *string { return &c.Proxy.Upstreams.Path }, checkNginxPath),
		textOf("proxy.includes.file", "file with the locations; empty manages none", func(c *Config) *string { return &c.Proxy.Includes.File }, optional(checkFile("{service}", "{color}"))),
		textOf("proxy.includes.path", "where nginx reads the locations", func(c *Config) *string { return &c.Proxy.Includes.Path }, checkNginxPath),
		textOf("proxy.probe.path", "path of the request that tells the color (default the readiness path)", func(c *Config) *string { return &c.Proxy.Probe.Path }, checkURLPath),
		textOf("proxy.probe.header", "response header that names the color", func(c *Config) *string { return &c.Proxy.Probe.Header }, checkHeader),
		numberOf("probe.rate", "requests a second through nginx while a deployment runs, as evidence; 0 sends none", 0, 1000, func(c *Config) *int { return &c.Evidence.Rate }),
		textOf("probe.path", "path of these requests (default that of proxy.probe)", func(c *Config) *string { return &c.Evidence.Path }, checkURLPath),
	}
}

func flowSettings() []Setting {
	return []Setting{
		durationOf("start.timeout", "time to pull and start the new color", time.Second, day, func(c *Config) *time.Duration { return &c.Timeouts.Start }),
		durationOf("switch.timeout", "time for nginx to switch", time.Second, day, func(c *Config) *time.Duration { return &c.Timeouts.Switch }),
		durationOf("drain.timeout", "time for the old nginx workers to end", time.Second, day, func(c *Config) *time.Duration { return &c.Timeouts.Drain }),
		durationOf("undo.timeout", "time to undo a failed deployment", time.Second, day, func(c *Config) *time.Duration { return &c.Timeouts.Undo }),
		durationOf("stop.timeout", "time for a container to stop; 0 as the Compose file says", 0, day, func(c *Config) *time.Duration { return &c.Timeouts.Stop }),
		{Key: "keep", Usage: "the old color: stopped, or how long it stays warm", kind: text, set: setKeep},
		numberOf("history", "deployments that are remembered", 2, 10000, func(c *Config) *int { return &c.History }),
		textOf("report", "HTML page of the deployment to write", func(c *Config) *string { return &c.Report }, optional(checkFile("{service}"))),
		textOf("metrics.file", "Prometheus text file to write, NAME.prom", func(c *Config) *string { return &c.Metrics.File }, optional(checkMetricsFile)),
		textOf("metrics.push", "base URL of a Pushgateway", func(c *Config) *string { return &c.Metrics.Push }, optional(checkURL)),
		// Consul takes session TTLs of 10 s to 24 h.
		durationOf("lock.ttl", "time that the lock outlives a killed bg", 10*time.Second, day, func(c *Config) *time.Duration { return &c.Lock.TTL }),
		durationOf("lock.wait", "time to wait for another deployment", 0, day, func(c *Config) *time.Duration { return &c.Lock.Wait }),
	}
}
