package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"bg/color"
	"bg/config"
	"bg/doctor"
	"bg/engine"
	"bg/proxy"
	"bg/registry"
)

func doctorCommand(s streams) *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "look at everything that a deployment builds on, and say how to mend what is wrong", ArgsUsage: "[SERVICE]",
		Description: "Consul and the token's rights, Docker, Registrator, nginx, clocks; and for a service its\n" +
			"Compose file, image and templates. Registrator is tried with a container of nginx's image\n" +
			"that lives for a moment. It ends with 1 when something would stop a deployment.\n\n" +
			"   bg doctor\n" +
			"   bg doctor books-ms\n" +
			"   bg doctor books-ms -o json | jq -r '.[] | select(.status == \"failure\").mend'",
		Flags: append(settingFlags(func(config.Setting) bool { return true }), fileFlag(), formatFlag(),
			&cli.DurationFlag{Name: "timeout", Value: 20 * time.Second, Usage: "time for each check; all are made at once"},
			&cli.BoolFlag{Name: "no-trial", Usage: "start no container to see what Registrator does"}),
		OnUsageError: onUsageError,
		Action:       func(c *cli.Context) error { return examine(c, s) },
	}
}

// examine makes all checks and ends with 1 when one failed.
func examine(c *cli.Context, s streams) error {
	inJSON, err := answersJSON(c)
	if err != nil {
		return err
	}
	cfg, named, err := patient(c, s)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(s.Err, &slog.HandlerOptions{Level: slog.LevelError}))
	containers, errDocker := engine.Open(c.Context, log)
	if errDocker == nil {
		defer closeQuietly(containers, log)
	}
	checks, err := consulChecks(cfg, named)
	if err != nil {
		return err
	}
	if errDocker != nil {
		checks = append(checks, doctor.Broken("Docker", "Engine", errDocker))
	} else {
		more, err := dockerChecks(c, cfg, named, containers, log)
		if err != nil {
			return err
		}
		checks = append(checks, more...)
	}
	found := doctor.Run(c.Context, checks, c.Duration("timeout"))
	if inJSON {
		err = writeJSON(s.Out, found)
	} else {
		err = doctor.Table(s.Out, found)
	}
	if n := doctor.Failed(found); err == nil && n > 0 {
		return codedError{code: exitUnexpected}
	}
	return err
}

// patient returns what is examined, and whether that is a service: the one that
// is named, or that of the current folder. Else it is the machine alone.
func patient(c *cli.Context, s streams) (*config.Config, bool, error) {
	if c.Args().Len() > 1 {
		return nil, false, usageError{fmt.Errorf("doctor takes at most one argument, the service, and got %d", c.Args().Len())}
	}
	file, here := config.Find(".")
	switch {
	case c.Args().Present():
		cfg, err := loadFolder(c, s.Err)
		return cfg, true, err
	case c.String("file") != "" || here && file != "":
		cfg, err := config.Load(config.Source{File: c.String("file"), Lookup: os.LookupEnv, Flags: givenSettings(c)})
		return cfg, true, err
	}
	cfg, err := config.Load(config.Source{Service: "bg-doctor", Dir: os.TempDir(), Lookup: withoutService, Flags: givenSettings(c)})
	return cfg, false, err
}

// withoutService is the environment without the name of a service.
func withoutService(name string) (string, bool) {
	if name == "BG_SERVICE" {
		return "", false
	}
	return os.LookupEnv(name)
}

func consulChecks(cfg *config.Config, named bool) ([]doctor.Check, error) {
	inquiry, err := registry.NewInquiry()
	if err != nil {
		return []doctor.Check{doctor.Broken("Consul", "server", err)}, nil
	}
	keys, names := []string{"bg/nginx/"}, []string{}
	if !named {
		return doctor.ConsulChecks(inquiry, keys, names), nil
	}
	client, err := registry.Open()
	if err != nil {
		return nil, err
	}
	keys = append(keys, cfg.KVKey("deploys/"))
	names = append(names, cfg.Catalog(color.Blue), cfg.Catalog(color.Green))
	colors := color.NewStore(client, cfg.Consul.Prefix)
	return append(doctor.ConsulChecks(inquiry, keys, names), doctor.ColorCheck(func(ctx context.Context) (color.Live, error) {
		live, err := colors.Live(ctx, cfg.Service)
		return live, registry.Classify(err)
	})), nil
}

func dockerChecks(c *cli.Context, cfg *config.Config, named bool, e *engine.Engine, log *slog.Logger) ([]doctor.Check, error) {
	client, err := registry.Open()
	if err != nil {
		return nil, err
	}
	checks := doctor.DockerChecks(e)
	if cfg.Proxy.Container != "" && !c.Bool("no-trial") {
		trial := "bg-doctor-" + strings.ToLower(rand.Text()[:8])
		checks = append(checks, doctor.RegistratorCheck(e, registry.NewCatalog(client), cfg.Proxy.Container, trial, c.Duration("timeout")/2))
	}
	front := doctor.Front{
		Container: cfg.Proxy.Container, URL: cfg.Proxy.URL, Header: cfg.Proxy.Probe.Header, Path: cfg.Proxy.Probe.Path,
		Files: []string{cfg.Proxy.Upstreams.Path}, Service: named,
	}
	if cfg.Proxy.Includes.Path != "" {
		front.Files = append(front.Files, cfg.Proxy.Includes.Path)
	}
	if !named {
		return append(checks, doctor.NginxChecks(proxy.New(proxyConfig(cfg), nginxHost(cfg, e), catalogConfig(), log), e, front, nil)...), nil
	}
	if err := cfg.CheckFiles(); err != nil {
		var mistake *config.Error
		if !errors.As(err, &mistake) {
			return nil, err
		}
		front.Service = false // what else there is can be looked at
		checks = append(checks, doctor.Broken("service", "files", err))
	} else {
		checks = append(checks, doctor.ServiceChecks(e, source(cfg, nil))...)
	}
	nginx := proxy.New(proxyConfig(cfg), nginxHost(cfg, e), catalogConfig(), log)
	return append(checks, doctor.NginxChecks(nginx, e, front, []string{"192.0.2.1:80"})...), nil
}
