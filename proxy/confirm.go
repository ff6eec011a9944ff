package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"bg/color"
)

// answersInRow is how many answers in a row, each on a connection of its own,
// show that a color serves.
const answersInRow = 3

// confirm waits until nginx answers answersInRow times in a row below 500 and,
// where the answer names a color, with that of files.
func (n *Nginx) confirm(ctx context.Context, files Files) (int, error) {
	if n.cfg.URL == "" {
		return 0, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, n.cfg.ConfirmTimeout, fmt.Errorf("not within %s", n.cfg.ConfirmTimeout))
	defer cancel()
	passed, last := 0, errors.New("no answer yet")
	err := poll(ctx, 5*time.Millisecond, 100*time.Millisecond, func() (bool, error) {
		for passed < answersInRow {
			if _, err := n.probe(ctx, files.Color); err != nil {
				passed = 0
				if ctx.Err() == nil {
					last = err
				}
				return false, nil
			}
			passed++
		}
		return true, nil
	})
	if err != nil {
		return 0, fmt.Errorf("%w: %w; last: %w", ErrUnconfirmed, err, last)
	}
	return passed, nil
}

// serves returns answersInRow when so many answers name the color of files, and
// 0 when one of them does not, or nothing can be asked.
func (n *Nginx) serves(ctx context.Context, files Files) int {
	if n.cfg.URL == "" || files.Color == color.None {
		return 0
	}
	for range answersInRow {
		if named, err := n.probe(ctx, files.Color); err != nil || !named {
			return 0
		}
	}
	return answersInRow
}

// probe asks nginx once, on a new connection: an open one may belong to an old
// worker. It returns whether the answer names a color, and an error when the
// answer is 500 or above or names another one.
func (n *Nginx) probe(ctx context.Context, want color.Color) (named bool, err error) {
	url := strings.TrimRight(n.cfg.URL, "/") + "/" + strings.TrimLeft(n.cfg.ProbePath, "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, fmt.Errorf("probe %s: %w", url, err)
	}
	req.Host = n.cfg.ProbeHost
	req.Header.Set("User-Agent", "bg-probe")
	transport := &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return false, err
	}
	_, errBody := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	if err := errors.Join(errBody, resp.Body.Close()); err != nil {
		return false, fmt.Errorf("read the answer of %s: %w", url, err)
	}
	got := resp.Header.Get(n.cfg.ProbeHeader)
	switch {
	case resp.StatusCode >= 500:
		return false, fmt.Errorf("%s answers %s", url, resp.Status)
	case got != "" && want != color.None && got != string(want):
		return true, fmt.Errorf("%s answers with %s, not %s", url, got, want)
	}
	return got != "", nil
}
