package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"bg/hint"
	"bg/integration"
)

// probeTimeout is how long one readiness request may take.
const probeTimeout = 5 * time.Second

// notReadyPause is the least time between two questions while a service is not
// ready: each may cost it a line in its log.
const notReadyPause = 100 * time.Millisecond

// ready waits until every instance answers the readiness path several times in
// a row: one good answer may come from a process that is about to fail.
func (r *run) ready(ctx context.Context, step Step) error {
	if r.Settings.Health.Path == "" {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, address := range r.addresses {
		g.Go(func() error { return r.readyAt(ctx, step, "http://"+address+r.Settings.Health.Path) })
	}
	return g.Wait()
}

// readyAt waits for one instance.
func (r *run) readyAt(ctx context.Context, step Step, url string) error {
	lastErr := errors.New("no answer yet")
	for passes := 0; ; {
		err := askReady(ctx, url)
		wait := r.Settings.Health.Interval
		switch {
		case err == nil:
			if passes++; passes >= r.passes() {
				return nil
			}
		case ctx.Err() == nil && err.Error() != lastErr.Error():
			lastErr = err
			r.waiting(step, err.Error())
			fallthrough
		default:
			passes, wait = 0, max(wait, notReadyPause)
		}
		// There is no event to wait for: a service does not say when it is ready.
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return hint.Default(fmt.Errorf("%w: %w", context.Cause(ctx), lastErr), "is health.path in bg.yml right, and does the service answer there?")
		}
	}
}

// askReady asks url once; any status from 200 to 399 is ready.
func askReady(ctx context.Context, url string) error {
	ctx, done := context.WithTimeout(ctx, probeTimeout)
	defer done()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := readiness.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("GET %s: %w", url, err)
	}
	if answer.StatusCode < 200 || answer.StatusCode > 399 {
		return &integration.AnswerError{URL: url, Status: answer.Status, Want: "200 to 399", Body: integration.Excerpt(string(body))}
	}
	return nil
}

// readiness opens a connection for each request, as a new client would, and
// follows no redirect: the answer of another host proves nothing.
var readiness = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// passes returns how many good answers in a row make an instance ready. One that
// is warm has been ready all along.
func (r *run) passes() int {
	if r.plan.Warm {
		return 1
	}
	return r.Settings.Health.Passes
}
