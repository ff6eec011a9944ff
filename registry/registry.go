// Package registry is Consul as deployments need it: the catalog's instances of
// a service, locks, and the journal of deployments in KV.
package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/hashicorp/consul/api"

	"bg/hint"
)

// The errors that Consul's answers become.
var (
	// ErrUnreachable: no answer from Consul, or one that says nothing (5xx).
	ErrUnreachable = errors.New("no answer from Consul")
	// ErrForbidden: Consul refused the token.
	ErrForbidden = errors.New("the token is refused by Consul")
)

// Open returns a client for the Consul that the CONSUL_* variables name; its
// defaults are Consul's own: http://127.0.0.1:8500 and no token. Nothing is
// sent yet.
func Open() (*api.Client, error) {
	client, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("configure Consul's client: %w", err), "see CONSUL_HTTP_ADDR, CONSUL_HTTP_SSL, CONSUL_CACERT, CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY")
	}
	return client, nil
}

// Classify turns what the Consul API returned into this package's errors.
// An error of the domain, and nil, come back as they are.
func Classify(err error) error {
	var status api.StatusError
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &status) && (status.Code == http.StatusForbidden || status.Code == http.StatusUnauthorized):
		return hint.Wrap(fmt.Errorf("%w: %w", ErrForbidden, err), "set CONSUL_HTTP_TOKEN to a token that may read and write this service's keys, its catalog entries and sessions")
	case errors.As(err, &status) && status.Code < http.StatusInternalServerError && status.Code != http.StatusTooManyRequests:
		return err
	case !errors.As(err, &status) && !unanswered(err):
		return err
	}
	return hint.Wrap(fmt.Errorf("%w: %w", ErrUnreachable, err), "check CONSUL_HTTP_ADDR and that Consul has a leader: consul operator raft list-peers")
}

// unanswered reports whether err says that no whole answer came.
func unanswered(err error) bool {
	var request *url.Error
	var network net.Error
	return errors.As(err, &request) || errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// Environment returns the client configuration that the CONSUL_* variables
// make, for other clients of the same Consul.
func Environment() *api.Config { return api.DefaultConfig() }
