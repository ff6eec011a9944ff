package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"bg/color"
	"bg/config"
	"bg/registry"
)

func currentColorCommand(s streams) *cli.Command {
	return colorCommand(s, "current-color", "print the color that serves: blue, green or none",
		func(live color.Color) color.Color { return live })
}

func nextColorCommand(s streams) *cli.Command {
	return colorCommand(s, "next-color", "print the color of the next deployment: blue or green", color.Next)
}

// colorCommand prints one word that says something about the live color.
func colorCommand(s streams, name, usage string, of func(color.Color) color.Color) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "SERVICE",
		Description:  "   " + "COLOR=$(bg " + name + " books-ms)",
		Flags:        settingFlags(func(set config.Setting) bool { return set.Key == "consul.prefix" }),
		OnUsageError: onUsageError,
		Action: func(c *cli.Context) error {
			cfg, err := loadConfig(c)
			if err != nil {
				return err
			}
			live, err := liveColor(c.Context, cfg)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(s.Out, of(live.Color))
			return err
		},
	}
}

// liveColor asks Consul for the live color.
func liveColor(ctx context.Context, cfg *config.Config) (color.Live, error) {
	client, err := registry.Open()
	if err != nil {
		return color.Live{}, err
	}
	live, err := color.NewStore(client, cfg.Consul.Prefix).Live(ctx, cfg.Service)
	return live, registry.Classify(err)
}
