package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"bg/config"
	"bg/deploy"
	"bg/engine"
	"bg/registry"
)

// keptVersions is how many versions bg gc leaves for bg rollback --to.
const keptVersions = 5

func gcCommand(s streams) *cli.Command {
	return &cli.Command{
		Name: "gc", Usage: "stop what was warm long enough, and remove containers and images that no rollback needs", ArgsUsage: "SERVICE",
		Description: "It keeps what is live, the old color's containers, the images of the newest versions, and\n" +
			"whatever another container, another service's history or another name needs. Nothing runs\n" +
			"in the background: an old color that is warm (keep: 10m in bg.yml) is stopped by this\n" +
			"command, for instance from cron, or replaced by the next deployment.\n\n" +
			"   bg gc books-ms --dry-run\n" +
			"   bg gc books-ms --keep 3\n" +
			"   */5 * * * * env bg gc --all",
		Flags: append(settingFlags(func(set config.Setting) bool { return set.Key != "keep" }), fileFlag(), formatFlag(),
			&cli.IntFlag{Name: "keep", Value: keptVersions, Usage: "how many versions that were live stay, the live one among them"},
			&cli.BoolFlag{Name: "dry-run", Usage: "only say what would be stopped and removed"},
			&cli.BoolFlag{Name: "all", Usage: "all services that were deployed from this machine"}),
		OnUsageError: onUsageError,
		Action:       func(c *cli.Context) error { return gc(c, s) },
	}
}

func gc(c *cli.Context, s streams) error {
	inJSON, err := answersJSON(c)
	if err != nil {
		return err
	}
	if c.Int("keep") < 1 {
		return usageError{fmt.Errorf("--keep is 1 or more: the live version stays, and got %d", c.Int("keep"))}
	}
	if c.Bool("all") {
		return gcAll(c, s, inJSON)
	}
	cfg, err := loadFolder(c, s.Err)
	if err != nil {
		return err
	}
	sweep, err := sweep(c.Context, c, s, cfg)
	if err != nil {
		return err
	}
	if inJSON {
		return writeJSON(s.Out, sweep)
	}
	_, err = fmt.Fprint(s.Out, sweep.Text(c.Bool("dry-run")))
	return err
}

// sweep cleans up after one service.
func sweep(ctx context.Context, c *cli.Context, s streams, cfg *config.Config) (deploy.Sweep, error) {
	shown := newReporter(s, "text")
	defer shown.done()
	d, closing, err := wire(ctx, cfg, shown)
	if err != nil {
		return deploy.Sweep{}, err
	}
	defer closing()
	sweeper := &deploy.Sweeper{Deployer: d, Store: d.Engine.(*engine.Engine), Histories: d.Journal.(*registry.Journal)}
	return sweeper.Sweep(ctx, newRequest(cfg, false), c.Int("keep"), c.Bool("dry-run"))
}

// gcAll cleans up after every service that was deployed from this machine. One
// that cannot be cleaned up does not keep the others from it.
func gcAll(c *cli.Context, s streams, inJSON bool) error {
	if c.Args().Present() {
		return usageError{errors.New("gc takes either a service or --all")}
	}
	here, err := config.Load(config.Source{Service: "all", Dir: os.TempDir(), Lookup: os.LookupEnv, Flags: givenSettings(c)})
	if err != nil {
		return err
	}
	client, err := registry.Open()
	if err != nil {
		return err
	}
	journal := registry.NewJournal(client, here.Consul.Prefix)
	services, err := journal.Services(c.Context)
	if err != nil {
		return err
	}
	sweeps, failures := []deploy.Sweep{}, []error{}
	for _, name := range services {
		swept, err := gcOne(c, s, journal, name)
		switch {
		case errors.Is(err, errElsewhere), errors.Is(err, deploy.ErrUnfinished), isA[*registry.HeldError](err):
			fmt.Fprintf(s.Err, "%s: left as it is: %v\n", name, err)
			continue
		case err != nil:
			failures = append(failures, fmt.Errorf("%s: %w", name, err))
			continue
		}
		sweeps = append(sweeps, swept)
		if !inJSON {
			fmt.Fprint(s.Out, swept.Text(c.Bool("dry-run")))
		}
	}
	if inJSON {
		failures = append(failures, writeJSON(s.Out, sweeps))
	}
	return errors.Join(failures...)
}

// errElsewhere says that a service has to be cleaned up on another machine.
var errElsewhere = errors.New("its newest deployment was made on another machine")

// gcOne cleans up after a service whose folder the journal knows.
func gcOne(c *cli.Context, s streams, journal *registry.Journal, name string) (deploy.Sweep, error) {
	document, err := journal.Newest(c.Context, name)
	if err != nil {
		return deploy.Sweep{}, err
	}
	folder := deploy.FolderOf(document, whoami().Host)
	if folder == "" {
		return deploy.Sweep{}, errElsewhere
	}
	cfg, err := config.Load(config.Source{Dir: folder, Service: name, Lookup: os.LookupEnv, Flags: givenSettings(c)})
	if err != nil {
		return deploy.Sweep{}, err
	}
	return sweep(c.Context, c, s, cfg)
}
