package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"bg/config"
	"bg/deploy"
)

func deployCommand(s streams) *cli.Command {
	return &cli.Command{
		Name: "deploy", Usage: "make a new version live in the other color, or leave everything as it was", ArgsUsage: "SERVICE",
		Description: "It reads the service's folder: bg.yml, or a Compose file with nginx-upstreams.ctmpl, or with\n" +
			"nginx-upstreams-blue.ctmpl and -green.ctmpl. That is the current folder, or else the one that\n" +
			"the newest deployment was made from.\n\n" +
			"   bg deploy books-ms\n" +
			"   bg deploy books-ms --tag 1.4 --replicas 3\n" +
			"   bg deploy books-ms --dry-run\n" +
			"   bg deploy books-ms --report out.html   # a page about it: bg report --help\n" +
			"   bg deploy books-ms --hold              # then bg resume books-ms, or bg abort books-ms\n" +
			"   bg deploy books-ms -o json | jq -r 'select(.event == \"finished\").deployment.outcome'",
		Flags:        append(deployFlags(), stageFlags()...),
		OnUsageError: onUsageError,
		Action:       func(c *cli.Context) error { return deployAction(c, s, false) },
	}
}

func rollbackCommand(s streams) *cli.Command {
	return &cli.Command{
		Name: "rollback", Usage: "make the version before live again, from the containers that were kept", ArgsUsage: "SERVICE",
		Description: "It takes the same way as a deployment: registration, tests, nginx, tests, Consul.\n" +
			"While the old color is still warm (keep: 10m in bg.yml) it is only a switch of nginx. With\n" +
			"--to it starts the very image of an earlier deployment, which bg history names: by its ID, or\n" +
			"by the beginning or the end of it that no other one has.\n\n" +
			"   bg rollback books-ms\n" +
			"   bg rollback books-ms --to 20261121-010203-7f3a\n" +
			"   bg rollback books-ms --to 7f3a\n" +
			"   bg rollback books-ms --dry-run",
		Flags: append(append(deployFlags(), stageFlags()...),
			&cli.StringFlag{Name: "to", Usage: "the `ID` of the deployment to go back to; see bg history"}),
		OnUsageError: onUsageError,
		Action:       func(c *cli.Context) error { return deployAction(c, s, true) },
	}
}

func deployFlags() []cli.Flag {
	return append(openFlags(),
		&cli.BoolFlag{Name: "dry-run", Usage: "print the steps with their causes, and change nothing"})
}

// openFlags are those of every command that changes a service.
func openFlags() []cli.Flag {
	return append(settingFlags(func(config.Setting) bool { return true }),
		fileFlag(),
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "text", Usage: "text, or json: one event per line"},
	)
}

// stageFlags are those of the commands that begin a deployment.
func stageFlags() []cli.Flag {
	return []cli.Flag{
		untilFlag(),
		&cli.BoolFlag{Name: "hold", Usage: "the same as --until pretest: the new color runs, tested, and is not live"},
		&cli.BoolFlag{Name: "supersede", Usage: "abort a paused deployment of the service first"},
	}
}

func untilFlag() cli.Flag {
	return &cli.StringFlag{Name: "until", Usage: "pause after this `STEP`: start, register, pretest, switch, posttest, commit, drain"}
}

// until returns the step that the flags --until and --hold name.
func until(c *cli.Context) (deploy.Verb, error) {
	word := c.String("until")
	switch {
	case c.Bool("hold") && word != "":
		return "", usageError{errors.New("--hold is --until pretest: give one of them")}
	case c.Bool("hold"):
		return deploy.Pretest, nil
	case word == "":
		return "", nil
	}
	verb, err := deploy.ParseVerb(word)
	if err != nil {
		return "", usageError{fmt.Errorf("--until: %w", err)}
	}
	return verb, nil
}

// deployAction deploys or rolls back.
func deployAction(c *cli.Context, s streams, rollback bool) error {
	step, err := until(c)
	if err != nil {
		return err
	}
	return withDeployer(c, s, func(d *deploy.Deployer, cfg *config.Config) error {
		request := newRequest(cfg, rollback)
		request.Until, request.Supersede, request.Target = step, c.Bool("supersede"), c.String("to")
		if c.Bool("dry-run") {
			return dryRun(c, s, d, request)
		}
		deployment, err := d.Deploy(c.Context, request)
		return conclude(c, s, deployment, err)
	})
}

// withDeployer reads the service's folder and runs do with what it describes.
func withDeployer(c *cli.Context, s streams, do func(*deploy.Deployer, *config.Config) error) error {
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
	shown := newReporter(s, c.String("output"))
	defer shown.done()
	d, closing, err := wire(c.Context, cfg, shown)
	if err != nil {
		return err
	}
	defer closing()
	return do(d, cfg)
}

// conclude prints the last line of a deployment that did not fail.
func conclude(c *cli.Context, s streams, d *deploy.Deployment, err error) error {
	if err == nil && c.String("output") == "text" {
		_, err = fmt.Fprintln(s.Out, verdict(*d))
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
