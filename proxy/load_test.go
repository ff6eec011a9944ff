package proxy_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
)

// load sends requests one after another until the test is over, half of them
// on connections of their own, and counts by answer. An answer is the color, or
// what went wrong.
type load struct {
	stop    chan struct{}
	done    sync.WaitGroup
	mu      sync.Mutex
	answers map[string]int
}

func startLoad(t *testing.T, url string) *load {
	t.Helper()
	l := &load{stop: make(chan struct{}), answers: map[string]int{}}
	for _, keepAlive := range []bool{true, false} {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: !keepAlive}}
		l.done.Go(func() { l.run(t, client, url) })
	}
	until(t, "the load runs", func() bool { return l.total() > 10 })
	return l
}

func (l *load) run(t *testing.T, client *http.Client, url string) {
	defer client.CloseIdleConnections()
	for {
		select {
		case <-l.stop:
			return
		case <-t.Context().Done():
			return
		default:
		}
		answer := ask(t.Context(), client, url)
		l.mu.Lock()
		l.answers[answer]++
		l.mu.Unlock()
	}
}

// ask returns the color that answers, or what went wrong.
func ask(ctx context.Context, client *http.Client, url string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	resp, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return resp.Status
	}
	return resp.Header.Get("X-BG-Color")
}

func (l *load) total() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, count := range l.answers {
		n += count
	}
	return n
}

// end stops the load and fails the test unless every answer was of one of
// colors.
func (l *load) end(t *testing.T, colors ...string) {
	t.Helper()
	close(l.stop)
	l.done.Wait()
	for answer, count := range l.answers {
		if !slices.Contains(colors, answer) {
			t.Errorf("%d requests of %d got %q, want one of %v", count, l.total(), answer, colors)
		}
	}
	t.Logf("answers under load: %v", l.answers)
}
