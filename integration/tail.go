package integration

import (
	"strings"
	"sync"
)

// tailSize is the number of bytes of a test's output that are kept.
const tailSize = 64 << 10

// tail keeps the end of what is written to it, and whole lines when it had to
// drop some. Several goroutines may write.
type tail struct {
	mu      sync.Mutex
	size    int
	kept    []byte
	dropped bool
}

func newTail(size int) *tail { return &tail{size: size} }

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	// Shifting only when twice the size has come keeps each byte's cost constant.
	if len(t.kept) > 2*t.size {
		t.shift()
	}
	return len(p), nil
}

// String returns what is kept, as valid UTF-8.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.kept) > t.size {
		t.shift()
	}
	text := string(t.kept)
	if t.dropped {
		if _, rest, found := strings.Cut(text, "\n"); found {
			text = rest
		}
	}
	return strings.ToValidUTF8(text, "\ufffd")
}

// shift drops all but the last size bytes.
func (t *tail) shift() {
	t.kept = append(t.kept[:0], t.kept[len(t.kept)-t.size:]...)
	t.dropped = true
}
