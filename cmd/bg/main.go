// Command bg deploys new versions of containerised services with no failed
// request, for teams that run Docker, Consul, Registrator and nginx.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"bg/deploy"
)

func main() {
	ctx, stop := interruptible(context.Background(), os.Stderr)
	err := run(ctx, os.Args, streams{Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(complain(os.Stderr, err))
}

// streams are where a command writes. Results, and nothing else, go to Out:
// a script reads them. Progress, warnings, errors and hints go to Err.
type streams struct{ Out, Err io.Writer }

// interruptible returns a context that the first SIGINT, SIGTERM or SIGHUP
// cancels with
// deploy.ErrInterrupted as its cause, which makes a deployment undo itself. A
// second signal ends the process at once.
func interruptible(parent context.Context, notes io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// A reader that went away (bg deploy | head) must not end a deployment.
	signal.Ignore(syscall.SIGPIPE)
	go func() {
		select {
		case s := <-signals:
			signal.Stop(signals)
			fmt.Fprintf(notes, "\n%s: stopping; a second one ends bg at once and leaves the rest to the next command\n", s)
			cancel(deploy.ErrInterrupted)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { signal.Stop(signals); cancel(nil) }
}
