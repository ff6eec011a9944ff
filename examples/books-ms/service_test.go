package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestEachRouteAnswers(t *testing.T) {
	s := start(t, config{Version: "1.2", Color: "green"})
	tests := []struct {
		name, method, path, body string
		status                   int
		answer                   string
	}{
		{"ping", "GET", "/ping", "", 200, "pong\n"},
		{"an empty list", "GET", "/api/v1/books", "", 200, "[]\n"},
		{"a first book", "POST", "/api/v1/books", `{"title":"One"}`, 201, `{"id":1,"title":"One"}` + "\n"},
		{"a second book", "POST", "/api/v1/books", `{"title":"Two","author":"A"}`, 201, `{"id":2,"title":"Two","author":"A"}` + "\n"},
		{"a book", "GET", "/api/v1/books/1", "", 200, `{"id":1,"title":"One"}` + "\n"},
		{"the newest first", "GET", "/api/v1/books", "", 200, `[{"id":2,"title":"Two","author":"A"},{"id":1,"title":"One"}]` + "\n"},
		{"a limit", "GET", "/api/v1/books?limit=1", "", 200, `[{"id":2,"title":"Two","author":"A"}]` + "\n"},
		{"a limit too high", "GET", "/api/v1/books?limit=101", "", 400, ""},
		{"no such book", "GET", "/api/v1/books/99", "", 404, ""},
		{"no number", "GET", "/api/v1/books/x", "", 400, ""},
		{"no JSON", "POST", "/api/v1/books", `{`, 400, ""},
		{"no title", "POST", "/api/v1/books", `{}`, 400, ""},
		{"too long", "POST", "/api/v1/books", `{"title":"` + strings.Repeat("x", maxBody) + `"}`, 400, ""},
		{"slow", "GET", "/api/v1/slow?ms=20", "", 200, "20\n"},
		{"too slow", "GET", "/api/v1/slow?ms=60001", "", 400, ""},
		{"no such path", "GET", "/nothing", "", 404, ""},
		{"a wrong method", "DELETE", "/api/v1/books", "", 405, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := request(t, test.method, s.url()+test.path, test.body)
			if got.status != test.status {
				t.Errorf("status %d instead of %d: %s", got.status, test.status, got.body)
			}
			if test.answer != "" && got.body != test.answer {
				t.Errorf("answer %q instead of %q", got.body, test.answer)
			}
			if v, c := got.header.Get("X-Version"), got.header.Get("X-Color"); v != "1.2" || c != "green" {
				t.Errorf("version %q and color %q", v, c)
			}
		})
	}
}

func TestTheIntegrationTestsPassOnAServiceThatWorks(t *testing.T) {
	s := start(t, config{})
	if err := integrate(t.Context(), s.url(), io.Discard); err != nil {
		t.Error(err)
	}
}

func TestTheIntegrationTestsFailOnAServiceThatDoesNot(t *testing.T) {
	s := start(t, config{FailAfter: time.Nanosecond})
	if err := integrate(t.Context(), s.url(), io.Discard); err == nil {
		t.Error("no error")
	}
	if err := integrate(t.Context(), "", io.Discard); err == nil {
		t.Error("no error without a DOMAIN")
	}
}

func TestFailAfterSwitchFailsOnlyThroughAProxy(t *testing.T) {
	s := start(t, config{FailAfterSwitch: true})
	if got := request(t, http.MethodGet, s.url()+"/ping", ""); got.status != http.StatusOK {
		t.Errorf("directly: %d", got.status)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url()+"/ping", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", "10.0.0.1")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("through a proxy: %s", resp.Status)
	}
}

func TestTheHealthCheckTellsWhetherItIsHealthy(t *testing.T) {
	for name, test := range map[string]struct {
		cfg     config
		healthy bool
	}{
		"healthy":     {config{}, true},
		"FAIL_HEALTH": {config{FailHealth: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, port, err := net.SplitHostPort(start(t, test.cfg).address)
			if err != nil {
				t.Fatal(err)
			}
			if err := checkHealth(t.Context(), port); (err == nil) != test.healthy {
				t.Errorf("check: %v", err)
			}
		})
	}
}

func TestAStopFinishesRequestsAndClosesStreams(t *testing.T) {
	s := start(t, config{})
	conn, _, err := websocket.Dial(t.Context(), s.url()+"/api/v1/echo", nil) //nolint:bodyclose // Dial: "You never need to close resp.Body yourself."
	if err != nil {
		t.Fatal(err)
	}
	defer drop(conn)
	events := open(t, s.url()+"/api/v1/events")
	defer events.Body.Close()
	lines := bufio.NewReader(events.Body)
	if line, err := lines.ReadString('\n'); err != nil || line != "id: 1\n" {
		t.Fatalf("first event: %q, %v", line, err)
	}
	finish := post(t, s.address)

	s.stop()
	if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the WebSocket ended with %v", err)
	}
	if _, err := io.ReadAll(lines); err != nil {
		t.Errorf("the events ended with %v", err)
	}
	if status, err := finish(); err != nil || status != 201 {
		t.Errorf("the request in flight: %d, %v", status, err)
	}
	if err := s.end(t); err != nil {
		t.Errorf("the service ended with %v", err)
	}
}

func TestAStopGivesUpAfterItsGrace(t *testing.T) {
	s := start(t, config{StopGrace: time.Millisecond})
	post(t, s.address)
	s.stop()
	if err := s.end(t); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the service ended with %v", err)
	}
}

func TestACrashHasItsExitCode(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want int
	}{
		"at the start": {serve(t.Context(), config{CrashAtStart: true, ExitCode: 3}, nil), 3},
		"later":        {start(t, config{CrashAfter: time.Millisecond, ExitCode: 4}).end(t), 4},
		"not":          {nil, 0},
		"by itself":    {os.ErrInvalid, 1},
	} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("%s: %v has the exit code %d instead of %d", name, test.err, got, test.want)
		}
	}
}

// answer is one that was read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// request sends one request and returns its answer.
func request(t *testing.T, method, url, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(read)}
}

func open(t *testing.T, url string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// post begins to post a book and returns, once the service waits for its body,
// a function that sends that and returns the answer's status.
func post(t *testing.T, address string) func() (int, error) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	const body = `{"title":"In flight"}`
	if _, err := fmt.Fprintf(conn, "POST /api/v1/books HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(body)); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(conn)
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusContinue {
		t.Fatalf("no 100 Continue: %s", resp.Status)
	}
	return func() (int, error) {
		if _, err := io.WriteString(conn, body); err != nil {
			return 0, err
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		return resp.StatusCode, nil
	}
}

func TestASessionOutlivesItsConnection(t *testing.T) {
	s := start(t, config{})
	for n, want := range []string{"", "message 0", "message 1"} {
		conn, _, err := websocket.Dial(t.Context(), s.url()+"/api/v1/echo?session=ann", nil) //nolint:bodyclose // Dial: "You never need to close resp.Body yourself."
		if err != nil {
			t.Fatal(err)
		}
		if _, last, err := conn.Read(t.Context()); err != nil || string(last) != want {
			t.Errorf("it greets with %q instead of %q, %v", last, want, err)
		}
		message := fmt.Sprintf("message %d", n)
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
		if _, back, err := conn.Read(t.Context()); err != nil || string(back) != message {
			t.Errorf("%q came back, %v", back, err)
		}
		drop(conn)
	}
}
