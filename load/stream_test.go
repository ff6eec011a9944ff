package load

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// answering serves what a handler says, and what streams need of it.
func answering(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.CloseClientConnections)
	return server.URL
}

func TestAnUploadArrivesWholeAndInChunks(t *testing.T) {
	body := strings.Repeat("a book;", 100)
	url := answering(t, func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil || string(got) != body || len(r.TransferEncoding) != 1 || r.ContentLength != -1 {
			http.Error(w, "not what was sent", http.StatusBadRequest)
		}
	})
	r := run(t, url, Clients{Method: http.MethodPost, Path: "/", Body: body, KeepAlive: true, Kind: Uploads})
	if r.Failed > 0 {
		t.Errorf("%+v", r)
	}
}

func TestAStreamOfEventsThatEndsWholeIsNoFailureAndOneThatIsCutIsOne(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nX-Color: blue\r\nTransfer-Encoding: chunked\r\n\r\n"
	const event = "9\r\ndata: 1\n\n\r\n"
	for name, test := range map[string]struct {
		answer string
		reason string
	}{
		"whole":         {head + event + event + "0\r\n\r\n", ""},
		"cut":           {head + event + event, "the stream was cut"},
		"cut in a word": {head + event + "9\r\ndat", "the stream was cut"},
		"refused":       {"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "answer 502"},
	} {
		t.Run(name, func(t *testing.T) {
			url := speak(t, func(conn net.Conn, r *bufio.Reader) {
				if request(r) {
					_, _ = io.WriteString(conn, test.answer)
				}
			})
			l, err := Start(t.Context(), url, Clients{Number: 1, Path: "/", Kind: Events, Label: "X-Color"})
			if err != nil {
				t.Fatal(err)
			}
			r := until(t, l, sent(2))
			l.Stop()
			if failed := r.Failed > 0; failed != (test.reason != "") || failed && !strings.Contains(r.Errors[0], test.reason) {
				t.Errorf("%+v", r)
			}
			if test.reason == "" && (r.Events < 2*r.Sent || r.Labels["blue"] != r.Sent) {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestAClientLeavesItsStreamWhenItsTimeIsOver(t *testing.T) {
	url := answering(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush() // the client may be gone
		<-r.Context().Done()
	})
	l, err := Start(t.Context(), url, Clients{Number: 1, Path: "/", Kind: Events, Life: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	until(t, l, sent(3))
	if r := l.Stop()[0]; r.Failed > 0 || r.Events == 0 {
		t.Errorf("%+v", r)
	}
}

// echoing is a server of WebSockets that keeps sessions as told.
type echoing struct {
	mu     sync.Mutex
	kept   map[string]string
	forget bool // it loses every session
	garble bool // it sends back something else
	cut    bool // it cuts each connection after a message
	leave  bool // it says that it goes away after a message
}

func (e *echoing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }() // it may be closed
	name := r.FormValue("session")
	e.mu.Lock()
	last := e.kept[name]
	e.mu.Unlock()
	if conn.Write(r.Context(), websocket.MessageText, []byte(last)) != nil {
		return
	}
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		e.mu.Lock()
		if e.kept[name] = string(message); e.forget {
			e.kept[name] = "something else"
		}
		e.mu.Unlock()
		if e.garble {
			message = append(message, '!')
		}
		if conn.Write(r.Context(), kind, message) != nil || e.cut {
			return
		}
		if e.leave {
			_ = conn.Close(websocket.StatusGoingAway, "") // the client may be faster
			return
		}
	}
}

func TestAWebSocketFailsWhenItIsCutGarbledOrLosesItsSession(t *testing.T) {
	for name, test := range map[string]struct {
		server *echoing
		reason string
	}{
		"good":                        {&echoing{}, ""},
		"a server that says it goes":  {&echoing{leave: true}, ""},
		"a server that cuts":          {&echoing{cut: true}, "the WebSocket was cut"},
		"a server that garbles":       {&echoing{garble: true}, "came back as"},
		"a session that is forgotten": {&echoing{forget: true}, "the session was lost"},
	} {
		t.Run(name, func(t *testing.T) {
			test.server.kept = map[string]string{}
			url := answering(t, test.server.ServeHTTP)
			l, err := Start(t.Context(), url, Clients{Number: 1, Path: "/", Kind: WebSocket, Life: 30 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			until(t, l, sent(4))
			r := l.Stop()[0]
			if failed := r.Failed > 0; failed != (test.reason != "") || failed && !strings.Contains(strings.Join(r.Errors, " "), test.reason) {
				t.Errorf("%+v", r)
			}
			if r.Events == 0 && !test.server.garble && !test.server.cut {
				t.Errorf("nothing came back: %+v", r)
			}
		})
	}
}

func TestEachFailureIsCountedByItsReason(t *testing.T) {
	l := &Load{}
	r := &Result{Labels: map[string]int{}, Reasons: map[string]int{}}
	for n := range 3 * maxSamples {
		l.count(r, "", fmt.Errorf("reason %d", n%(maxSamples+1)), 0)
	}
	total := 0
	for _, n := range r.Reasons {
		total += n
	}
	if total != r.Failed || len(r.Reasons) != maxSamples+1 || r.Reasons["others"] == 0 {
		t.Errorf("%+v", r)
	}
}
