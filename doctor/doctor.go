// Package doctor looks at everything that a deployment builds on, and says of
// each whether it is as it has to be, and else how to mend it.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"text/tabwriter"
	"time"

	"bg/hint"
)

// Status is what came of a check.
type Status string

// The statuses. A warning costs requests or time; a failure stops a deployment.
const (
	Pass    Status = "pass"
	Warning Status = "warning"
	Failure Status = "failure"
)

// Finding is one thing that was looked at.
type Finding struct {
	Area   string `json:"area"` // Consul, Docker, Registrator, nginx, service
	What   string `json:"what"`
	Status Status `json:"status"`
	Detail string `json:"detail,omitempty"`
	Mend   string `json:"mend,omitempty"` // what to do about it
}

// Check looks at some things of one area.
type Check struct {
	Area string
	What string // what it is about, for when it does not end
	Look func(ctx context.Context) []Finding
}

// Run makes all checks at the same time, each within timeout, and returns what
// they found in their order.
func Run(ctx context.Context, checks []Check, timeout time.Duration) []Finding {
	found := make([][]Finding, len(checks))
	var all sync.WaitGroup
	for i, check := range checks {
		all.Go(func() { found[i] = check.run(ctx, timeout) })
	}
	all.Wait()
	list := []Finding{}
	for _, findings := range found {
		list = append(list, findings...)
	}
	return list
}

// run makes one check. It returns when the time is over, also when the check
// does not heed its context.
func (c Check) run(ctx context.Context, timeout time.Duration) []Finding {
	late := fmt.Errorf("no answer within %s", timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, late)
	defer cancel()
	done := make(chan []Finding, 1)
	go func() { done <- c.Look(ctx) }()
	select {
	case findings := <-done:
		for i := range findings {
			findings[i].Area = c.Area
		}
		return findings
	case <-ctx.Done():
		// What ends in this moment may still have something to tell.
		select {
		case findings := <-done:
			for i := range findings {
				findings[i].Area = c.Area
			}
			return findings
		case <-time.After(grace):
			return []Finding{{Area: c.Area, What: c.What, Status: Failure, Detail: context.Cause(ctx).Error(), Mend: "find out why it does not answer, and run bg doctor again"}}
		}
	}
}

// grace is the time that a check has to clean up after its own.
const grace = 5 * time.Second

// Failed returns how many findings are failures.
func Failed(findings []Finding) int {
	n := 0
	for _, f := range findings {
		if f.Status == Failure {
			n++
		}
	}
	return n
}

// Table writes findings for a person.
func Table(w io.Writer, findings []Finding) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range findings {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", f.Status, f.Area, f.What, f.Detail)
		if f.Mend != "" && f.Status != Pass {
			fmt.Fprintf(t, "\t\t\tmend: %s\n", f.Mend)
		}
	}
	return t.Flush()
}

func pass(what, format string, args ...any) Finding {
	return Finding{What: what, Status: Pass, Detail: fmt.Sprintf(format, args...)}
}

func warning(what, mend, format string, args ...any) Finding {
	return Finding{What: what, Status: Warning, Mend: mend, Detail: fmt.Sprintf(format, args...)}
}

// failure is the finding of an error, with its hint, else mend, as the mend.
func failure(what string, err error, mend string) Finding {
	if h := hint.Of(err); h != "" {
		mend = h
	}
	return Finding{What: what, Status: Failure, Detail: err.Error(), Mend: mend}
}

// clockLimit is how far clocks may be apart: documents and ids sort by time.
const clockLimit = 5 * time.Second

// clock compares a clock with this machine's.
func clock(whose string, ahead time.Duration) Finding {
	if ahead.Abs() > clockLimit {
		return warning("clock", "run NTP on both machines (timedatectl set-ntp true)", "%s is %s off this machine's", whose, ahead.Round(time.Second))
	}
	return pass("clock", "%s agrees with this machine's", whose)
}

// older reports whether version a is older than b; both are numbers and dots.
func older(a, b string) bool {
	var x, y [3]int
	_, errA := fmt.Sscanf(a+".0.0", "%d.%d.%d", &x[0], &x[1], &x[2])
	_, errB := fmt.Sscanf(b+".0.0", "%d.%d.%d", &y[0], &y[1], &y[2])
	if errors.Join(errA, errB) != nil {
		return false
	}
	for i := range x {
		if x[i] != y[i] {
			return x[i] < y[i]
		}
	}
	return false
}

// Broken is a check of what could not even be looked at.
func Broken(area, what string, err error) Check {
	return Check{Area: area, What: what, Look: func(context.Context) []Finding { return []Finding{failure(what, err, "")} }}
}
