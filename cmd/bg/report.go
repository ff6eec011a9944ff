package main

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/urfave/cli/v2"

	"bg/config"
	"bg/deploy"
	"bg/hint"
	"bg/registry"
	"bg/report"
)

// idForm is what an argument has to look like to be a deployment's id.
var idForm = regexp.MustCompile(`^\d{8}-\d{6}-[0-9a-f]{4}$`)

func reportCommand(s streams) *cli.Command {
	return &cli.Command{
		Name: "report", Usage: "write a deployment as an HTML page: timeline, charts of requests, plan, evidence", ArgsUsage: "SERVICE [ID] | ID",
		Description: "Without an ID it is the newest deployment of the service. The page goes to standard output and\n" +
			"needs nothing else, no network and no script. bg deploy --report FILE writes it right away.\n\n" +
			"   bg report books-ms > report.html\n" +
			"   bg report books-ms 7f3a > report.html  # the beginning or the end of an ID\n" +
			"   bg report 20261121-010203-7f3a > report.html",
		Flags:        settingFlags(func(set config.Setting) bool { return set.Key == "consul.prefix" }),
		OnUsageError: onUsageError,
		Action:       func(c *cli.Context) error { return writeReport(c, s) },
	}
}

func writeReport(c *cli.Context, s streams) error {
	if n := c.Args().Len(); n < 1 || n > 2 {
		return usageError{fmt.Errorf("report takes a service, an id, or both: see %s --help", c.Command.HelpName)}
	}
	client, err := registry.Open()
	if err != nil {
		return err
	}
	service, id, byID := c.Args().First(), c.Args().Get(1), idForm.MatchString(c.Args().First())
	if byID && id == "" {
		id = service
	}
	cfg, err := loadService(c, config.Source{}, service)
	if err != nil {
		return err
	}
	journal := registry.NewJournal(client, cfg.Consul.Prefix)
	if byID && id == service {
		if service, err = ownerOf(c, journal, id); err != nil {
			return err
		}
	}
	d, err := wanted(c, journal, service, id)
	if err != nil {
		return err
	}
	return report.Write(s.Out, d, version, time.Now())
}

// ownerOf returns the service that has the deployment id.
func ownerOf(c *cli.Context, journal *registry.Journal, id string) (string, error) {
	service, err := journal.Owner(c.Context, id)
	if err == nil && service == "" {
		err = hint.Wrap(usageError{fmt.Errorf("no service has a deployment %s", id)}, "bg history SERVICE lists those that are remembered")
	}
	return service, err
}

// wanted returns one deployment of a service, the newest one for no id.
func wanted(c *cli.Context, journal *registry.Journal, service, id string) (deploy.Deployment, error) {
	list, err := deploy.History(c.Context, journal, service)
	switch {
	case err != nil:
		return deploy.Deployment{}, err
	case id != "":
		return deploy.Find(list, service, id)
	case len(list) == 0:
		return deploy.Deployment{}, hint.Wrap(usageError{errors.New(service + " was never deployed")}, "bg deploy "+service)
	}
	return list[0], nil
}
