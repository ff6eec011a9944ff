//go:build !faults

package e2e

// program is what the scenarios run.
const program = "bg"
