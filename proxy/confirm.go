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
			if _, err := n.probe(ctx, files); err != nil {
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
		if named, err := n.probe(ctx, files); err != nil || !named {
			return 0
		}
	}
	return answersInRow
}

// probe asks nginx once, and where files have a preview once more for that. It
// returns whether the answer names a color. Who reaches a color that is held is
// told by nothing else, so that an answer without a name is an error there.
func (n *Nginx) probe(ctx context.Context, files Files) (named bool, err error) {
	named, err = n.probeAs(ctx, files.Color, color.None)
	if err != nil || files.Preview == color.None {
		return named, err
	}
	shown, err := n.probeAs(ctx, files.Preview, files.Preview)
	if err == nil && (!named || !shown) {
		err = fmt.Errorf("no %s in the answer, so that it cannot be seen who reaches %s", n.cfg.ProbeHeader, files.Preview)
	}
	return named, err
}

// probeAs asks nginx once, for a preview or, with None, as all clients do. It
// returns whether the answer names a color, and an error when the answer is 500 or
// above or names another one.
func (n *Nginx) probeAs(ctx context.Context, want, preview color.Color) (named bool, err error) {
	url, status, got, err := n.ask(ctx, preview)
	switch {
	case err != nil:
		return false, err
	case status >= http.StatusInternalServerError:
		return false, fmt.Errorf("%s answers %d", url, status)
	case got != "" && want != color.None && got != string(want):
		return true, fmt.Errorf("%s answers with %s, not %s", url, got, want)
	}
	return got != "", nil
}

// ask asks nginx once, on a new connection: an open one may belong to an old
// worker. It returns the status and the color that the answer names.
func (n *Nginx) ask(ctx context.Context, preview color.Color) (url string, status int, named string, err error) {
	url = strings.TrimRight(n.cfg.URL, "/") + "/" + strings.TrimLeft(n.cfg.ProbePath, "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return url, 0, "", fmt.Errorf("probe %s: %w", url, err)
	}
	req.Host = n.cfg.ProbeHost
	req.Header.Set("User-Agent", "bg-probe")
	if preview != color.None {
		req.Header.Set(PreviewName, string(preview))
	}
	transport := &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return url, 0, "", err
	}
	_, errBody := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	if err := errors.Join(errBody, resp.Body.Close()); err != nil {
		return url, 0, "", fmt.Errorf("read the answer of %s: %w", url, err)
	}
	return url, resp.StatusCode, resp.Header.Get(n.cfg.ProbeHeader), nil
}

// answerTimeout is how long a look at nginx waits for an answer through it.
const answerTimeout = 2 * time.Second

// Answer is what nginx says to a client.
type Answer struct {
	URL    string // "" when there is none to ask
	Status int    // 0 without an answer
	Color  string // that the answer names, "" when it names none
}

// String says it for a person.
func (a Answer) String() string {
	switch {
	case a.URL == "":
		return "it is not known where to ask it (proxy.url)"
	case a.Status == 0:
		return "no answer at " + a.URL
	case a.Color == "":
		return fmt.Sprintf("%s answers %d, without a color", a.URL, a.Status)
	}
	return fmt.Sprintf("%s answers %d, with %s", a.URL, a.Status, a.Color)
}

// Answer asks nginx once what a client gets.
func (n *Nginx) Answer(ctx context.Context) Answer {
	if n.cfg.URL == "" {
		return Answer{}
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	url, status, named, err := n.ask(ctx, color.None)
	if err != nil {
		return Answer{URL: url}
	}
	return Answer{URL: url, Status: status, Color: named}
}
