// Package probe asks a service through its proxy all the while a deployment
// runs, as one more client, and reports what a client saw: answers, failures,
// which color answered, and how fast, step by step.
//
// It only looks. What it meets is a fact for the report and never an error of
// the deployment.
package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"bg/color"
)

const (
	// timeout is how long an answer may take before the request counts as failed.
	timeout = 5 * time.Second
	// patience is how long End waits for answers that are on their way.
	patience = time.Second
	// maxBody is how much of an answer is read.
	maxBody = 1 << 20
)

// Config says what is asked, and how often.
type Config struct {
	URL    string // base URL through the proxy; "" asks nothing
	Path   string
	Header string // the response header that names the color
	Rate   int    // requests a second; 0 asks nothing
}

// Watch asks a service until it is ended. A nil Watch asks nothing and reports
// nothing.
type Watch struct {
	cfg      Config
	client   http.RoundTripper
	stop     context.CancelFunc
	sending  sync.WaitGroup
	inFlight sync.WaitGroup

	mu     sync.Mutex
	over   bool // what comes now was waited for long enough
	open   int  // requests without an answer yet
	report recorder
}

// Start begins to ask. Times of the report are relative to since, the start of
// the deployment. It returns nil when cfg asks for nothing. The watch goes on
// when ctx is cancelled: the undo that follows is worth watching.
func Start(ctx context.Context, cfg Config, since time.Time) *Watch {
	if cfg.URL == "" || cfg.Rate < 1 {
		return nil
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	w := &Watch{
		cfg: cfg, stop: stop, report: newRecorder(cfg, since),
		// Each request has a connection of its own: it sees what a new client
		// sees, and keeps no worker of nginx from ending.
		client: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment},
	}
	w.sending.Go(func() { w.send(ctx) })
	return w
}

// send sends requests at the rate that was asked for, whether or not the
// earlier ones were answered.
func (w *Watch) send(ctx context.Context) {
	tick := time.NewTicker(time.Second / time.Duration(w.cfg.Rate))
	defer tick.Stop()
	for {
		w.inFlight.Go(func() { w.one(context.WithoutCancel(ctx)) })
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// one sends one request and records what came of it.
func (w *Watch) one(ctx context.Context) {
	w.mu.Lock()
	s := sample{sent: time.Now(), step: w.report.step}
	w.open++
	w.mu.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %s", timeout))
	defer cancel()
	s.color, s.status, s.err = w.ask(ctx)
	s.took = time.Since(s.sent)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open--
	if !w.over {
		w.report.add(s)
	}
}

// ask makes one request. Its error is what a client would call a failure: no
// whole answer, or one of 500 and above.
func (w *Watch) ask(ctx context.Context) (c color.Color, status int, err error) {
	url := strings.TrimRight(w.cfg.URL, "/") + "/" + strings.TrimLeft(w.cfg.Path, "/")
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return color.None, 0, err
	}
	request.Header.Set("User-Agent", "bg-probe")
	answer, err := w.client.RoundTrip(request)
	if err != nil {
		return color.None, 0, caused(ctx, err)
	}
	_, errBody := io.Copy(io.Discard, io.LimitReader(answer.Body, maxBody))
	if err := errors.Join(errBody, answer.Body.Close()); err != nil {
		return color.None, answer.StatusCode, caused(ctx, err)
	}
	if answer.StatusCode >= http.StatusInternalServerError {
		err = errors.New(answer.Status)
	}
	switch c = color.Color(answer.Header.Get(w.cfg.Header)); c {
	case color.Blue, color.Green:
	default:
		c = color.None // the service does not name its color
	}
	return c, answer.StatusCode, err
}

// caused returns why ctx ended when it did, else err.
func caused(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Step says which step of the deployment the requests from now on belong to.
func (w *Watch) Step(name string) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report.step = name
}

// Switched says that the proxy was told at that moment to send to another
// color. A later switch, such as that of an undo, takes the place of an earlier
// one.
func (w *Watch) Switched(at time.Time, from, to color.Color) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report.turn(at, from, to)
}

// End ends the asking and returns the report, nil when nothing was asked. It
// waits a moment for the answers that are on their way; a request that has none
// by then has failed.
func (w *Watch) End() *Report {
	if w == nil {
		return nil
	}
	w.stop()
	w.sending.Wait()
	answered := make(chan struct{})
	go func() { w.inFlight.Wait(); close(answered) }()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-answered:
	case <-timer.C:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for range w.open {
		w.report.add(sample{sent: time.Now(), step: w.report.step, err: errors.New("no answer by the end of the deployment")})
	}
	w.over, w.open = true, 0
	report := w.report.result()
	return &report
}
