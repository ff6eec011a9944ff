package integration

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
)

// Runner runs a service of a Compose file to its end. It returns an error when
// the exit code is not 0, and leaves no container behind.
type Runner interface {
	RunService(ctx context.Context, file, service string, env map[string]string, out io.Writer) error
}

// Compose runs a service of a Compose file as a test, with the variables that a
// Command has.
type Compose struct {
	File    string
	Service string
	Runner  Runner
}

// Name returns the service and the file.
func (c Compose) Name() string { return c.Service + " of " + filepath.Base(c.File) }

// Run runs the service.
func (c Compose) Run(ctx context.Context, target Target, out io.Writer) error {
	if err := c.Runner.RunService(ctx, c.File, c.Service, target.env(), out); err != nil {
		return fmt.Errorf("run %s: %w", c.Service, err)
	}
	return nil
}
