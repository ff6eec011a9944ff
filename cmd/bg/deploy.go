package main

import (
	"encoding/json"
	"fmt"

	"github.com/urfave/cli/v2"

	"bg/config"
	"bg/deploy"
	"bg/hint"
)

func deployCommand(s streams) *cli.Command {
	return &cli.Command{
		Name: "deploy", Usage: "make a new version live in the other color, or leave everything as it was", ArgsUsage: "SERVICE",
		Description: "It reads the service's folder: bg.yml, or a Compose file with nginx-upstreams-blue.ctmpl\n" +
			"and nginx-upstreams-green.ctmpl. That is the current folder, or else the one that the newest\n" +
			"deployment was made from.\n\n" +
			"   bg deploy books-ms\n" +
			"   bg deploy books-ms --tag 1.4 --replicas 3\n" +
			"   bg deploy books-ms --dry-run\n" +
			"   bg deploy books-ms -o json | jq -r 'select(.event == \"finished\").deployment.outcome'",
		Flags:        deployFlags(),
		OnUsageError: onUsageError,
		Action:       func(c *cli.Context) error { return deployAction(c, s, false) },
	}
}

func rollbackCommand(s streams) *cli.Command {
	return &cli.Command{
		Name: "rollback", Usage: "make the version before live again, from the containers that were kept", ArgsUsage: "SERVICE",
		Description: "It takes the same way as a deployment: registration, tests, nginx, tests, Consul.\n\n" +
			"   bg rollback books-ms\n" +
			"   bg rollback books-ms --dry-run",
		Flags:        deployFlags(),
		OnUsageError: onUsageError,
		Action:       func(c *cli.Context) error { return deployAction(c, s, true) },
	}
}

func deployFlags() []cli.Flag {
	return append(settingFlags(func(config.Setting) bool { return true }),
		&cli.StringFlag{Name: "file", Aliases: []string{"f"}, EnvVars: []string{"BG_FILE"}, Usage: "the `FILE` to read instead of bg.yml"},
		&cli.BoolFlag{Name: "dry-run", Usage: "print the steps with their causes, and change nothing"},
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "text", Usage: "text, or json: one event per line"},
	)
}

// deployAction deploys or rolls back.
func deployAction(c *cli.Context, s streams, rollback bool) error {
	if format := c.String("output"); format != "text" && format != "json" {
		return usageError{fmt.Errorf("--output is text or json, not %q", format)}
	}
	cfg, err := loadFolder(c, s.Err)
	if err != nil {
		return err
	}
	if err := cfg.CheckFiles(); err != nil {
		return err
	}
	if !cfg.KeepStopped() {
		return hint.Wrap(usageError{fmt.Errorf("keep: %s: only stopped is supported", cfg.Keep)}, "leave keep out of bg.yml: the old containers are stopped and kept")
	}
	shown := newReporter(s, c.String("output"))
	defer shown.done()
	d, closing, err := wire(c.Context, cfg, shown)
	if err != nil {
		return err
	}
	defer closing()
	request := newRequest(cfg, rollback)
	if c.Bool("dry-run") {
		return dryRun(c, s, d, request)
	}
	deployment, err := d.Deploy(c.Context, request)
	if err == nil && c.String("output") == "text" {
		_, err = fmt.Fprintln(s.Out, verdict(*deployment))
	}
	return err
}

func dryRun(c *cli.Context, s streams, d *deploy.Deployer, request deploy.Request) error {
	plan, err := d.Plan(c.Context, request)
	if err != nil {
		return err
	}
	if c.String("output") == "json" {
		return json.NewEncoder(s.Out).Encode(plan)
	}
	_, err = fmt.Fprint(s.Out, plan.Text())
	return err
}
