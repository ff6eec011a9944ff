//go:build load

package e2e

// How much the load suite does in make load.
const (
	loadSwitches = 100
	loadRequests = 2_000_000
)
