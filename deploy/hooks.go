package deploy

import (
	"context"
	"fmt"
)

// When says on which side of a step a hook is called.
type When string

// The sides of a step.
const (
	Before When = "before"
	After  When = "after"
)

// Hooks is called around the steps of a deployment. An error of Step fails the
// step as if its own work had failed: everything is undone. After the commit the
// deployment has happened, and an error is a warning, as those of ignored always
// are.
type Hooks interface {
	Step(ctx context.Context, when When, step Step, deployment Deployment) (ignored []error, err error)
}

// hooked takes a step between its hooks.
func (r *run) hooked(ctx context.Context, step Step, take func() (string, error)) (string, error) {
	if err := r.hook(ctx, Before, step); err != nil {
		return "", err
	}
	observed, err := take()
	if err != nil {
		return observed, err
	}
	return observed, r.hook(ctx, After, step)
}

// hook calls the hooks of one side of a step.
func (r *run) hook(ctx context.Context, when When, step Step) error {
	if r.Hooks == nil {
		return nil
	}
	ignored, err := r.Hooks.Step(ctx, when, step, *r.record)
	if err != nil && r.committed {
		ignored, err = append(ignored, err), nil
	}
	for _, each := range ignored {
		r.warn(fmt.Errorf("hook %s %s: %w", when, step.Verb, each))
	}
	if err != nil {
		return fmt.Errorf("hook %s %s: %w", when, step.Verb, err)
	}
	return nil
}
