package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"bg/color"
	"bg/config"
	"bg/deploy"
	"bg/engine"
	"bg/hint"
	"bg/proxy"
	"bg/registrator"
	"bg/registry"
)

// held is the refusal of a lock.
var held = &registry.HeldError{Key: "books-ms/lock", Holder: registry.Holder{
	User: "ann", Host: "ci-1", PID: 11, Since: time.Date(2026, 11, 21, 1, 2, 3, 0, time.UTC), Build: "https://ci.example/12/",
}}

// step is a deployment that failed in a step and was undone.
func step(verb deploy.Verb, err error) error { return &deploy.StepError{Verb: verb, Err: err} }

func TestEveryErrorHasItsDocumentedExitCode(t *testing.T) {
	why := errors.New("why")
	tests := []struct {
		name string
		err  error
		want int
	}{
		{"done", nil, 0},
		{"anything else", why, 1},
		{"not clear which color is live", deploy.ErrInconsistent, 1},
		{"garbage in the color key", color.ErrUnknown, 1},
		{"a mistake on the command line", usageError{why}, 2},
		{"a mistake in bg.yml", fmt.Errorf("read: %w", &config.Error{}), 2},
		{"a Compose file that does not fit", engine.ErrConfig, 2},
		{"a mistake in the registrator's settings", registrator.ErrConfig, 2},
		{"nothing to roll back to", deploy.ErrNothingKept, 2},
		{"another deployment", &deploy.BeforeError{Err: held}, 3},
		{"Consul is not there", &deploy.BeforeError{Err: registry.ErrUnreachable}, 4},
		{"Consul refuses the token", registry.ErrForbidden, 4},
		{"Docker is not there", engine.ErrUnreachable, 4},
		{"nginx is not there", proxy.ErrUnreachable, 4},
		{"the registrator's Consul is not there", registrator.ErrConsul, 4},
		{"the registrator's Docker is not there", registrator.ErrDocker, 4},
		{"start", step(deploy.Start, why), 11},
		{"register", step(deploy.Register, why), 12},
		{"pretest", step(deploy.Pretest, why), 13},
		{"switch", step(deploy.Switch, why), 14},
		{"the drain before a start", step(deploy.Drain, why), 14},
		{"posttest", step(deploy.Posttest, why), 15},
		{"commit", step(deploy.Commit, why), 16},
		{"a step without a code of its own", step(deploy.Stop, why), 1},
		{"an earlier deployment cannot be finished", &deploy.HalfwayError{Err: why}, 1},
		{"Consul is gone half-way", errors.Join(&deploy.HalfwayError{Err: registry.ErrUnreachable}), 1},
		{"interrupted half-way", &deploy.HalfwayError{Err: deploy.ErrInterrupted}, 1},
		{"the undo failed, and Consul is gone", errors.Join(&deploy.StepError{Verb: deploy.Switch, Err: why, Undo: why}, registry.ErrUnreachable), 20},
		{"the undo failed", &deploy.StepError{Verb: deploy.Switch, Err: why, Undo: why}, 20},
		{"the undo of an interrupt failed", &deploy.StepError{Verb: deploy.Switch, Err: deploy.ErrInterrupted, Undo: why}, 20},
		{"interrupted", step(deploy.Pretest, deploy.ErrInterrupted), 130},
		{"interrupted before the first step", context.Canceled, 130},
		{"a step's own cause does not count", step(deploy.Start, engine.ErrUnreachable), 11},
		{"nor does a lock that is held", step(deploy.Switch, held), 14},
		{"wrapped, joined and with a hint", errors.Join(fmt.Errorf("deploy: %w", hint.Wrap(step(deploy.Posttest, why), "look")), why), 15},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := exitCode(tt.err); tt.err != nil && got != tt.want {
				t.Errorf("got %d", got)
			}
			if got := complain(new(strings.Builder), tt.err); got != tt.want {
				t.Errorf("complain says %d", got)
			}
		})
	}
}

func TestEveryExitCodeIsInTheHelpText(t *testing.T) {
	help := newApp(streams{}).Description
	codes := []int{exitDone, exitUnexpected, exitUsage, exitHeld, exitUnreachable, exitUndo, exitInterrupted}
	for _, code := range stepCodes {
		codes = append(codes, code)
	}
	_, text, _ := strings.Cut(help, "Exit codes:")
	for _, code := range codes {
		if !strings.Contains(text, fmt.Sprintf(" %d ", code)) && !strings.Contains(text, fmt.Sprintf("\n%d ", code)) {
			t.Errorf("%d is not in it", code)
		}
	}
}

func TestAComplaintIsOneLineAndAHint(t *testing.T) {
	var text strings.Builder
	for _, err := range []error{
		nil,
		errors.New("without a hint"),
		hint.Wrap(held, "wait for it with --lock-wait 5m"),
		step(deploy.Switch, fmt.Errorf("check: %w", hint.Wrap(proxy.ErrRefused, "see line 3 of books-ms.conf"))),
		&deploy.StepError{
			Verb: deploy.Posttest, Err: hint.Wrap(errors.New("exit status 4"), "of the failure"),
			Undo: hint.Wrap(fmt.Errorf("switch: %w", proxy.ErrRestore), "of the undo, which is urgent"),
		},
	} {
		fmt.Fprintf(&text, "exit code %d\n", complain(&text, err))
	}
	golden(t, "complaints", text.String())
}
