package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"bg/color"
)

// scriptedHooks records their calls among those of the world.
type scriptedHooks struct{ world *world }

func (h scriptedHooks) Step(ctx context.Context, when When, step Step, d Deployment) ([]error, error) {
	name := fmt.Sprintf("%s %s", when, step.Verb)
	if d.ID == "" || len(d.Steps) == 0 || d.Steps[len(d.Steps)-1].Step != step.Verb {
		return nil, fmt.Errorf("%s: the deployment is not at that step: %+v", name, d)
	}
	err := h.world.call(ctx, name)
	if errors.Is(err, errIgnored) {
		return []error{err}, nil
	}
	return nil, err
}

var errIgnored = errors.New("nobody minds")

func TestHooksAreCalledAroundEachStep(t *testing.T) {
	w, d := newWorld(t, color.None)
	d.Hooks = scriptedHooks{w}
	if _, err := d.Deploy(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
	w.called("before start, start blue, after start, before register, healthy blue, after register, " +
		"before pretest, pretest, after pretest, before switch, render blue, apply blue, after switch, " +
		"before posttest, posttest, after posttest, before commit, after commit")
}

func TestAHookThatFailsBeforeTheCommitUndoesTheDeployment(t *testing.T) {
	for _, at := range []string{"before start", "after start", "before switch", "after switch", "before commit"} {
		t.Run(at, func(t *testing.T) {
			w, d := newWorld(t, color.Blue)
			d.Hooks = scriptedHooks{w}
			w.failing(at, errScript)
			_, err := d.Deploy(t.Context(), w.request())
			failed, ok := errors.AsType[*StepError](err)
			if !ok || failed.Undo != nil || !errors.Is(err, errScript) || !strings.Contains(err.Error(), "hook "+at) || !strings.HasSuffix(at, string(failed.Verb)) {
				t.Fatalf("%v", err)
			}
			w.serving(d, color.Blue)
			w.unlocked()
			if left := w.running(d, color.Green); left > 0 {
				t.Errorf("%d containers are left", left)
			}
		})
	}
}

func TestAHookThatFailsAfterTheCommitOrThatNobodyMindsIsAWarning(t *testing.T) {
	for at, err := range map[string]error{"after commit": errScript, "before drain": errScript, "before stop": errScript, "before start": errIgnored} {
		t.Run(at, func(t *testing.T) {
			w, d := newWorld(t, color.Blue)
			d.Hooks = scriptedHooks{w}
			w.failing(at, err)
			deployed, failed := d.Deploy(t.Context(), w.request())
			if failed != nil {
				t.Fatal(failed)
			}
			w.serving(d, color.Green)
			if len(deployed.Warnings) != 1 || !strings.Contains(deployed.Warnings[0], "hook "+at) || w.running(d, color.Blue) != 0 {
				t.Errorf("recorded: %+v", deployed)
			}
		})
	}
}
