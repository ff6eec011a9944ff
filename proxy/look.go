package proxy

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"
)

// look is everything about nginx that a change of it depends on, as it was at
// one moment.
type look struct {
	files   Files
	workers workers
	config  dump
	// untold is why there is no config: errNoDump or an ErrBroken about a file
	// of this service, which a change may mend.
	untold error
	at     time.Time // when it began
}

// lately is how old a look may be of which a preparation makes use.
const lately = time.Second

// glance returns the last look when it is not old, else a new one. Whoever changes
// nginx looks anew.
func (n *Nginx) glance(ctx context.Context) (look, error) {
	n.mu.Lock()
	seen := n.seen
	n.mu.Unlock()
	if time.Since(seen.at) < lately {
		return seen, nil
	}
	return n.look(ctx)
}

// look reads the files, the processes and the configuration. Its error is an
// ErrBroken when another file than the service's own makes nginx's
// configuration invalid.
func (n *Nginx) look(ctx context.Context) (look, error) {
	seen := look{at: time.Now()}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		seen.files.Upstreams, err = n.readFile(ctx, n.cfg.Upstreams.Path)
		return err
	})
	group.Go(func() (err error) {
		seen.files.Includes, err = n.readFile(ctx, n.cfg.Includes.Path)
		return err
	})
	group.Go(func() (err error) {
		if seen.workers, err = n.workers(ctx); err != nil {
			return err
		}
		seen.config, err = n.dump(ctx, seen.workers.master)
		if errors.Is(err, errNoDump) || errors.Is(err, ErrBroken) && n.own(err) {
			seen.untold, err = err, nil
		}
		return err
	})
	if err := group.Wait(); err != nil {
		return seen, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen = seen
	return seen, nil
}
