package registrator

import (
	"sync"
	"time"
)

// hints gathers what there is to look at until a pass takes it. Giving one never
// waits, so that a burst of events cannot overflow anything.
type hints struct {
	wake chan struct{} // holds a value while there are hints

	mu    sync.Mutex
	batch batch
}

// batch is what one pass starts from.
type batch struct {
	containers map[string]bool // to be looked at whatever the list shows
	full       bool            // look at every container
	since      time.Time       // of the first hint
	events     int
}

// asks reports whether the container is to be looked at whatever the list shows.
func (b batch) asks(id string) bool { return b.full || b.containers[id] }

func newHints() *hints { return &hints{wake: make(chan struct{}, 1)} }

// container asks for a look at one container.
func (h *hints) container(id string) {
	h.add(func(b *batch) {
		b.events++
		if b.containers == nil {
			b.containers = map[string]bool{}
		}
		b.containers[id] = true
	})
}

// all asks for a look at every container.
func (h *hints) all() { h.add(func(b *batch) { b.full = true }) }

// some asks for a comparison without a reason of its own.
func (h *hints) some() { h.add(func(*batch) {}) }

func (h *hints) add(change func(*batch)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.batch.since.IsZero() {
		h.batch.since = time.Now()
	}
	change(&h.batch)
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// fullAsked reports whether a look at every container is still to come.
func (h *hints) fullAsked() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.batch.full
}

// take returns the hints so far and forgets them.
func (h *hints) take() batch {
	h.mu.Lock()
	defer h.mu.Unlock()
	taken := h.batch
	h.batch = batch{}
	return taken
}

// giveBack puts the hints of a pass that did not succeed back.
func (h *hints) giveBack(b batch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.batch.full = h.batch.full || b.full
	if h.batch.since.IsZero() || b.since.Before(h.batch.since) {
		h.batch.since = b.since
	}
	for id := range b.containers {
		if h.batch.containers == nil {
			h.batch.containers = map[string]bool{}
		}
		h.batch.containers[id] = true
	}
}
