package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"bg/config"
	"bg/deploy"
	"bg/engine"
	"bg/hint"
	"bg/proxy"
	"bg/registrator"
	"bg/registry"
)

// The exit codes. Those of the steps say that everything was undone.
const (
	exitDone        = 0
	exitUnexpected  = 1
	exitUsage       = 2
	exitHeld        = 3
	exitUnreachable = 4
	exitUndo        = 20
	exitInterrupted = 130
)

// stepCodes are the exit codes of a deployment that failed in a step.
var stepCodes = map[deploy.Verb]int{
	deploy.Start: 11, deploy.Register: 12, deploy.Pretest: 13,
	deploy.Switch: 14, deploy.Posttest: 15, deploy.Commit: 16,
	// Before the start, a plan may drain what an earlier deployment left.
	deploy.Drain: 14,
	// A preview of a color that is held is a change of nginx.
	deploy.Expose: 14,
}

// stepCode returns the exit code of a deployment that failed in verb. One without
// a code of its own did fail.
func stepCode(verb deploy.Verb) int {
	if code, ok := stepCodes[verb]; ok {
		return code
	}
	return exitUnexpected
}

// usageError is a mistake on the command line.
type usageError struct{ error }

// complain writes err and its hint for a person, and returns the exit code.
func complain(w io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	if coded, ok := errors.AsType[codedError](err); ok && coded.error == nil {
		return coded.code
	}
	fmt.Fprintf(w, "bg: %v\n", err)
	if h := hint.Of(err); h != "" {
		fmt.Fprintf(w, "hint: %s\n", h)
	}
	return exitCode(err)
}

// exitCode maps an error to the documented exit code.
func exitCode(err error) int {
	if coded, ok := errors.AsType[codedError](err); ok {
		return coded.code
	}
	step, failed := errors.AsType[*deploy.StepError](err)
	switch {
	case failed && step.Undo != nil:
		return exitUndo
	case isA[*deploy.HalfwayError](err):
		return exitUnexpected // whatever the cause: those codes say that nothing was changed
	case errors.Is(err, deploy.ErrInterrupted):
		return exitInterrupted
	case failed:
		return stepCode(step.Verb)
	case isA[*registry.HeldError](err), isA[*deploy.PausedError](err), isOneOf(err, deploy.ErrUnfinished, deploy.ErrOtherDeployment):
		return exitHeld
	case isA[usageError](err), isA[*config.Error](err), isOneOf(err, engine.ErrConfig, registrator.ErrConfig, deploy.ErrNothingKept, deploy.ErrNoDeployment, deploy.ErrAmbiguous, deploy.ErrNothingOpen, deploy.ErrOver):
		return exitUsage
	case isOneOf(err, registry.ErrUnreachable, registry.ErrForbidden, engine.ErrUnreachable, proxy.ErrUnreachable, registrator.ErrConsul, registrator.ErrDocker):
		return exitUnreachable
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitUnexpected
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func isOneOf(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
