package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

// checkHealth returns an error unless the service on this host answers /ping
// with 200. An image FROM scratch has no other program for Docker's health check.
func checkHealth(ctx context.Context, port string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Second, fmt.Errorf("/ping took more than 2s"))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort("127.0.0.1", port)+"/ping", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("check: /ping answers %s", resp.Status)
	}
	return nil
}
