//go:build !burst

package registrator

import "testing"

// The bursts of the ordinary suite are small, and run while everything else does:
// they hold what is registered in the end. How soon, make burst holds.
const (
	rounds     = 1
	crowd      = 20
	afterBurst = soon
)

func besideOthers(t *testing.T) { t.Parallel() }
