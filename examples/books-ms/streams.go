package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// streams are the answers that have no end of their own: server-sent events and
// WebSockets. http.Server's Shutdown would wait for the former for ever, and
// does not know of the latter.
type streams struct {
	stopped chan struct{}
	stop    func()
	running sync.WaitGroup
}

func newStreams() *streams {
	s := &streams{stopped: make(chan struct{})}
	s.stop = sync.OnceFunc(func() { close(s.stopped) })
	return s
}

// wait returns when no stream runs any more, or with ctx's error.
func (s *streams) wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() { s.running.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// events sends an event each ?ms= milliseconds, once a second by default.
func (h *handler) events(w http.ResponseWriter, r *http.Request) {
	interval := time.Second
	if ms, err := strconv.Atoi(r.FormValue("ms")); err == nil && ms > 0 {
		interval = time.Duration(ms) * time.Millisecond
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	// nginx would collect events until a buffer is full.
	w.Header().Set("X-Accel-Buffering", "no")
	tick := time.NewTicker(interval)
	defer tick.Stop()
	flush := http.NewResponseController(w)
	for n := 1; ; n++ {
		_, err := fmt.Fprintf(w, "id: %d\ndata: {\"version\":%q,\"color\":%q}\n\n", n, h.cfg.Version, h.cfg.Color)
		if err != nil || flush.Flush() != nil {
			return // the client is gone
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-h.streams.stopped:
			return // the answer ends whole, and the client connects anew
		}
	}
}

// echo sends each WebSocket message back. At the end of the service it says
// "going away", after the message that it is at. With ?session=NAME it says first
// which message of that session it has seen last, whatever color saw it.
func (h *handler) echo(w http.ResponseWriter, r *http.Request) {
	h.streams.running.Add(1)
	defer h.streams.running.Done()
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer drop(conn)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		select {
		case <-h.streams.stopped:
			if err := conn.Close(websocket.StatusGoingAway, "stopping"); err != nil {
				h.log.Debug("the client did not close", "error", err)
			}
		case <-ctx.Done():
		}
	}()
	h.converse(ctx, conn, r.FormValue("session"))
	cancel()
	<-closed
}

// converse answers messages until the connection ends.
func (h *handler) converse(ctx context.Context, conn *websocket.Conn, session string) {
	if session != "" {
		last, err := h.store.Session(ctx, session)
		if err == nil {
			err = conn.Write(ctx, websocket.MessageText, []byte(last))
		}
		if err != nil {
			h.log.Warn("greet a session", "error", err)
			return
		}
	}
	for {
		kind, message, err := conn.Read(ctx)
		if err == nil && session != "" {
			err = h.store.Remember(ctx, session, string(message))
		}
		if err == nil {
			err = conn.Write(ctx, kind, message)
		}
		if err != nil {
			return
		}
	}
}

// drop lets go of conn without a closing handshake. Its error says that conn is
// closed or broken already, and then nothing is left to do.
func drop(conn *websocket.Conn) { _ = conn.CloseNow() }
