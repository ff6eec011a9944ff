package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"bg/hint"
	"bg/internal/consultest"
)

func TestMain(m *testing.M) {
	os.Exit(consultest.Run(m))
}

// open gives all tests one client: an agent takes 200 connections of one address.
var open = sync.OnceValues(Open)

func consul(t *testing.T) *api.Client {
	t.Helper()
	client, err := open()
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// unique returns a name that no other test has.
func unique() string { return "books-" + strconv.FormatInt(time.Now().UnixNano(), 36) }

// quiet is a Locker whose sessions live ttl.
func quiet(t *testing.T, ttl time.Duration) *Locker {
	t.Helper()
	return NewLocker(consul(t), ttl, slog.New(slog.DiscardHandler))
}

// within waits for what comes from a goroutine of a test.
func within[T any](t *testing.T, limit time.Duration, what string, c <-chan T) T {
	t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case value := <-c:
		return value
	case <-timer.C:
		t.Fatalf("%s: not within %s", what, limit)
		panic("unreachable")
	}
}

func TestConsulsAnswersBecomeErrorsOfTheDomain(t *testing.T) {
	status := func(code int) error { return fmt.Errorf("read: %w", api.StatusError{Code: code, Body: "why"}) }
	own := errors.New("of the domain")
	tests := []struct {
		name string
		err  error
		want error // nil: as it is
	}{
		{name: "no error"},
		{name: "an error of the domain", err: own},
		{name: "cancelled", err: &url.Error{Op: "Get", URL: "http://consul", Err: context.Canceled}},
		{name: "out of time", err: fmt.Errorf("read: %w", context.DeadlineExceeded)},
		{name: "a bad request", err: status(400)},
		{name: "not found", err: status(404)},
		{name: "no token", err: status(401), want: ErrForbidden},
		{name: "the wrong token", err: status(403), want: ErrForbidden},
		{name: "too many requests", err: status(429), want: ErrUnreachable},
		{name: "an error of the server", err: status(500), want: ErrUnreachable},
		{name: "no leader", err: status(503), want: ErrUnreachable},
		{name: "nobody listens", err: &url.Error{Op: "Get", URL: "http://consul", Err: &net.OpError{Op: "dial", Err: errors.New("refused")}}, want: ErrUnreachable},
		{name: "a connection that broke", err: fmt.Errorf("read: %w", io.ErrUnexpectedEOF), want: ErrUnreachable},
		{name: "a connection that ended", err: io.EOF, want: ErrUnreachable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Classify(tt.err)
			if !errors.Is(got, tt.err) && tt.err != nil {
				t.Errorf("%v is lost in %v", tt.err, got)
			}
			for _, kind := range []error{ErrForbidden, ErrUnreachable} {
				if errors.Is(got, kind) != errors.Is(tt.want, kind) {
					t.Errorf("%v: is it %v: %t", got, kind, errors.Is(got, kind))
				}
			}
			if (hint.Of(got) != "") != (tt.want != nil) {
				t.Errorf("hint: %q", hint.Of(got))
			}
		})
	}
}

// unreachable is a client of an address where nobody listens.
func unreachable(t *testing.T) *api.Client {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	client, err := api.NewClient(&api.Config{Address: l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestAConsulThatIsNotThereIsUnreachableForEveryCall(t *testing.T) {
	client := unreachable(t)
	journal, lock := NewJournal(client, ""), &Lock{Key: "books-ms/lock", Session: "none"}
	calls := map[string]func(context.Context) error{
		"instances": func(ctx context.Context) error {
			_, err := NewCatalog(client).Instances(ctx, "books-ms-blue")
			return err
		},
		"save":   func(ctx context.Context) error { return journal.Save(ctx, lock, "books-ms", "1", nil) },
		"read":   func(ctx context.Context) error { _, err := journal.Read(ctx, "books-ms", "1"); return err },
		"newest": func(ctx context.Context) error { _, err := journal.Newest(ctx, "books-ms"); return err },
		"prune":  func(ctx context.Context) error { return journal.Prune(ctx, "books-ms", 1) },
		"acquire": func(ctx context.Context) error {
			_, _, err := NewLocker(client, time.Second, slog.New(slog.DiscardHandler)).Acquire(ctx, "books-ms/lock", Holder{}, 0, nil)
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			if err := call(t.Context()); !errors.Is(err, ErrUnreachable) || hint.Of(err) == "" {
				t.Errorf("%v", err)
			}
		})
	}
}
