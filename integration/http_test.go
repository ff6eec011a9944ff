package integration

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// books is a service that answers as its path says.
func books(t *testing.T) Target {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /books", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `[{"id": 1}]`, r.URL.RawQuery) })
	mux.HandleFunc("POST /books", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, r.Host, " ", r.Header.Get("X-Key"), " ", string(body))
	})
	mux.HandleFunc("GET /moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/books", http.StatusFound) })
	mux.HandleFunc("GET /broken", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprint(w, "no\x1b[2J upstream\n", strings.Repeat("x", 2000))
	})
	mux.HandleFunc("GET /slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return Target{URL: server.URL + "/"}
}

func TestAnAnswerIsJudged(t *testing.T) {
	target := books(t)
	tests := []struct {
		name string
		test HTTP
		want string // of the error, "" when it passes; URL stands for the server
	}{
		{"any success", HTTP{Path: "/books"}, ""},
		{"query", HTTP{Path: "/books?q=1", Contains: "q=1"}, ""},
		{"exact status", HTTP{Path: "/broken", Status: 502}, ""},
		{"other status", HTTP{Path: "/books", Status: 204}, `URL/books answered 200 OK, want 204: [{"id": 1}]`},
		{"no success", HTTP{Path: "/none"}, "URL/none answered 404 Not Found, want 200 to 299: 404 page not found"},
		{"content", HTTP{Path: "/books", Contains: `"id": 1`}, ""},
		{"no content", HTTP{Path: "/books", Contains: "dune"}, `URL/books answered 200 OK, want a body with "dune": [{"id": 1}]`},
		{"redirect", HTTP{Path: "/moved"}, `URL/moved answered 302 Found, want 200 to 299: <a href="/books">Found</a>.`},
		{"redirect that is followed", HTTP{Path: "/moved", Follow: true, Contains: "id"}, ""},
		{"long answer", HTTP{Path: "/broken"}, "URL/broken answered 502 Bad Gateway, want 200 to 299: no [2J upstream " + strings.Repeat("x", 512-len("no\x1b[2J upstream\n")) + "…"},
		{"body and headers", HTTP{Method: "POST", Path: "/books", Body: "{}", Headers: http.Header{"x-key": {"k"}, "Host": {"shop"}}, Status: 201, Contains: "shop k {}"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.test.Run(t.Context(), target, io.Discard)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			_, typed := errors.AsType[*AnswerError](err)
			if got := strings.ReplaceAll(fmt.Sprint(err), strings.TrimSuffix(target.URL, "/"), "URL"); got != tt.want || !typed {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestARequestHasItsLimit(t *testing.T) {
	test := Limited{Test: HTTP{Path: "/slow"}, Timeout: 200 * time.Millisecond}
	err := test.Run(t.Context(), books(t), io.Discard)
	if _, ok := errors.AsType[*TimeoutError](err); !ok {
		t.Errorf("error is %v", err)
	}
}

func TestNobodyAnswers(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	err := HTTP{Path: "/"}.Run(t.Context(), Target{URL: server.URL}, io.Discard)
	if err == nil || strings.Count(err.Error(), server.URL) != 1 || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("error is %v", err)
	}
}

func TestEachRequestHasAConnectionOfItsOwn(t *testing.T) {
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }))
	server.Listener = countingListener{server.Listener, &connections}
	server.Start()
	t.Cleanup(server.Close)
	for range 3 {
		if err := (HTTP{Path: "/"}).Run(t.Context(), Target{URL: server.URL}, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	if got := connections.Load(); got != 3 {
		t.Errorf("%d connections for 3 requests", got)
	}
}
