package proxy

import (
	"context"
	"errors"

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
}

// look reads the files, the processes and the configuration. Its error is an
// ErrBroken when another file than the service's own makes nginx's
// configuration invalid.
func (n *Nginx) look(ctx context.Context) (look, error) {
	var seen look
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
	err := group.Wait()
	return seen, err
}
