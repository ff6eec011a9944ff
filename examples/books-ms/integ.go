package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// integrate tests the service at domain, such as http://172.17.0.1:32768, as a
// client sees it. It writes a line for each test and returns what failed.
func integrate(ctx context.Context, domain string, out io.Writer) error {
	if domain == "" {
		return errors.New("DOMAIN is empty: set it to the service's address, such as http://localhost:8080")
	}
	if !strings.Contains(domain, "://") {
		domain = "http://" + domain
	}
	c := client{domain: strings.TrimSuffix(domain, "/")}
	tests := []struct {
		name string
		run  func(context.Context) error
	}{
		{"answers a ping", c.ping},
		{"lists books", c.list},
		{"keeps a book that is posted", c.keep},
		{"refuses a book without a title", c.refuse},
		{"knows that a book is not there", c.missing},
		{"echoes over a WebSocket", c.echo},
	}
	var failures []error
	for _, test := range tests {
		start := time.Now()
		ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, errors.New("it took more than 10s"))
		err := test.run(ctx)
		cancel()
		verdict := "ok  "
		if err != nil {
			verdict = "FAIL"
			failures = append(failures, fmt.Errorf("%s: %w", test.name, err))
		}
		fmt.Fprintf(out, "%s %s (%s)\n", verdict, test.name, time.Since(start).Round(time.Millisecond))
	}
	return errors.Join(failures...)
}

// client is one that talks to the service at domain.
type client struct{ domain string }

func (c client) ping(ctx context.Context) error {
	return c.do(ctx, http.MethodGet, "/ping", nil, http.StatusOK, nil)
}

func (c client) list(ctx context.Context) error {
	return c.do(ctx, http.MethodGet, "/api/v1/books", nil, http.StatusOK, &[]Book{})
}

func (c client) keep(ctx context.Context) error {
	sent := Book{Title: fmt.Sprintf("The book of %s", time.Now().UTC().Format(time.RFC3339Nano)), Author: "books-ms"}
	var kept, got Book
	if err := c.do(ctx, http.MethodPost, "/api/v1/books", sent, http.StatusCreated, &kept); err != nil {
		return err
	}
	if err := c.do(ctx, http.MethodGet, fmt.Sprintf("/api/v1/books/%d", kept.ID), nil, http.StatusOK, &got); err != nil {
		return err
	}
	if sent.ID = kept.ID; got != sent {
		return fmt.Errorf("posted %+v, got %+v", sent, got)
	}
	return nil
}

func (c client) refuse(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/api/v1/books", Book{Author: "nobody"}, http.StatusBadRequest, nil)
}

func (c client) missing(ctx context.Context) error {
	return c.do(ctx, http.MethodGet, "/api/v1/books/0", nil, http.StatusNotFound, nil)
}

func (c client) echo(ctx context.Context) error {
	conn, _, err := websocket.Dial(ctx, c.domain+"/api/v1/echo", nil) //nolint:bodyclose // Dial: "You never need to close resp.Body yourself."
	if err != nil {
		return err
	}
	defer drop(conn)
	const sent = "is anybody there?"
	if err := conn.Write(ctx, websocket.MessageText, []byte(sent)); err != nil {
		return err
	}
	_, got, err := conn.Read(ctx)
	if err != nil {
		return err
	}
	if string(got) != sent {
		return fmt.Errorf("sent %q, got %q", sent, got)
	}
	return conn.Close(websocket.StatusNormalClosure, "")
}

// do sends in as JSON, expects status, and reads the answer into out.
func (c client) do(ctx context.Context, method, path string, in any, status int, out any) error {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, c.domain+path, &body)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode != status {
		return fmt.Errorf("%s %s: %s instead of %d: %.200s", method, path, resp.Status, status, answer)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}
