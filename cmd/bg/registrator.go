package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"bg/hint"
	"bg/registrator"
)

// registratorCommand is `bg registrator`. Its flags have the names, units and
// defaults of Registrator's; what is new is -hostname, -listen and -log.
func registratorCommand() *cli.Command {
	return &cli.Command{
		Name:      "registrator",
		Usage:     "Register the ports of this host's containers in Consul (a drop-in for Registrator)",
		ArgsUsage: "[REGISTRY-URI]",
		Description: strings.TrimSpace(`
REGISTRY-URI is consul://HOST:PORT, consul-tls://HOST:PORT or consul-unix:///PATH;
without it, or without its address, CONSUL_HTTP_ADDR and the other CONSUL_*
variables hold. Flags come before it, with one dash or two.

   bg registrator -ip 10.0.0.7 -resync 600 consul://localhost:8500
   bg registrator -internal -cleanup -listen :8080 -retry-attempts -1 consul://consul:8500`),
		Flags:  registratorFlags(),
		Action: runRegistrator,
	}
}

func registratorFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "ip", Usage: "`ADDRESS` for ports mapped to the host; found out when not given"},
		&cli.BoolFlag{Name: "internal", Usage: "use the containers' own addresses and exposed ports instead of published ones"},
		&cli.BoolFlag{Name: "explicit", Usage: "only register containers that have a SERVICE_NAME"},
		&cli.BoolFlag{Name: "cleanup", Usage: "also remove dangling services that another registrator left under this host name"},
		&cli.IntFlag{Name: "resync", Usage: "`SECONDS` between two looks at every container; 0: after events and reconnects only"},
		&cli.StringFlag{Name: "deregister", Value: string(registrator.Always), Usage: "deregister exited services \"always\" or \"on-success\""},
		&cli.StringFlag{Name: "tags", Usage: "append `TAGS`, comma-separated, to those of every service"},
		&cli.IntFlag{Name: "ttl", Usage: "`SECONDS`; needs -ttl-refresh (Consul's services do not expire: see docs/registrator.md)"},
		&cli.IntFlag{Name: "ttl-refresh", Usage: "`SECONDS` between two refreshes of what is registered"},
		&cli.StringFlag{Name: "useIpFromLabel", Usage: "use the address in the label of this `NAME`"},
		&cli.IntFlag{Name: "retry-attempts", Usage: "`N` more attempts to reach Consul at the start; -1: for ever"},
		&cli.IntFlag{Name: "retry-interval", Value: 2000, Usage: "`MILLISECONDS` between these attempts"},
		&cli.StringFlag{Name: "hostname", Usage: "first part of service ids; this machine's `NAME` when not given"},
		&cli.StringFlag{Name: "listen", Usage: "serve /health and /metrics on this `ADDRESS`, such as :8080"},
		&cli.BoolFlag{Name: "plain", EnvVars: []string{"BG_REGISTRATOR_PLAIN"},
			Usage: "register nothing but what Registrator does: no tags live, idle and version, no report, for services that bg deploys"},
		&cli.StringFlag{Name: "log", Value: "text", Usage: "`FORMAT` of log lines, text or json"},
	}
}

func runRegistrator(c *cli.Context) (err error) {
	if c.Args().Len() > 1 {
		return hint.Wrap(fmt.Errorf("%w: extra arguments %q", registrator.ErrConfig, c.Args().Tail()),
			"flags come before the registry URI: bg registrator [flags] consul://host:port")
	}
	log, err := registratorLog(c.String("log"), c.App.ErrWriter)
	if err != nil {
		return err
	}
	uri := c.Args().First()
	if uri == "" {
		uri = "consul:"
	}
	consul, err := registrator.NewConsul(uri)
	if err != nil {
		return err
	}
	docker, err := registrator.NewDocker()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, docker.Close()) }()
	r, err := registrator.New(registratorConfig(c), docker, consul, log)
	if err != nil {
		return err
	}
	return r.Run(c.Context)
}

func registratorConfig(c *cli.Context) registrator.Config {
	return registrator.Config{
		IP:             c.String("ip"),
		Internal:       c.Bool("internal"),
		Explicit:       c.Bool("explicit"),
		Cleanup:        c.Bool("cleanup"),
		Resync:         time.Duration(c.Int("resync")) * time.Second,
		Deregister:     registrator.Deregister(c.String("deregister")),
		Tags:           c.String("tags"),
		TTL:            time.Duration(c.Int("ttl")) * time.Second,
		TTLRefresh:     time.Duration(c.Int("ttl-refresh")) * time.Second,
		UseIPFromLabel: c.String("useIpFromLabel"),
		RetryAttempts:  c.Int("retry-attempts"),
		RetryInterval:  time.Duration(c.Int("retry-interval")) * time.Millisecond,
		Hostname:       c.String("hostname"),
		Listen:         c.String("listen"),
		Plain:          c.Bool("plain"),
	}
}

func registratorLog(format string, w io.Writer) (*slog.Logger, error) {
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, nil)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, nil)), nil
	}
	return nil, hint.Wrap(fmt.Errorf("%w: -log is %q", registrator.ErrConfig, format), "use text or json")
}
