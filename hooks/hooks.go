// Package hooks calls commands and webhooks around the steps of a deployment and
// at its end.
package hooks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"bg/deploy"
)

// Hook is one thing to do, and when.
type Hook struct {
	On       []string // "before switch", "after" any step, an outcome such as "failed", "end" with any outcome
	Timeout  time.Duration
	Required bool // its failure fails the step that it is called around
	Action   Action
}

// Action is what a hook does. Run ends soon after ctx does.
type Action interface {
	Name() string
	Run(ctx context.Context, call Call, out io.Writer) error
}

// Call says what happens.
type Call struct {
	Moment     string // "before switch", or an outcome
	Step       deploy.Step
	Deployment deploy.Deployment // as it is at that moment
}

// Hooks are the hooks of a service, in the order in which they are called.
type Hooks struct {
	List   []Hook
	Output io.Writer // where commands write
}

var _ deploy.Hooks = (*Hooks)(nil)

// Step calls the hooks of one side of a step. The first required one that fails
// ends it; what fails of the others is returned as ignored.
func (h *Hooks) Step(ctx context.Context, when deploy.When, step deploy.Step, d deploy.Deployment) (ignored []error, err error) {
	call := Call{Moment: fmt.Sprintf("%s %s", when, step.Verb), Step: step, Deployment: d}
	for _, hook := range h.on(call.Moment, string(when)) {
		err := h.call(ctx, hook, call)
		switch {
		case err != nil && (hook.Required || ctx.Err() != nil):
			return ignored, err
		case err != nil:
			ignored = append(ignored, err)
		}
	}
	return ignored, nil
}

// End calls the hooks of how a run of bg left a deployment, all of them, and
// returns what failed.
func (h *Hooks) End(ctx context.Context, d deploy.Deployment) []error {
	call := Call{Moment: string(d.Outcome), Deployment: d}
	var failed []error
	for _, hook := range h.on(call.Moment, "end") {
		if err := h.call(ctx, hook, call); err != nil {
			failed = append(failed, fmt.Errorf("hook %s: %w", call.Moment, err))
		}
	}
	return failed
}

// on returns the hooks that are on one of moments.
func (h *Hooks) on(moments ...string) []Hook {
	return slices.DeleteFunc(slices.Clone(h.List), func(hook Hook) bool {
		return !slices.ContainsFunc(hook.On, func(m string) bool { return slices.Contains(moments, m) })
	})
}

// call does one hook within its time.
func (h *Hooks) call(ctx context.Context, hook Hook, call Call) error {
	late := fmt.Errorf("not done after %s", hook.Timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, hook.Timeout, late)
	defer cancel()
	err := hook.Action.Run(ctx, call, h.Output)
	if err == nil {
		return nil
	}
	if errors.Is(context.Cause(ctx), late) {
		err = late
	}
	return fmt.Errorf("%s: %w", hook.Action.Name(), err)
}
