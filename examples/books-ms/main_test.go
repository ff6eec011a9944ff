package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// redisAddr is the Redis that all tests share; each has a prefix of its own.
var redisAddr string

func TestMain(m *testing.M) {
	ctx := context.Background()
	id, err := startRedis(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "the tests need Docker and the image redis:8:", err)
		os.Exit(1)
	}
	code := m.Run()
	if _, err := docker(ctx, "rm", "--force", "--volumes", id); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// startRedis runs a Redis at a free port, sets redisAddr and returns the
// container's id.
func startRedis(ctx context.Context) (string, error) {
	id, err := docker(ctx, "run", "--detach", "--label", "bg.test=books-ms", "--publish", "127.0.0.1::6379", "redis:8")
	if err != nil {
		return "", err
	}
	if redisAddr, err = docker(ctx, "port", id, "6379/tcp"); err != nil {
		return id, err
	}
	s := openStore(redisAddr, "")
	deadline := time.Now().Add(10 * time.Second)
	for err = s.Ping(ctx); err != nil && time.Now().Before(deadline); {
		err = s.Ping(ctx)
	}
	return id, errors.Join(err, s.Close())
}

func docker(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", args[0], err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// service is one that runs in a test.
type service struct {
	address string
	stop    func()
	ended   chan error
}

// start runs the service with cfg, which it completes, until the test ends.
func start(t *testing.T, cfg config) service {
	t.Helper()
	cfg.RedisAddr, cfg.RedisPrefix = redisAddr, rand.Text()+":"
	if cfg.StopGrace == 0 {
		cfg.StopGrace = 10 * time.Second
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	s := service{address: listener.Addr().String(), stop: stop, ended: make(chan error, 1)}
	go func() { s.ended <- serveOn(ctx, cfg, listener, slog.New(slog.DiscardHandler)) }()
	return s
}

func (s service) url() string { return "http://" + s.address }

// end returns how the service ended, within the time that it may take.
func (s service) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.ended:
		return err
	case <-time.After(15 * time.Second):
		t.Fatal("the service does not end")
		return nil
	}
}
