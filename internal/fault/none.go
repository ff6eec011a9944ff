//go:build !faults

// Package fault marks the instants at which the fault matrix lets bg come to
// harm. Only builds with the tag faults know how to; in all others its functions
// are empty and compiled away.
package fault

import "time"

// Point is an instant, such as ("before", "switch"): nothing happens.
func Point(_, _ string) {}

// Heard does nothing.
func Heard() {}

// Now is time.Now.
func Now() time.Time { return time.Now() }
