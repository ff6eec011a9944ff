package main

import (
	"encoding/json"
	"fmt"

	"github.com/urfave/cli/v2"

	"bg/config"
	"bg/deploy"
)

func repairCommand(s streams) *cli.Command {
	return &cli.Command{
		Name: "repair", Usage: "make nginx, the containers and Consul KV agree again", ArgsUsage: "SERVICE",
		Description: "Consul KV says which color is live. After a reboot, which gives containers other ports, or an\n" +
			"edit of nginx's files, the live color is started, nginx sends to it, and the other one is stopped.\n" +
			"Where KV has no color, it gets the one that the journal and nginx agree on.\n\n" +
			"   bg repair books-ms --dry-run\n" +
			"   bg repair books-ms",
		Flags:        deployFlags(),
		OnUsageError: onUsageError,
		Action: func(c *cli.Context) error {
			return withDeployer(c, s, func(d *deploy.Deployer, cfg *config.Config) error { return repair(c, s, d, cfg) })
		},
	}
}

func repair(c *cli.Context, s streams, d *deploy.Deployer, cfg *config.Config) error {
	dry := c.Bool("dry-run")
	plan, err := d.Repair(c.Context, newRequest(cfg, false), dry)
	switch {
	case err != nil:
		return err
	case c.String("output") == "json":
		return json.NewEncoder(s.Out).Encode(plan)
	case dry:
		_, err = fmt.Fprint(s.Out, plan.Text())
	default:
		_, err = fmt.Fprintf(s.Out, "%s: %s is live, and all parts agree; %d steps were taken\n", plan.Service, plan.To, len(plan.Steps))
	}
	return err
}
