package main

import (
	"fmt"
	"runtime"

	"github.com/urfave/cli/v2"
)

func versionCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:         "version",
		Usage:        "print bg's version",
		OnUsageError: onUsageError,
		Action: func(*cli.Context) error {
			_, err := fmt.Fprintf(s.Out, "bg %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
