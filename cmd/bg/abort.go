package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"bg/config"
	"bg/deploy"
)

func abortCommand(s streams) *cli.Command {
	return &cli.Command{
		Name: "abort", Usage: "undo a deployment that is paused or was killed", ArgsUsage: "SERVICE",
		Description: "nginx gets its files back, the last requests at the new color end, and the new color goes. Where\n" +
			"nothing is paused or interrupted, nothing is done and the exit code is 0, so that a build can\n" +
			"always end with it.\n\n" +
			"   bg abort books-ms\n" +
			"   bg abort books-ms --deployment 20261121-010203-7f3a",
		Flags:        append(openFlags(), deploymentFlag()),
		OnUsageError: onUsageError,
		Action: func(c *cli.Context) error {
			return withDeployer(c, s, func(d *deploy.Deployer, cfg *config.Config) error {
				request := newRequest(cfg, false)
				request.ID = c.String("deployment")
				deployment, err := d.Abort(c.Context, request)
				if errors.Is(err, deploy.ErrNothingOpen) {
					fmt.Fprintf(s.Err, "nothing to abort: %v\n", err)
					return nil
				}
				return conclude(c, s, deployment, err)
			})
		},
	}
}
