package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"bg/hint"
)

// Change is what Apply or Restore did, and what undoing it needs.
type Change struct {
	Files    Files // what is on disk now
	Previous Files // what was on disk before
	// Reloaded is false when nginx had the files already and was seen to
	// answer with their color.
	Reloaded bool
	// OldWorkers are the PIDs of the workers that lived before the reload.
	// None of them accepts connections any more.
	OldWorkers []int
	NewWorkers []int
	// Order of what happened, for the record.
	Written   []string      // paths
	Reload    time.Duration // from the signal until no old worker accepted
	Confirmed int           // answers of the new color in a row; 0 without a URL
}

// Apply makes files what nginx runs with. It proves them in a copy of nginx's
// configuration, writes what differs in an order that is valid at every
// instant, reloads nginx and waits until only workers that have them accept
// connections and the new color answers. When any of this fails, the previous
// files are back, and nginx runs with them, before the error is returned; when
// even that fails, the error is ErrRestore too.
func (n *Nginx) Apply(ctx context.Context, files Files) (Change, error) {
	return n.put(ctx, files, n.confirm)
}

// Restore makes previous files what nginx runs with, in the same way. It asks
// for no answer of a color: the previous one may be the reason to switch away.
func (n *Nginx) Restore(ctx context.Context, previous Files) (Change, error) {
	return n.put(ctx, previous, func(context.Context, Files) (int, error) { return 0, nil })
}

// confirmer waits until nginx answers as files say, and returns the number of
// answers in a row that it saw.
type confirmer func(ctx context.Context, files Files) (int, error)

func (n *Nginx) put(ctx context.Context, files Files, confirm confirmer) (Change, error) {
	previous, err := n.read(ctx)
	if err != nil {
		return Change{}, err
	}
	change := Change{Files: files, Previous: previous}
	if files.same(previous) {
		// The files may be there without nginx having read them, when an
		// earlier attempt died before its reload. Only answers tell.
		if change.Confirmed = n.serves(ctx, files); change.Confirmed > 0 {
			return change, nil
		}
	}
	way, err := n.prove(ctx, previous, files)
	if err != nil {
		return Change{}, err
	}
	if err := n.perform(ctx, &change, way, confirm); err != nil {
		return Change{}, n.putBack(ctx, change, way, err)
	}
	return change, nil
}

// prove returns a way from one state of the disk to another that nginx accepts
// at each of its steps, without touching the disk.
func (n *Nginx) prove(ctx context.Context, from, to Files) ([]write, error) {
	if from.same(to) {
		return nil, nil
	}
	ways := orders(from, to)
	before, err := n.workers(ctx)
	if err != nil {
		return nil, err
	}
	now, err := n.dump(ctx, before.master)
	if errors.Is(err, errNoDump) || errors.Is(err, ErrBroken) && n.own(err) {
		// Without nginx's own test, or when what is broken is what shall be
		// replaced, the check after writing has to do.
		return ways[0], nil
	}
	if err != nil {
		return nil, err
	}
	if err := n.try(ctx, now, before.master, to); err != nil {
		return nil, err
	}
	var refused error
	for _, way := range ways {
		if refused = n.tryBetween(ctx, now, before.master, way); refused == nil {
			return way, nil
		}
		if !errors.Is(refused, ErrRefused) {
			return nil, refused
		}
	}
	return nil, hint.Wrap(fmt.Errorf("no order of writing the two files is valid in between: %w", refused),
		"deploy the change of the upstream's name and that of the locations one after the other")
}

// tryBetween tests the states of way before the last one.
func (n *Nginx) tryBetween(ctx context.Context, now dump, master process, way []write) error {
	for _, w := range way[:len(way)-1] {
		if err := n.try(ctx, now, master, w.state); err != nil && !errors.Is(err, ErrNotIncluded) {
			return err
		}
	}
	return nil
}

// own reports whether err, an ErrBroken, is about a file that this service
// writes.
func (n *Nginx) own(err error) bool {
	return slices.ContainsFunc([]string{n.cfg.Upstreams.Path, n.cfg.Includes.Path}, func(path string) bool {
		return path != "" && blames(err, path)
	})
}

// perform writes, checks, reloads and confirms. It keeps change up to date, so
// that what was done can be undone when it fails half-way.
func (n *Nginx) perform(ctx context.Context, change *Change, way []write, confirm confirmer) error {
	for _, w := range way {
		if err := n.writeFile(ctx, w.file); err != nil {
			return err
		}
		change.Written = append(change.Written, w.file.Path)
	}
	if err := n.check(ctx); err != nil {
		return err
	}
	if err := n.reload(ctx, change); err != nil {
		return err
	}
	var err error
	change.Confirmed, err = confirm(ctx, change.Files)
	return err
}

// check runs the configured check command on what is on disk.
func (n *Nginx) check(ctx context.Context) error {
	before, err := n.workers(ctx)
	if err != nil {
		return err
	}
	command, ok := n.testCommand(before.master, "-t")
	if !ok {
		command = n.cfg.CheckCommand
	}
	_, stderr, err := n.host.Run(ctx, command, nil)
	if reason := refusal(stderr); err != nil && reason != "" {
		return fmt.Errorf("%w: %s", ErrRefused, reason)
	}
	return hosted("check", "nginx's configuration", err)
}

// putBack brings the previous files back after failure, and nginx with them
// when it was told to reload. It goes on when ctx is cancelled.
func (n *Nginx) putBack(ctx context.Context, change Change, way []write, failure error) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), n.cfg.RestoreTimeout,
		fmt.Errorf("not done within %s", n.cfg.RestoreTimeout))
	defer cancel()
	n.log.Warn("put the previous nginx files back", "service", n.cfg.Service, "because", failure)
	if err := n.undo(ctx, change, way[:len(change.Written)]); err != nil {
		return hint.Wrap(fmt.Errorf("%w: %w; this was to be undone: %w", ErrRestore, err, failure),
			fmt.Sprintf("look at %s and %s, and run `nginx -t`", n.cfg.Upstreams.Path, n.cfg.Includes.Path))
	}
	return failure
}

// undo leads the disk back through the states before each write that was done,
// all of which were valid, and reloads when nginx may have read the new files. It
// starts from what is on disk, since a write that failed may have been done.
func (n *Nginx) undo(ctx context.Context, change Change, done []write) error {
	now, err := n.read(ctx)
	if err != nil {
		return err
	}
	states := []Files{change.Previous}
	for _, w := range done {
		states = append(states, w.state)
	}
	for _, state := range slices.Backward(states) {
		for i, f := range state.list() {
			if f.same(now.list()[i]) {
				continue
			}
			if err := n.writeFile(ctx, f); err != nil {
				return err
			}
		}
		now = state
	}
	if !change.Reloaded {
		return nil
	}
	return n.reload(ctx, &Change{})
}
