package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// until polls the counts: a load tells nobody how far it is.
func until(t *testing.T, l *Load, enough func(Result) bool) Result {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if r := l.Results()[0]; enough(r) {
			return r
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("counted so far: %+v", l.Results())
		}
	}
}

// sent says that n requests have been answered, well or not.
func sent(n int) func(Result) bool { return func(r Result) bool { return r.Sent >= n } }

// run sends at least 20 requests to base and returns what happened to them.
func run(t *testing.T, base string, c Clients) Result {
	t.Helper()
	c.Number = max(c.Number, 1)
	l, err := Start(t.Context(), base, c)
	if err != nil {
		t.Fatal(err)
	}
	until(t, l, sent(20))
	return l.Stop()[0]
}

// speak serves each connection with a function that may break every rule of
// HTTP.
func speak(t *testing.T, serve func(net.Conn, *bufio.Reader)) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed at the end of the test
			}
			go func() {
				defer conn.Close()
				serve(conn, bufio.NewReader(conn))
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// request reads one request without a body, and reports whether there was one.
func request(r *bufio.Reader) bool {
	_, err := http.ReadRequest(r)
	return err == nil
}

const good = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Color: blue\r\n\r\nok"

func TestEveryRequestIsCountedAndNoneFailsAtAGoodService(t *testing.T) {
	for _, keepAlive := range []bool{true, false} {
		t.Run(fmt.Sprintf("keep-alive %t", keepAlive), func(t *testing.T) {
			var served, connections atomic.Int32
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				served.Add(1)
				if r.Method != http.MethodGet || r.URL.String() != "/api/v1/books?a=b" || r.Close == keepAlive {
					http.Error(w, "not what was asked for", http.StatusBadRequest)
					return
				}
				w.Header().Set("X-Color", "blue")
				fmt.Fprint(w, "ok")
			}))
			server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					connections.Add(1)
				}
			}
			server.Start()
			t.Cleanup(server.Close)
			r := run(t, server.URL, Clients{Name: "good", Number: 2, Path: "/api/v1/books?a=b", KeepAlive: keepAlive, Label: "X-Color"})
			if r.Name != "good" || r.Failed != 0 || r.Sent != int(served.Load()) || r.Labels["blue"] != r.Sent {
				t.Errorf("served %d: %+v", served.Load(), r)
			}
			want := r.Sent
			if keepAlive {
				want = 2
			}
			if int(connections.Load()) != want {
				t.Errorf("%d connections instead of %d", connections.Load(), want)
			}
		})
	}
}

func TestWhatAClientWouldSeeAsAnErrorIsCountedAsOne(t *testing.T) {
	tests := []struct {
		name  string
		serve func(net.Conn, *bufio.Reader)
		says  string
	}{
		{"a 500", func(c net.Conn, r *bufio.Reader) {
			for request(r) {
				fmt.Fprint(c, "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
			}
		}, "answer 500 Internal Server Error"},
		{"a 404", func(c net.Conn, r *bufio.Reader) {
			for request(r) {
				fmt.Fprint(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
			}
		}, "answer 404 Not Found"},
		{"a connection that is reset", func(c net.Conn, r *bufio.Reader) {
			request(r)
			_ = c.(*net.TCPConn).SetLinger(0) // what is then closed is reset
		}, "read answer: "},
		{"a connection that ends without an answer", func(_ net.Conn, r *bufio.Reader) { request(r) }, "read answer: unexpected EOF"},
		{"a body that is cut off", func(c net.Conn, r *bufio.Reader) {
			request(r)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok")
		}, "read body: unexpected EOF"},
		{"a chunk that is cut off", func(c net.Conn, r *bufio.Reader) {
			request(r)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
		}, "read body: unexpected EOF"},
		{"an answer that is no HTTP", func(c net.Conn, r *bufio.Reader) {
			request(r)
			fmt.Fprint(c, "SSH-2.0-OpenSSH\r\n\r\n")
		}, "read answer: malformed HTTP"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := run(t, speak(t, tt.serve), Clients{Path: "/", KeepAlive: true})
			if r.Failed != r.Sent || len(r.Errors) == 0 || !strings.HasPrefix(r.Errors[0], tt.says) {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestAServerThatNobodyListensAtFailsEveryRequest(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r := run(t, "http://"+l.Addr().String(), Clients{Path: "/"})
	if r.Failed != r.Sent || len(r.Errors) == 0 || !strings.Contains(r.Errors[0], "refused") {
		t.Errorf("%+v", r)
	}
}

func TestAConnectionThatTheServerClosesPolitelyIsNoFailure(t *testing.T) {
	base := speak(t, func(c net.Conn, r *bufio.Reader) {
		for n := 1; request(r); n++ {
			if n == 3 {
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
				return
			}
			fmt.Fprint(c, good)
		}
	})
	if r := run(t, base, Clients{Path: "/", KeepAlive: true}); r.Failed != 0 {
		t.Errorf("%+v", r)
	}
}

func TestAKeptConnectionThatTheServerJustClosesIsAFailure(t *testing.T) {
	base := speak(t, func(c net.Conn, r *bufio.Reader) {
		for range 2 {
			request(r)
			fmt.Fprint(c, good)
		}
	})
	r := run(t, base, Clients{Path: "/", KeepAlive: true})
	// Each third request goes to a connection that is closed, and is not sent again.
	if r.Failed < r.Sent/4 || r.Failed > r.Sent/3+1 {
		t.Errorf("%+v", r)
	}
}

func TestAFailureAmongGoodAnswersIsCounted(t *testing.T) {
	var served atomic.Int32
	base := speak(t, func(c net.Conn, r *bufio.Reader) {
		for request(r) {
			if served.Add(1) == 7 {
				fmt.Fprint(c, "HTTP/1.1 502 Bad Gateway\r\nX-Color: green\r\nContent-Length: 0\r\n\r\n")
				continue
			}
			fmt.Fprint(c, good)
		}
	})
	r := run(t, base, Clients{Path: "/", KeepAlive: true, Label: "X-Color"})
	if r.Failed != 1 || len(r.Errors) != 1 || r.Errors[0] != "answer 502 Bad Gateway" || r.Labels["green"] != 1 || r.Labels["blue"] != r.Sent-1 {
		t.Errorf("%+v", r)
	}
}

func TestASlowAnswerIsWaitedForAlsoAtTheEnd(t *testing.T) {
	const slow = 300 * time.Millisecond
	asked, answer := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-answer
	}))
	t.Cleanup(server.Close)
	l, err := Start(t.Context(), server.URL, Clients{Number: 1, Path: "/slow"})
	if err != nil {
		t.Fatal(err)
	}
	<-asked
	stopped := make(chan []Result, 1)
	go func() { stopped <- l.Stop() }()
	select {
	case r := <-stopped:
		t.Fatalf("it did not wait: %+v", r)
	case <-time.After(slow):
		close(answer)
	}
	if r := (<-stopped)[0]; r.Sent != 1 || r.Failed != 0 || r.Slowest < slow {
		t.Errorf("%+v", r)
	}
}

func TestPostsArriveWhole(t *testing.T) {
	const body = `{"title":"The DevOps 2.0 Toolkit"}`
	for _, keepAlive := range []bool{true, false} {
		t.Run(fmt.Sprintf("keep-alive %t", keepAlive), func(t *testing.T) {
			var served atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got, err := io.ReadAll(r.Body)
				if err != nil || string(got) != body || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("X-More") != "yes" {
					http.Error(w, "not what was sent", http.StatusBadRequest)
					return
				}
				served.Add(1)
				w.WriteHeader(http.StatusCreated)
			}))
			t.Cleanup(server.Close)
			r := run(t, server.URL, Clients{Method: http.MethodPost, Path: "/api/v1/books", Body: body, Header: "X-More: yes", KeepAlive: keepAlive})
			if r.Failed != 0 || int(served.Load()) != r.Sent {
				t.Errorf("served %d: %+v", served.Load(), r)
			}
		})
	}
}

func TestOnlyAFewDifferentErrorsAreNamed(t *testing.T) {
	var served atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(500 + int(served.Add(1))%10)
	}))
	t.Cleanup(server.Close)
	r := run(t, server.URL, Clients{Path: "/"})
	if r.Failed != r.Sent || len(r.Errors) != maxSamples {
		t.Errorf("%+v", r)
	}
}

func TestKindsOfRequestsAreCountedApart(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	l, err := Start(t.Context(), server.URL, Clients{Name: "good", Number: 1, Path: "/"}, Clients{Name: "bad", Number: 1, Path: "/bad"})
	if err != nil {
		t.Fatal(err)
	}
	until(t, l, func(Result) bool { r := l.Results(); return r[0].Sent > 0 && r[1].Sent > 0 })
	r := l.Stop()
	if r[0].Name != "good" || r[0].Failed != 0 || r[1].Name != "bad" || r[1].Failed != r[1].Sent {
		t.Errorf("%+v", r)
	}
}

func TestCountsThatWereHandedOutDoNotChange(t *testing.T) {
	base := speak(t, func(c net.Conn, r *bufio.Reader) {
		for request(r) {
			fmt.Fprint(c, good)
		}
	})
	l, err := Start(t.Context(), base, Clients{Number: 1, Path: "/", KeepAlive: true, Label: "X-Color"})
	if err != nil {
		t.Fatal(err)
	}
	early := until(t, l, sent(1))
	until(t, l, sent(early.Sent+100))
	if early.Labels["blue"] != early.Sent {
		t.Errorf("%+v", early)
	}
	l.Stop()
}

func TestAPauseSlowsAClientAndDoesNotHoldUpTheEnd(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	l, err := Start(t.Context(), server.URL, Clients{Number: 1, Path: "/", Pause: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	until(t, l, sent(1))
	if r := l.Stop()[0]; r.Sent != 1 {
		t.Errorf("%+v", r)
	}
}

func TestALoadEndsWithItsContext(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(t.Context())
	l, err := Start(ctx, server.URL, Clients{Number: 1, Path: "/"})
	if err != nil {
		t.Fatal(err)
	}
	until(t, l, sent(1))
	cancel()
	if r := l.Stop()[0]; r.Failed != 0 {
		t.Errorf("%+v", r)
	}
}

func TestAnAddressThatIsNoneIsRefused(t *testing.T) {
	if _, err := Start(t.Context(), "http://local host:x"); err == nil {
		t.Error("it began")
	}
}
