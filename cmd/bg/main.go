// Command bg deploys new versions of containerised services with no failed
// request, for teams that run Docker, Consul, Registrator and nginx.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"bg/deploy"
	"bg/internal/fault"
)

func main() {
	notes := &notice{to: os.Stderr}
	ctx, stop := interruptible(context.Background(), notes)
	err := run(ctx, os.Args, streams{Out: os.Stdout, Err: os.Stderr, Notice: notes})
	stop()
	os.Exit(complain(os.Stderr, err))
}

// streams are where a command writes. Results, and nothing else, go to Out:
// a script reads them. Progress, warnings, errors and hints go to Err.
type streams struct {
	Out, Err io.Writer
	Notice   *notice // what comes from outside of the command; nil tells nothing
}

// notice tells a person of what comes from outside of a command, such as a signal.
// While the command draws on the terminal, that goes above its picture.
type notice struct {
	mu      sync.Mutex
	to      io.Writer
	picture io.Writer // nil: nothing is drawn
}

// say writes one line. Where nothing is drawn, the terminal's "^C" is before it.
func (n *notice) say(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.picture != nil {
		fmt.Fprintln(n.picture, line)
		return
	}
	fmt.Fprintf(n.to, "\n%s\n", line)
}

// draw says that a picture is on the terminal from now on, or none.
func (n *notice) draw(picture io.Writer) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.picture = picture
}

// interruptible returns a context that the first SIGINT, SIGTERM or SIGHUP
// cancels with deploy.ErrInterrupted as its cause, which makes a deployment undo
// itself. A second signal ends the process at once.
func interruptible(parent context.Context, notes *notice) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// A reader that went away (bg deploy | head) must not end a deployment.
	signal.Ignore(syscall.SIGPIPE)
	go func() {
		select {
		case s := <-signals:
			signal.Stop(signals)
			notes.say(fmt.Sprintf("%s: stopping; a second one ends bg at once and leaves the rest to the next command", s))
			cancel(deploy.ErrInterrupted)
			fault.Heard()
		case <-ctx.Done():
		}
	}()
	return ctx, func() { signal.Stop(signals); cancel(nil) }
}
