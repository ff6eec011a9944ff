package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

const (
	// chunks is how many pieces an upload comes in.
	chunks = 4
	// chunkPause is what a slow client takes between two of them.
	chunkPause = 5 * time.Millisecond
)

// upload sends a body in chunks.
func (c *connection) upload(body string) error {
	w := httputil.NewChunkedWriter(c)
	piece := max(1, (len(body)+chunks-1)/chunks)
	for rest := body; rest != ""; {
		n := min(piece, len(rest))
		if _, err := io.WriteString(w, rest[:n]); err != nil {
			return plain("send body", err)
		}
		if rest = rest[n:]; rest != "" {
			time.Sleep(chunkPause) // it is the client that is slow
		}
	}
	if err := w.Close(); err != nil {
		return plain("send body", err)
	}
	_, err := io.WriteString(c, "\r\n")
	return err
}

// streams opens one stream after the other.
func (l *Load) streams(ctx context.Context, c Clients, address, host string, result *Result) {
	session := session{name: strconv.FormatInt(time.Now().UnixNano(), 36)}
	for ctx.Err() == nil {
		started := time.Now()
		life, leave := c.life(ctx)
		var label string
		var err error
		came := func() { l.event(result) }
		if c.Kind == Events {
			label, err = listen(life, c, address, host, came)
		} else {
			label, err = session.talk(life, c, address, host, came)
		}
		leave()
		l.count(result, label, err, time.Since(started))
		if err != nil {
			pause(ctx, 100*time.Millisecond) // where nobody listens, one error says it
		}
	}
}

// life returns a context that ends when a client leaves.
func (c Clients) life(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.Life > 0 {
		return context.WithTimeout(ctx, c.Life)
	}
	return context.WithCancel(ctx)
}

func (l *Load) event(r *Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Events++
}

// listen reads events until life is over, which is no error, or until the server
// ends the answer whole, which is none either: a browser connects anew then.
func listen(life context.Context, c Clients, address, host string, came func()) (label string, err error) {
	conn, err := dial(life, address)
	if err != nil {
		return "", over(life, err)
	}
	defer conn.Close()
	defer context.AfterFunc(life, func() { conn.Close() })()
	if _, err := conn.Write(c.bytes(host)); err != nil {
		return "", over(life, plain("send", err))
	}
	answer, err := http.ReadResponse(conn.reader, nil)
	if err != nil {
		return "", over(life, plain("read answer", err))
	}
	defer answer.Body.Close()
	label = answer.Header.Get(c.Label)
	if answer.StatusCode != http.StatusOK {
		return label, fmt.Errorf("answer %s", answer.Status)
	}
	for lines := bufio.NewReader(answer.Body); ; {
		if err := conn.SetReadDeadline(time.Now().Add(requestTimeout)); err != nil {
			return label, over(life, err)
		}
		line, err := lines.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			return label, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return label, fmt.Errorf("no event within %s", requestTimeout)
		case err != nil:
			return label, over(life, plain("the stream was cut", err))
		case bytes.HasPrefix(line, []byte("data:")):
			came()
		}
	}
}

// over returns err unless the client left by itself.
func over(life context.Context, err error) error {
	if life.Err() == nil {
		return err
	}
	return nil
}

// session is one client of WebSockets. The server keeps its last message, and
// says it on each new connection.
type session struct {
	name string
	last string // the last message that came back
	next string // the one after it that was sent, when it is not known whether it arrived
}

// talk opens a WebSocket and sends messages until life is over or the server
// says that it goes away.
func (s *session) talk(life context.Context, c Clients, address, host string, came func()) (label string, err error) {
	ctx := context.WithoutCancel(life) // what was begun is carried to its end
	opening, opened := context.WithTimeout(ctx, requestTimeout)
	defer opened()
	transport := &http.Transport{DisableKeepAlives: true}
	conn, answer, err := websocket.Dial(opening, "ws://"+address+c.Path+"?session="+url.QueryEscape(s.name), //nolint:bodyclose // Dial: "You never need to close resp.Body yourself."
		&websocket.DialOptions{Host: host, HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		return "", fmt.Errorf("open a WebSocket: %w", err)
	}
	defer conn.CloseNow() //nolint:errcheck // it is closed already when all went well
	label = answer.Header.Get(c.Label)
	greeting, err := receive(ctx, conn)
	if err != nil {
		return label, leaving(err)
	}
	if greeting != s.last && greeting != s.next {
		return label, fmt.Errorf("the session was lost: its last message is %q instead of %q", greeting, s.last)
	}
	for n := 0; life.Err() == nil; n++ {
		s.next = fmt.Sprintf("%s %d %s", s.name, n, time.Now().Format(time.RFC3339Nano))
		if err := echo(ctx, conn, s.next); err != nil {
			return label, leaving(err)
		}
		s.last = s.next
		came()
		pause(life, max(c.Pause, time.Millisecond))
	}
	return label, leaving(conn.Close(websocket.StatusNormalClosure, ""))
}

// echo sends a message, which has to come back.
func echo(ctx context.Context, conn *websocket.Conn, message string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
		return err
	}
	back, err := receive(ctx, conn)
	if err == nil && back != message {
		err = fmt.Errorf("%q came back as %q", message, back)
	}
	return err
}

func receive(ctx context.Context, conn *websocket.Conn) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, text, err := conn.Read(ctx)
	return string(text), err
}

// leaving returns err unless it is the server's word that it goes away, upon
// which a client connects anew.
func leaving(err error) error {
	switch {
	case err == nil || websocket.CloseStatus(err) == websocket.StatusGoingAway:
		return nil
	case errors.Is(err, io.EOF):
		return errors.New("the WebSocket was cut")
	}
	return fmt.Errorf("WebSocket: %w", err)
}
