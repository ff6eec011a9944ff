package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// The limits of what a request may ask for.
const (
	maxBody   = 64 << 10 // bytes
	maxBooks  = 100
	maxSlow   = time.Minute
	storeWait = 2 * time.Second
)

// handler answers the requests of one service.
type handler struct {
	cfg     config
	store   *store
	streams *streams
	log     *slog.Logger
	failAt  time.Time // zero: never
}

// newHandler returns all routes of the service. Each answer names the version
// and the color, failures too.
func newHandler(cfg config, s *store, streams *streams, log *slog.Logger) http.Handler {
	h := &handler{cfg: cfg, store: s, streams: streams, log: log}
	if cfg.FailAfter > 0 {
		h.failAt = time.Now().Add(cfg.FailAfter)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", h.ping)
	mux.HandleFunc("GET /api/v1/books", h.list)
	mux.HandleFunc("POST /api/v1/books", h.add)
	mux.HandleFunc("GET /api/v1/books/{id}", h.get)
	mux.HandleFunc("GET /api/v1/slow", h.slow)
	mux.HandleFunc("GET /api/v1/events", h.events)
	mux.HandleFunc("GET /api/v1/echo", h.echo)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Version", cfg.Version)
		w.Header().Set("X-Color", cfg.Color)
		if h.misbehaves(r) {
			http.Error(w, "failing, as FAIL_AFTER says", http.StatusInternalServerError)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// misbehaves reports whether FAIL_AFTER makes the answer to r a failure. Only
// what a proxy sent on has the header.
func (h *handler) misbehaves(r *http.Request) bool {
	if h.cfg.FailAfterSwitch {
		return r.Header.Get("X-Forwarded-For") != ""
	}
	return !h.failAt.IsZero() && time.Now().After(h.failAt)
}

func (h *handler) ping(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), storeWait)
	defer cancel()
	err := h.store.Ping(ctx)
	if h.cfg.FailHealth {
		err = errors.New("as FAIL_HEALTH says")
	}
	if err != nil {
		http.Error(w, "unhealthy: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "pong")
}

func (h *handler) list(w http.ResponseWriter, r *http.Request) {
	limit := int64(20)
	if text := r.FormValue("limit"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 || n > maxBooks {
			http.Error(w, fmt.Sprintf("limit must be 1 to %d", maxBooks), http.StatusBadRequest)
			return
		}
		limit = n
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeWait)
	defer cancel()
	books, err := h.store.Newest(ctx, limit)
	h.answer(w, http.StatusOK, books, err)
}

func (h *handler) add(w http.ResponseWriter, r *http.Request) {
	var b Book
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&b); err != nil {
		http.Error(w, "no book: "+err.Error(), http.StatusBadRequest)
		return
	}
	if b.Title == "" {
		http.Error(w, "a book needs a title", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeWait)
	defer cancel()
	b, err := h.store.Add(ctx, b)
	if err == nil {
		w.Header().Set("Location", fmt.Sprintf("/api/v1/books/%d", b.ID))
	}
	h.answer(w, http.StatusCreated, b, err)
}

func (h *handler) get(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		http.Error(w, "the id of a book is a number", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeWait)
	defer cancel()
	b, err := h.store.Get(ctx, id)
	h.answer(w, http.StatusOK, b, err)
}

// slow answers after ?ms= milliseconds: a request that a switch must not cut.
func (h *handler) slow(w http.ResponseWriter, r *http.Request) {
	ms, err := strconv.Atoi(r.FormValue("ms"))
	d := time.Duration(ms) * time.Millisecond
	if err != nil || d < 0 || d > maxSlow {
		http.Error(w, fmt.Sprintf("ms must be 0 to %d", maxSlow.Milliseconds()), http.StatusBadRequest)
		return
	}
	if sleep(r.Context(), d) {
		fmt.Fprintf(w, "%d\n", ms)
	}
}

// answer writes v as JSON, or what err means.
func (h *handler) answer(w http.ResponseWriter, status int, v any, err error) {
	switch {
	case errors.Is(err, errNoBook):
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	case err != nil:
		h.log.Error("answer", "error", err)
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		h.log.Warn("the client is gone", "error", err)
	}
}
