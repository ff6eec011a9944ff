// Package integration runs the tests that a deployment has to pass, before and
// after its switch: requests, commands and services of Compose files.
package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"bg/internal/fault"
)

// Target is what is tested.
type Target struct {
	URL        string // base URL, what tests know as DOMAIN
	Service    string
	Color      string
	Address    string // host:port of one instance of the color
	Deployment string // its id
}

// env returns the variables by which commands and containers learn of t.
func (t Target) env() map[string]string {
	return map[string]string{
		"DOMAIN": t.URL, "BG_SERVICE": t.Service, "BG_COLOR": t.Color, "BG_ADDRESS": t.Address, "BG_DEPLOY": t.Deployment,
	}
}

// Test is one integration test. Run returns nil when target passed, and what
// was wrong otherwise; it writes what a person wants to see to out, and ends
// soon after ctx does.
type Test interface {
	Name() string
	Run(ctx context.Context, target Target, out io.Writer) error
}

// DefaultTimeout is the time that a test may take when nothing else is said.
const DefaultTimeout = 5 * time.Minute

// Limited is a test with a name and a time limit of its own.
type Limited struct {
	Test
	Label   string        // "" keeps the test's name
	Timeout time.Duration // 0 is DefaultTimeout
}

// Name returns the label, or the test's own name.
func (l Limited) Name() string {
	if l.Label != "" {
		return l.Label
	}
	return l.Test.Name()
}

// Run runs the test. When its time is over the error wraps a *TimeoutError, and
// when ctx is cancelled its cause, beside the test's own.
func (l Limited) Run(ctx context.Context, target Target, out io.Writer) error {
	limit := l.Timeout
	if limit == 0 {
		limit = DefaultTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, &TimeoutError{After: limit})
	defer cancel()
	err := l.Test.Run(ctx, target, out)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// TimeoutError is the error of a test that took too long.
type TimeoutError struct{ After time.Duration }

func (e *TimeoutError) Error() string { return fmt.Sprintf("not done after %s", e.After) }

// Outcome is how a test ended.
type Outcome string

// The outcomes. Tests after the first that fails are skipped.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
)

// Result is what one test did.
type Result struct {
	Name     string
	Outcome  Outcome
	Duration time.Duration
	Output   string // the end of what it wrote, up to 64 KiB
}

// Report has the results of all tests, in their order.
type Report struct {
	Results []Result
	// Unshown is why output could not be written. It fails no test.
	Unshown error
}

// Count says how many tests there were, such as "2 tests".
func (r Report) Count() string {
	if len(r.Results) == 1 {
		return "1 test"
	}
	return fmt.Sprintf("%d tests", len(r.Results))
}

// FailedError is the error of the first test that failed. It wraps the test's.
type FailedError struct {
	Test   string
	Output string // the end of what it wrote, up to 64 KiB
	Err    error
}

func (e *FailedError) Error() string { return fmt.Sprintf("integration test %q: %v", e.Test, e.Err) }

func (e *FailedError) Unwrap() error { return e.Err }

// Run runs tests one after the other against target, and shows on out what they
// write while they do. It ends with the first that fails; the error is a
// *FailedError then. The report is complete in either case.
func Run(ctx context.Context, tests []Test, target Target, out io.Writer) (Report, error) {
	var report Report
	var failed error
	screen := &screen{out: out}
	for _, test := range tests {
		if failed != nil {
			report.Results = append(report.Results, Result{Name: test.Name(), Outcome: Skipped})
			continue
		}
		result, err := run(ctx, test, target, screen)
		report.Results = append(report.Results, result)
		fault.Point("in", "tests")
		if err != nil {
			failed = &FailedError{Test: result.Name, Output: result.Output, Err: err}
		}
	}
	report.Unshown = screen.failure()
	return report, failed
}

// run runs one test, within DefaultTimeout unless it has a limit of its own.
func run(ctx context.Context, test Test, target Target, screen io.Writer) (Result, error) {
	limited, ok := test.(Limited)
	if !ok {
		limited = Limited{Test: test}
	}
	kept := newTail(tailSize)
	start := time.Now()
	fmt.Fprintf(screen, "test %s\n", test.Name())
	err := ctx.Err()
	if err == nil {
		err = limited.Run(ctx, target, io.MultiWriter(kept, screen))
	} else {
		err = context.Cause(ctx)
	}
	result := Result{Name: test.Name(), Outcome: Passed, Duration: time.Since(start), Output: kept.String()}
	if err != nil {
		result.Outcome = Failed
	}
	fmt.Fprintf(screen, "test %s %s in %s\n", result.Name, result.Outcome, result.Duration.Round(time.Millisecond))
	return result, err
}

// screen shows output. That nobody can see it is no reason to fail a test, and
// with it a deployment: the first error is kept and the rest dropped.
type screen struct {
	mu  sync.Mutex
	out io.Writer
	err error
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		_, s.err = s.out.Write(p)
	}
	return len(p), nil
}

func (s *screen) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		return nil
	}
	return errors.Join(errors.New("show the output of the tests"), s.err)
}
