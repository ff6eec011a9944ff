//go:build faults

package e2e

// program is what the scenarios run: with the points at which it can come to harm.
const program = "bg-faults"
