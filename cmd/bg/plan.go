package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"bg/config"
	"bg/deploy"
	"bg/engine"
	"bg/proxy"
	"bg/registry"
)

// The exit codes of --detailed-exitcode, which are terraform's.
const (
	exitPlanError   = 1
	exitPlanChanges = 2
)

func planCommand(s streams) *cli.Command {
	return &cli.Command{
		Name: "plan", Usage: "show what a deployment would do and change, and change nothing", ArgsUsage: "SERVICE",
		Description: "The steps with their causes, the images, the difference in nginx's files, and who holds\n" +
			"the service. With --detailed-exitcode it ends with 0 when there is nothing to do, with 2\n" +
			"when there is, and with 1 after an error.\n\n" +
			"   bg plan books-ms --tag 1.4\n" +
			"   bg plan books-ms --detailed-exitcode; [ $? -ne 2 ] || bg deploy books-ms\n" +
			"   bg plan books-ms -o json | jq -r '.changes[]'",
		Flags: append(settingFlags(func(config.Setting) bool { return true }), fileFlag(), formatFlag(),
			&cli.BoolFlag{Name: "detailed-exitcode", Usage: "end with 0: nothing to do, 1: an error, 2: changes"}),
		OnUsageError: onUsageError,
		Action: func(c *cli.Context) error {
			err := plan(c, s)
			if _, coded := err.(codedError); err != nil && !coded && c.Bool("detailed-exitcode") { //nolint:errorlint // plan returns it itself
				return codedError{error: err, code: exitPlanError}
			}
			return err
		},
	}
}

// codedError ends bg with a code of its own; without an error nothing is said.
type codedError struct {
	error
	code int
}

func (e codedError) Unwrap() error { return e.error }

func plan(c *cli.Context, s streams) error {
	inJSON, err := answersJSON(c)
	if err != nil {
		return err
	}
	cfg, err := loadFolder(c, s.Err)
	if err != nil {
		return err
	}
	if err := cfg.CheckFiles(); err != nil {
		return err
	}
	shown := newReporter(s, "text")
	defer shown.done()
	d, closing, err := wire(c.Context, cfg, shown)
	if err != nil {
		return err
	}
	defer closing()
	p := &deploy.Previewer{Deployer: d, Images: d.Engine.(*engine.Engine), Prover: d.Proxy.(*proxy.Nginx), Holders: d.Journal.(*registry.Journal)}
	view, err := p.Preview(c.Context, newRequest(cfg, false))
	if err != nil {
		return err
	}
	if inJSON {
		err = writeJSON(s.Out, view)
	} else {
		_, err = fmt.Fprint(s.Out, view.Text())
	}
	if err == nil && c.Bool("detailed-exitcode") && len(view.Changes) > 0 {
		return codedError{code: exitPlanChanges}
	}
	return err
}
