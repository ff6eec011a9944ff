package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bg/color"
	"bg/hint"
	"bg/internal/fault"
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
	Written    []string      // paths, in the order of writing
	Reload     time.Duration // from the signal until no old worker accepted
	Confirmed  int           // answers of the new color in a row; 0 without a URL
	Sent       time.Time     // when nginx was told to reload; zero when it was not

	before  workers // when the reload was asked for
	refused bool    // by nginx, as its log says
}

// String says what was observed, for a line of progress and for the record.
func (c Change) String() string {
	if !c.Reloaded {
		return fmt.Sprintf("nothing to write; %d answers confirmed it", c.Confirmed)
	}
	text := fmt.Sprintf("wrote %s, %d new workers after %s", strings.Join(c.Written, " and "), len(c.NewWorkers), c.Reload.Round(time.Millisecond))
	if c.Confirmed > 0 {
		text += fmt.Sprintf(", %d answers confirmed it", c.Confirmed)
	}
	return text
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

// Restore undoes change: it makes its previous files what nginx runs with, in
// the same way. It asks for no answer of a color: the previous one may be the
// reason to switch away. It always reloads, also when the files are on disk
// already: whoever wrote them may have been killed before nginx read them, and the
// workers that lived before a reload are all that may send elsewhere.
func (n *Nginx) Restore(ctx context.Context, change Change) (Change, error) {
	previous := change.Previous
	previous.Color, previous.Preview = color.None, color.None // no answer of it is taken for the whole truth
	return n.put(ctx, previous, func(context.Context, Files) (int, error) { return 0, nil })
}

// confirmer waits until nginx answers as files say, and returns the number of
// answers in a row that it saw.
type confirmer func(ctx context.Context, files Files) (int, error)

func (n *Nginx) put(ctx context.Context, files Files, confirm confirmer) (Change, error) {
	seen, err := n.look(ctx)
	if err != nil {
		return Change{}, err
	}
	change := Change{Files: files, Previous: seen.files}
	if files.same(seen.files) {
		// The files may be there without nginx having read them, when an
		// earlier attempt died before its reload. Only answers tell, and only
		// those of workers that stay.
		if change.Confirmed = n.serves(ctx, files); change.Confirmed > 0 && n.quiet(ctx, seen.workers) {
			change.OldWorkers, change.NewWorkers = seen.workers.leaving, seen.workers.serving
			return change, nil
		}
	}
	way, err := n.prove(ctx, seen, files)
	if err != nil {
		return Change{}, err
	}
	if err := n.perform(ctx, &change, seen, way, confirm); err != nil {
		return Change{}, n.putBack(ctx, change, way, err)
	}
	return change, nil
}

// prove returns a way from what was seen to files that nginx accepts at each of
// its steps, without touching the disk.
func (n *Nginx) prove(ctx context.Context, seen look, files Files) ([]write, error) {
	if seen.files.same(files) {
		return nil, nil
	}
	if way := n.remembered(seen, files); way != nil {
		return way, nil
	}
	ways := orders(seen.files, files)
	if seen.config.main == "" {
		return ways[0], nil // untold: the check after writing has to do
	}
	if err := n.try(ctx, seen, files); err != nil {
		return nil, err
	}
	var refused error
	for _, way := range ways {
		if refused = n.tryBetween(ctx, seen, way); refused == nil {
			n.remember(seen, files, way)
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
func (n *Nginx) tryBetween(ctx context.Context, seen look, way []write) error {
	for _, w := range way[:len(way)-1] {
		if err := n.try(ctx, seen, w.state); err != nil && !errors.Is(err, ErrNotIncluded) {
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
func (n *Nginx) perform(ctx context.Context, change *Change, seen look, way []write, confirm confirmer) error {
	for _, w := range way {
		if err := n.writeFile(ctx, w.file); err != nil {
			return err
		}
		change.Written = append(change.Written, w.file.Path)
		fault.Point("write", "switch")
	}
	if err := n.check(ctx, seen.workers.master); err != nil {
		return err
	}
	fault.Point("in", "switch")
	if err := n.reload(ctx, change, n.refusedSince); err != nil {
		return err
	}
	fault.Point("reload", "switch")
	var err error
	change.Confirmed, err = confirm(ctx, change.Files)
	return err
}

// check runs the configured check command on what is on disk.
func (n *Nginx) check(ctx context.Context, master process) error {
	command, ok := n.testCommand(master, "-t")
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
	return n.reloadBack(ctx, change)
}

// reloadBack makes nginx run with the files that were put back, after a reload
// that was not the last word. When that one is still under way, its new workers
// could be taken for those of the second, so it is let finish. The workers that
// had the new files may have requests at the new color, which is stopped next:
// they are given the time there is. When nginx refused the first one, and in all the
// time of the second one has the workers that it had before, none of them ever had
// the new files.
func (n *Nginx) reloadBack(ctx context.Context, change Change) error {
	if len(change.NewWorkers) == 0 {
		if err := n.settle(ctx, change); err != nil {
			n.log.Warn("the reload that is undone did not finish", "service", n.cfg.Service, "error", err)
		}
	}
	var back Change
	err := n.reload(ctx, &back, unasked)
	if err != nil && change.refused && n.untouched(ctx, change.before) {
		n.log.Warn("nginx runs with what it had, and does not read it again", "service", n.cfg.Service, "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	left := Change{OldWorkers: back.before.serving, NewWorkers: back.NewWorkers}
	if drained, err := n.Drain(ctx, left, nil); err != nil {
		n.log.Warn("requests may be cut off", "service", n.cfg.Service, "workers", drained.Workers, "error", err)
	}
	return nil
}

// bothAccept is more than the 100 ms for which the old workers go on accepting
// beside the new ones, see reload.
const bothAccept = 250 * time.Millisecond

// quiet reports whether no reload was under way when nginx had the workers before:
// somebody else's, who is gone by now. In its midst new workers may have answered
// while old ones, by no title to be told from them, took requests to elsewhere.
// nginx tells nobody that it is through, so that time is waited out.
func (n *Nginx) quiet(ctx context.Context, before workers) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(bothAccept):
		return n.untouched(ctx, before)
	}
}

// untouched reports whether nginx's workers are those that it had before.
func (n *Nginx) untouched(ctx context.Context, before workers) bool {
	now, err := n.workers(ctx)
	return err == nil && slices.Equal(slices.Sorted(slices.Values(now.serving)), slices.Sorted(slices.Values(before.serving)))
}
