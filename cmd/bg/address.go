package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"bg/color"
	"bg/config"
	"bg/hint"
	"bg/registry"
)

func addressCommand(s streams) *cli.Command {
	return &cli.Command{
		Name: "address", Usage: "print where a color is registered: host:port, one line for each instance", ArgsUsage: "SERVICE",
		Description: "   curl http://$(bg address books-ms | head -1)/ping\n" +
			"   bg address books-ms --color green",
		Flags: append(settingFlags(func(set config.Setting) bool { return set.Key == "consul.prefix" || set.Key == "catalog" }),
			&cli.StringFlag{Name: "color", Usage: "blue or green; the live one when not given"}),
		OnUsageError: onUsageError,
		Action:       func(c *cli.Context) error { return address(c, s) },
	}
}

func address(c *cli.Context, s streams) error {
	cfg, err := loadConfig(c)
	if err != nil {
		return err
	}
	of, err := askedColor(c, cfg)
	if err != nil {
		return err
	}
	client, err := registry.Open()
	if err != nil {
		return err
	}
	instances, err := registry.NewCatalog(client).Instances(c.Context, cfg.Catalog(of))
	if err != nil {
		return err
	}
	if len(instances) == 0 {
		return hint.Wrap(fmt.Errorf("%s has no instance in Consul", cfg.Catalog(of)), "is it running, and Registrator too?")
	}
	for _, i := range instances {
		if _, err := fmt.Fprintln(s.Out, i.HostPort()); err != nil {
			return err
		}
	}
	return nil
}

// askedColor returns the color of the flag, or the live one.
func askedColor(c *cli.Context, cfg *config.Config) (color.Color, error) {
	if c.IsSet("color") {
		of, err := color.Parse(c.String("color"))
		if err != nil {
			return of, usageError{fmt.Errorf("--color: %w", err)}
		}
		return of, nil
	}
	live, err := liveColor(c.Context, cfg)
	if err == nil && live.Color == color.None {
		err = hint.Wrap(fmt.Errorf("%s was never deployed", cfg.Service), "name a color with --color")
	}
	return live.Color, err
}
