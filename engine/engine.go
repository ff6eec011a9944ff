// Package engine runs the containers of a service's colors on one Docker
// Engine, as its Compose files describe them.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/flags"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/docker/compose/v5/pkg/compose"
	"github.com/docker/docker/client"
	"github.com/sirupsen/logrus"

	"bg/hint"
)

// The engine's errors, apart from Docker's own.
var (
	// ErrUnreachable: no Docker Engine answers.
	ErrUnreachable = errors.New("the Docker Engine cannot be reached")
	// ErrConfig: the Compose file is not what bg can work with.
	ErrConfig = errors.New("compose file")
)

// Engine is one Docker Engine with Docker's own configuration: contexts,
// DOCKER_* variables, TLS and the credentials of private registries.
type Engine struct {
	cli      command.Cli
	docker   client.APIClient
	compose  api.Compose
	log      *slog.Logger
	warned   sync.Map // files whose old layout was said
	projects sync.Map // from a reading to the function that does it once
}

// Open returns the Engine that DOCKER_HOST, DOCKER_CONTEXT or Docker's current
// context names. It fails with ErrUnreachable when that one does not answer.
func Open(ctx context.Context, log *slog.Logger) (*Engine, error) {
	// The libraries log through a global; what matters comes back as errors.
	logrus.SetOutput(io.Discard)
	cli, err := command.NewDockerCli(command.WithBaseContext(ctx), command.WithCombinedStreams(io.Discard))
	if err != nil {
		return nil, fmt.Errorf("open Docker's client: %w", err)
	}
	if err := cli.Initialize(flags.NewClientOptions()); err != nil {
		return nil, hint.Wrap(fmt.Errorf("%w: %w", ErrUnreachable, err), "see `docker context ls` and DOCKER_HOST")
	}
	if _, err := cli.Client().Ping(ctx); err != nil {
		return nil, reach(err)
	}
	// Without an event processor it is quiet.
	service, err := compose.NewComposeService(cli, compose.WithPrompt(compose.AlwaysOkPrompt()))
	if err != nil {
		return nil, fmt.Errorf("open the Compose library: %w", err)
	}
	return &Engine{cli: cli, docker: cli.Client(), compose: service, log: log}, nil
}

// Close ends the connections to the Engine.
func (e *Engine) Close() error { return e.docker.Close() }

// Client returns the Engine's API client.
func (e *Engine) Client() client.APIClient { return e.docker }

// ContainerID returns the id of the container name, "" when there is none.
func (e *Engine) ContainerID(ctx context.Context, name string) (string, error) {
	info, err := e.docker.ContainerInspect(ctx, name)
	switch {
	case gone(err):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("inspect container %s: %w", name, reach(err))
	}
	return info.ID, nil
}

// reach turns a failed connection into ErrUnreachable and leaves every other
// error, nil among them, as it is.
func reach(err error) error {
	if client.IsErrConnectionFailed(err) {
		return hint.Wrap(fmt.Errorf("%w: %w", ErrUnreachable, err), "start Docker, or point DOCKER_HOST at the Engine")
	}
	return err
}
