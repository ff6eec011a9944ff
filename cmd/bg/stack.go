package main

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"bg"
	"bg/engine"
	"bg/hint"
)

// imageScript makes images from Debian's packages and Go's modules, in a
// checkout of bg, where no registry answers.
const imageScript = "tools/images/build.sh"

// binaryLabel holds the checksum of the bg in an image.
const binaryLabel = "bg.binary"

// readyTimeout is how long a part of the stack may take until it answers.
const readyTimeout = 90 * time.Second

func stackCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:  "stack",
		Usage: "run Consul, the registrator and nginx on this machine",
		Subcommands: []*cli.Command{
			{
				Name:  "up",
				Usage: "start the stack and wait until each part of it is ready",
				Description: "Images are pulled. Where no registry answers they are built from Debian's\n" +
					"packages, in a checkout of bg. A second run uses what is there.\n\n" +
					"   bg stack up\n" +
					"   BG_HTTP_PORT=8080 BG_CONSUL_PORT=18500 bg stack up",
				Action: func(c *cli.Context) error { return stackUp(c.Context, s) },
			},
			{
				Name:      "images",
				Usage:     "make the stack's images, and others, present without starting anything",
				ArgsUsage: "[IMAGE...]",
				Description: "   bg stack images\n" +
					"   bg stack images redis:8",
				OnUsageError: onUsageError,
				Action:       func(c *cli.Context) error { return stackImages(c.Context, s, c.Args().Slice()) },
			},
			{
				Name:  "down",
				Usage: "stop the stack and remove its containers",
				Flags: []cli.Flag{&cli.BoolFlag{Name: "volumes", Usage: "also remove what it stored: Consul's data and nginx's files"}},
				Description: "   bg stack down\n" +
					"   bg stack down --volumes",
				Action: func(c *cli.Context) error { return stackDown(c.Context, s, c.Bool("volumes")) },
			},
		},
	}
}

// withStack runs do with the stack that is embedded in bg.
func withStack(ctx context.Context, s streams, do func(*engine.Engine, *engine.Stack) error) error {
	return withEngine(ctx, s, func(e *engine.Engine) error {
		stack, err := e.LoadStack(ctx, bg.Stack, "docker-compose.yml")
		if err != nil {
			return err
		}
		return do(e, stack)
	})
}

// stackUp makes the images that are missing, starts the stack, and waits until
// Consul has a leader, the registrator is synced and nginx answers.
func stackUp(ctx context.Context, s streams) error {
	return withStack(ctx, s, func(e *engine.Engine, stack *engine.Stack) error {
		if err := ensureImages(ctx, e, stack.Images(), s.Err); err != nil {
			return err
		}
		fmt.Fprintf(s.Err, "starting the stack %q\n", stack.Name())
		if err := stack.Up(ctx); err != nil {
			return err
		}
		return stackReady(ctx, stack, s)
	})
}

// stackImages makes the stack's images and those named more present.
func stackImages(ctx context.Context, s streams, more []string) error {
	return withStack(ctx, s, func(e *engine.Engine, stack *engine.Stack) error {
		if err := ensureImages(ctx, e, stack.Images(), s.Err); err != nil {
			return err
		}
		for _, ref := range more {
			if err := ensureImage(ctx, e, ref, s.Err); err != nil {
				return err
			}
		}
		return nil
	})
}

func stackDown(ctx context.Context, s streams, volumes bool) error {
	return withStack(ctx, s, func(_ *engine.Engine, stack *engine.Stack) error {
		fmt.Fprintf(s.Err, "ending the stack %q\n", stack.Name())
		return stack.Down(ctx, volumes)
	})
}

// ensureImages makes every image of the stack present.
func ensureImages(ctx context.Context, e *engine.Engine, images map[string]string, notes io.Writer) error {
	for _, service := range slices.Sorted(maps.Keys(images)) {
		ref := images[service]
		if service == "registrator" {
			if err := packSelf(ctx, e, ref, notes); err != nil {
				return err
			}
			continue
		}
		if err := ensureImage(ctx, e, ref, notes); err != nil {
			return err
		}
	}
	return nil
}

// ensureImage pulls an image that is missing, and builds it from local bases
// when no registry has it.
func ensureImage(ctx context.Context, e *engine.Engine, ref string, notes io.Writer) error {
	have, err := e.HasImage(ctx, ref)
	if err != nil || have {
		return err
	}
	fmt.Fprintf(notes, "pulling %s\n", ref)
	pullErr := e.Pull(ctx, ref, "", engine.PullMissing)
	if pullErr == nil || ctx.Err() != nil {
		return pullErr
	}
	if _, err := os.Stat(imageScript); errors.Is(err, fs.ErrNotExist) {
		return hint.Wrap(pullErr, "where no registry answers, run this in a checkout of bg: it builds the image from Debian's packages")
	}
	fmt.Fprintf(notes, "%v\nbuilding %s from local bases: this takes some minutes the first time\n", pullErr, ref)
	command := exec.CommandContext(ctx, "./"+imageScript, ref)
	command.Stdout, command.Stderr = notes, notes
	if err := command.Run(); err != nil {
		return fmt.Errorf("build %s: %w", ref, err)
	}
	return nil
}

// packSelf makes the image of the registrator of this very program, when the
// image there is holds another one.
func packSelf(ctx context.Context, e *engine.Engine, ref string, notes io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find bg's own program: %w", err)
	}
	binary, err := os.ReadFile(self)
	if err != nil {
		return fmt.Errorf("read bg's own program: %w", err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(binary))
	if have, err := e.ImageLabel(ctx, ref, binaryLabel); err != nil || have == sum {
		return err
	}
	if err := runsAlone(self); err != nil {
		return err
	}
	dockerfile, err := fs.ReadFile(bg.Stack, "Dockerfile")
	if err != nil {
		return err
	}
	fmt.Fprintf(notes, "packing %s as %s\n", filepath.Base(self), ref)
	return e.Build(ctx, ref, map[string]string{binaryLabel: sum},
		engine.File{Name: "Dockerfile", Mode: 0o644, Data: dockerfile},
		engine.File{Name: "bin/bg", Mode: 0o755, Data: binary})
}

// runsAlone reports an error when a program needs an operating system around it.
func runsAlone(name string) error {
	file, err := elf.Open(name)
	if err != nil {
		return hint.Wrap(fmt.Errorf("%s is not a Linux program: %w", name, err), "build the image with docker build -t bg:local .")
	}
	defer file.Close()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			return hint.Wrap(fmt.Errorf("%s is not linked statically", name), "build it with CGO_ENABLED=0, as make build does")
		}
	}
	return nil
}

// stackReady waits for each part of the stack, and says where it is.
func stackReady(ctx context.Context, stack *engine.Stack, s streams) error {
	parts := []struct {
		service, path, ready string
		port                 int
		good                 func(status int, body string) bool
	}{
		{"consul", "/v1/status/leader", "Consul has a leader: http://127.0.0.1:%d/ui", 8500, func(status int, body string) bool { return status == http.StatusOK && len(body) > 2 }},
		{"registrator", "/health", "the registrator is synced: http://127.0.0.1:%d/health", 8080, func(status int, _ string) bool { return status == http.StatusOK }},
		{"nginx", "/nginx-health", "nginx answers: http://127.0.0.1:%d", 80, func(status int, _ string) bool { return status == http.StatusOK }},
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, part := range parts {
		g.Go(func() error {
			ctx, done := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("%s was not ready within %s", part.service, readyTimeout))
			defer done()
			list, err := stack.Containers(ctx, part.service)
			if err != nil {
				return err
			}
			if len(list) != 1 {
				return fmt.Errorf("%s: %d containers instead of one", part.service, len(list))
			}
			port := list[0].PublishedPort(part.port)
			if err := awaitAnswer(ctx, fmt.Sprintf("http://127.0.0.1:%d%s", port, part.path), part.good); err != nil {
				return hint.Wrap(err, "docker logs "+list[0].Name)
			}
			fmt.Fprintf(s.Err, part.ready+"\n", port)
			return nil
		})
	}
	return g.Wait()
}

// awaitAnswer asks url until good is satisfied, or until ctx ends, whose cause
// it then returns.
func awaitAnswer(ctx context.Context, url string, good func(status int, body string) bool) error {
	for {
		status, body, lastErr := get(ctx, url)
		switch {
		case lastErr == nil && good(status, body):
			return nil
		case lastErr == nil:
			lastErr = fmt.Errorf("answer %d: %.200s", status, body)
		}
		timer := time.NewTimer(50 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w: GET %s: %w", context.Cause(ctx), url, lastErr)
		}
	}
}

func get(ctx context.Context, url string) (int, string, error) {
	ctx, done := context.WithTimeout(ctx, 5*time.Second)
	defer done()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<16))
	return answer.StatusCode, string(body), err
}
