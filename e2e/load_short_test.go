//go:build !load

package e2e

// How much the load suite does in make test: some of everything.
const (
	loadSwitches = 10
	loadRequests = 10_000
)
