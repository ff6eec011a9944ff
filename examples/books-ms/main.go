// Books-ms is the sample service: books kept in Redis, and a way to misbehave in
// every way that a deployment has to survive.
//
//	books-ms          serves
//	books-ms -check   asks the one that serves here whether it is healthy
//	books-ms -integ   tests the one at $DOMAIN
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	check := flag.Bool("check", false, "ask the service on this host for its health")
	integ := flag.Bool("integ", false, "run the integration tests against $DOMAIN")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *check, *integ)
	stop()
	os.Exit(exitCode(err))
}

func run(ctx context.Context, check, integ bool) error {
	cfg, err := configFrom(os.LookupEnv)
	if err != nil {
		return err
	}
	switch {
	case check:
		return checkHealth(ctx, cfg.Port)
	case integ:
		return integrate(ctx, os.Getenv("DOMAIN"), os.Stdout)
	}
	return serve(ctx, cfg, slog.New(slog.NewJSONHandler(os.Stdout, nil)))
}

// exitError ends the process with a code of its own.
type exitError struct{ code int }

func (e exitError) Error() string {
	return fmt.Sprintf("crashed with exit code %d, as CRASH says", e.code)
}

// exitCode tells why it ended and returns the process's exit code.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "books-ms:", err)
	if crash, ok := errors.AsType[exitError](err); ok {
		return crash.code
	}
	return 1
}

// serve starts as cfg says and answers requests until ctx ends.
func serve(ctx context.Context, cfg config, log *slog.Logger) error {
	if cfg.CrashAtStart {
		return exitError{cfg.ExitCode}
	}
	if !sleep(ctx, cfg.StartDelay) {
		return nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("", cfg.Port))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return serveOn(ctx, cfg, listener, log)
}

// serveOn answers requests until ctx ends; then it finishes those that it has.
func serveOn(ctx context.Context, cfg config, listener net.Listener, log *slog.Logger) error {
	store := openStore(cfg.RedisAddr, cfg.RedisPrefix)
	defer func() {
		if err := store.Close(); err != nil {
			log.Warn("the store did not close", "error", err)
		}
	}()
	streams := newStreams()
	server := &http.Server{
		Handler:           newHandler(cfg, store, streams, log),
		ReadHeaderTimeout: 10 * time.Second,
		// Longer than the 60 s for which nginx keeps a connection to a service: who
		// closes first must be the one that sends the requests.
		IdleTimeout: 2 * time.Minute,
	}
	log.Info("serving", "address", listener.Addr().String(), "version", cfg.Version, "color", cfg.Color)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-after(cfg.CrashAfter):
		return exitError{cfg.ExitCode}
	case <-ctx.Done():
	}
	log.Info("stopping", "grace", cfg.StopGrace.String())
	return shutdown(context.WithoutCancel(ctx), server, streams, cfg.StopGrace)
}

// shutdown ends streams, which end only when they are told to, and waits for all
// other requests, for grace at most.
func shutdown(ctx context.Context, server *http.Server, streams *streams, grace time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, grace, fmt.Errorf("requests still ran after %s", grace))
	defer cancel()
	streams.stop()
	if err := errors.Join(server.Shutdown(ctx), streams.wait(ctx)); err != nil {
		return fmt.Errorf("stop: %w", errors.Join(err, context.Cause(ctx)))
	}
	return nil
}

// after fires once d has passed, and never when d is 0.
func after(d time.Duration) <-chan time.Time {
	if d == 0 {
		return nil
	}
	return time.After(d)
}

// sleep waits for d and reports whether ctx lasted as long.
func sleep(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
