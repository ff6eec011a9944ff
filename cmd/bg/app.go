package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"
)

// version is set by the linker: -X main.version=1.2.3.
var version = "dev"

// run runs the command line args.
func run(ctx context.Context, args []string, s streams) error {
	app := newApp(s)
	return app.RunContext(ctx, flagsFirst(app, args))
}

func newApp(s streams) *cli.App {
	return &cli.App{
		Name:    "bg",
		Usage:   "blue/green deployments with no failed request, for Docker, Consul, Registrator and nginx",
		Version: version,
		Description: "   bg deploy books-ms --tag 1.4      make a new version live\n" +
			"   bg rollback books-ms              go back to the one before\n" +
			"   bg next-color books-ms            blue or green\n\n" +
			"Settings come from flags, BG_* variables, bg.yml and defaults, in this order.\n" +
			"Consul is found by CONSUL_HTTP_ADDR and its siblings, Docker by DOCKER_HOST,\n" +
			"DOCKER_CONTEXT and its siblings.\n\n" +
			"Exit codes: 0 done; 1 unexpected, also an abort, repair or gc that stopped half-way and\n" +
			"can be repeated; 2 usage or configuration; 3 another deployment holds the service;\n" +
			"4 Consul, Docker or nginx cannot be reached, nothing was changed;\n" +
			"with everything undone: 11 start, 12 register, 13 pretest, 14 switch, 15 posttest,\n" +
			"16 commit, 130 interrupted; 20 the undo itself failed: a person must look.",
		Writer:               s.Out,
		ErrWriter:            s.Err,
		EnableBashCompletion: true,
		HideVersion:          true,
		Suggest:              true,
		ExitErrHandler:       func(*cli.Context, error) {}, // main does that
		OnUsageError:         onUsageError,
		CommandNotFound:      nil,
		Action:               unknownCommand,
		Commands: []*cli.Command{
			currentColorCommand(s), nextColorCommand(s), addressCommand(s),
			deployCommand(s), resumeCommand(s), abortCommand(s), repairCommand(s), rollbackCommand(s),
			statusCommand(s), planCommand(s), historyCommand(s), reportCommand(s), gcCommand(s),
			doctorCommand(s), initCommand(s),
			stackCommand(s), registratorCommand(), demoCommand(s),
			versionCommand(s), completionCommand(s),
		},
	}
}

// unknownCommand is what runs without a command, or with one that does not exist.
func unknownCommand(c *cli.Context) error {
	if c.Args().Present() {
		return usageError{fmt.Errorf("no command %q: see bg help", c.Args().First())}
	}
	return cli.ShowAppHelp(c)
}

func onUsageError(c *cli.Context, err error, _ bool) error {
	name := "bg"
	if c.Command != nil && c.Command.HelpName != "" {
		name = c.Command.HelpName
	}
	return usageError{fmt.Errorf("%w: see %s --help", err, name)}
}

// service returns the one argument that most commands take. urfave/cli ends the
// flags at the first argument, so flags that follow SERVICE were put before it
// by flagsFirst.
func service(c *cli.Context) (string, error) {
	if c.Args().Len() != 1 || c.Args().First() == "" {
		return "", usageError{fmt.Errorf("%s takes one argument, the service, and got %d: see %s --help", c.Command.Name, c.Args().Len(), c.Command.HelpName)}
	}
	return c.Args().First(), nil
}
