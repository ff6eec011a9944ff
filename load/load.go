// Package load sends requests to a service and counts every one that fails. It
// is what bg's proof rests on, so it hides nothing: unlike net/http's client it
// never sends a request a second time, and what a client would see as an error
// is counted as one.
package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// requestTimeout is how long a client waits for one answer.
const requestTimeout = 30 * time.Second

// maxSamples is how many different errors a Result names.
const maxSamples = 5

// Clients are clients that do the same, each with a connection of its own.
type Clients struct {
	Name      string
	Number    int    // how many at a time
	Method    string // default GET
	Path      string // with its query
	Body      string // sent with its length, as JSON
	Header    string // one more line of the request's head, such as "Cookie: a=b"; not of a stream's
	KeepAlive bool   // one connection for many requests
	Pause     time.Duration
	Label     string // the response header whose values are counted
	Kind      Kind
	// Life is how long the client of a stream stays before it leaves and comes
	// anew; 0 is as long as the server lets it.
	Life time.Duration
}

// Kind is what clients do.
type Kind int

// The kinds of clients.
const (
	Requests  Kind = 0 // one request after the other
	Uploads   Kind = 1 // requests whose body comes in chunks, with pauses
	Events    Kind = 2 // streams of server-sent events
	WebSocket Kind = 3 // each message has to come back; sessions have to outlive connections
)

// Result is what happened to the requests of some Clients.
type Result struct {
	Name    string         `json:"name"`
	Sent    int            `json:"sent"` // requests; a stream is one
	Failed  int            `json:"failed"`
	Errors  []string       `json:"errors,omitempty"`  // a few different ones
	Reasons map[string]int `json:"reasons,omitempty"` // how often each of these; "others" is what is not named
	Events  int            `json:"events,omitempty"`  // that streams brought
	Labels  map[string]int `json:"labels,omitempty"`
	Slowest time.Duration  `json:"slowest"`
}

// Load is a load that goes on until Stop.
type Load struct {
	cancel context.CancelFunc
	wait   sync.WaitGroup

	mu      sync.Mutex
	results []*Result
}

// Start begins to send requests to base, such as http://127.0.0.1:8000.
func Start(ctx context.Context, base string, clients ...Clients) (*Load, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), "80")
	}
	ctx, cancel := context.WithCancel(ctx)
	l := &Load{cancel: cancel}
	for _, c := range clients {
		result := &Result{Name: c.Name, Labels: map[string]int{}, Reasons: map[string]int{}}
		l.results = append(l.results, result)
		for range c.Number {
			l.wait.Go(func() {
				if c.Kind == Events || c.Kind == WebSocket {
					l.streams(ctx, c, address, u.Host, result)
				} else {
					l.client(ctx, c, address, u.Host, result)
				}
			})
		}
	}
	return l, nil
}

// Results returns the counts so far.
func (l *Load) Results() []Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]Result, 0, len(l.results))
	for _, r := range l.results {
		copied := *r
		copied.Labels, copied.Errors, copied.Reasons = maps.Clone(r.Labels), slices.Clone(r.Errors), maps.Clone(r.Reasons)
		list = append(list, copied)
	}
	return list
}

// Stop lets the requests that were sent get their answers, ends the load, and
// returns the counts.
func (l *Load) Stop() []Result {
	l.cancel()
	l.wait.Wait()
	return l.Results()
}

// failedPause is how long a client waits after a failure, at least: thousands of
// refused connections a second take the machine's ports away from everything else.
const failedPause = 20 * time.Millisecond

// client sends one request after the other.
func (l *Load) client(ctx context.Context, c Clients, address, host string, result *Result) {
	request := c.bytes(host)
	var conn *connection
	for ctx.Err() == nil {
		started := time.Now()
		answer, err := "", error(nil)
		if conn == nil {
			// A request that was begun is carried to its end.
			conn, err = dial(context.WithoutCancel(ctx), address)
		}
		if err == nil {
			answer, err = conn.exchange(c, request)
		}
		l.count(result, answer, err, time.Since(started))
		if conn != nil && (err != nil || conn.done) {
			conn.Close()
			conn = nil
		}
		switch {
		case err != nil:
			pause(ctx, max(c.Pause, failedPause))
		case c.Pause > 0:
			pause(ctx, c.Pause)
		}
	}
	if conn != nil {
		conn.Close()
	}
}

// bytes returns the request as it goes over the wire, without a body that comes
// in chunks.
func (c Clients) bytes(host string) []byte {
	var b strings.Builder
	method := c.Method
	if method == "" {
		method = http.MethodGet
	}
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bg-load\r\n", method, c.Path, host)
	if !c.KeepAlive {
		b.WriteString("Connection: close\r\n")
	}
	if c.Header != "" {
		b.WriteString(c.Header + "\r\n")
	}
	if c.Kind == Uploads {
		b.WriteString("Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
		return []byte(b.String())
	}
	if c.Body != "" {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(c.Body))
	}
	b.WriteString("\r\n" + c.Body)
	return []byte(b.String())
}

// count records one request.
func (l *Load) count(r *Result, label string, err error, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Sent++
	r.Slowest = max(r.Slowest, took)
	if label != "" {
		r.Labels[label]++
	}
	if err == nil {
		return
	}
	r.Failed++
	text := err.Error()
	if !slices.Contains(r.Errors, text) {
		if len(r.Errors) == maxSamples {
			text = "others"
		} else {
			r.Errors = append(r.Errors, text)
		}
	}
	r.Reasons[text]++
}

// connection is one TCP connection to the service.
type connection struct {
	net.Conn
	reader *bufio.Reader
	done   bool // the server said that it closes it
}

func dial(ctx context.Context, address string) (*connection, error) {
	c, err := (&net.Dialer{Timeout: requestTimeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &connection{Conn: c, reader: bufio.NewReader(c)}, nil
}

// exchange sends one request and reads the whole answer. It returns the value
// of the header that is counted, and an error for everything that is not a
// complete answer with a status below 400.
func (c *connection) exchange(clients Clients, request []byte) (string, error) {
	if err := c.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
		return "", err
	}
	if _, err := c.Write(request); err != nil {
		return "", plain("send", err)
	}
	if clients.Kind == Uploads {
		if err := c.upload(clients.Body); err != nil {
			return "", err
		}
	}
	answer, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return "", plain("read answer", err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return "", plain("read body", err)
	}
	c.done = answer.Close || !clients.KeepAlive
	label := answer.Header.Get(clients.Label)
	if answer.StatusCode >= http.StatusBadRequest {
		return label, fmt.Errorf("answer %s", answer.Status)
	}
	return label, nil
}

// plain drops the addresses from a network error, so that errors can be
// compared.
func plain(verb string, err error) error {
	if op, ok := err.(*net.OpError); ok { //nolint:errorlint // the outermost one carries the addresses
		err = op.Err
	}
	return fmt.Errorf("%s: %w", verb, err)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
