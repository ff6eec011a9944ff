//go:build burst

package registrator

import (
	"testing"
	"time"
)

// The bursts of the long suite: in each round a crowd is started and stopped, and
// Consul has exactly what runs within 2 s of the last event.
const (
	rounds     = 5
	crowd      = 200
	afterBurst = 2 * time.Second
)

// besideOthers does nothing: a burst of this size takes the whole machine.
func besideOthers(*testing.T) {}
