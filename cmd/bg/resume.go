package main

import (
	"github.com/urfave/cli/v2"

	"bg/config"
	"bg/deploy"
)

func resumeCommand(s streams) *cli.Command {
	return &cli.Command{
		Name: "resume", Aliases: []string{"promote"}, Usage: "go on with a deployment that is paused or was killed", ArgsUsage: "SERVICE",
		Description: "From any shell, build or day, and from any host that reaches the same Docker Engine. What may\n" +
			"have changed since is looked at again: containers, their registration, nginx. Tests that passed\n" +
			"count, unless the containers are at other addresses now.\n\n" +
			"   bg deploy books-ms --hold\n" +
			"   bg resume books-ms                     # also: bg promote books-ms\n" +
			"   bg resume books-ms --until posttest",
		Flags:        append(openFlags(), untilFlag(), deploymentFlag()),
		OnUsageError: onUsageError,
		Action: func(c *cli.Context) error {
			step, err := until(c)
			if err != nil {
				return err
			}
			return withDeployer(c, s, func(d *deploy.Deployer, cfg *config.Config) error {
				request := newRequest(cfg, false)
				request.Until, request.ID = step, c.String("deployment")
				deployment, err := d.Resume(c.Context, request)
				return conclude(c, s, deployment, err)
			})
		},
	}
}

func deploymentFlag() cli.Flag {
	return &cli.StringFlag{Name: "deployment", Usage: "do it only when the newest deployment has this `ID`, or one that begins or ends so"}
}
