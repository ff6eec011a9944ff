package color

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/consul/api"

	"bg/hint"
)

// ErrUnknown is returned when Consul's answer does not say which color is
// live: the key holds something else than a color. Nothing may be changed then.
var ErrUnknown = errors.New("the live color is unknown")

// Live is what Consul KV says about a service: its live color, and the key's
// modify index, which compare-and-set needs (0 when the key does not exist).
type Live struct {
	Color Color
	Index uint64
}

// Store reads live colors from Consul KV, from the key <prefix><service>/color.
type Store struct {
	kv     *api.KV
	prefix string
}

// NewStore returns a Store on client. Prefix goes before each key; it is ""
// or ends with a slash.
func NewStore(client *api.Client, prefix string) *Store {
	return &Store{kv: client.KV(), prefix: prefix}
}

// Key returns the KV key that holds service's live color.
func (s *Store) Key(service string) string { return s.prefix + service + "/color" }

// Live reads the live color of service with a consistent read: the leader
// confirms it with a quorum, so a stale server cannot answer. Its color is None
// when the key does not exist, which only a 404 says. The error wraps
// ErrUnknown when the key holds no color, and is Consul's own otherwise.
func (s *Store) Live(ctx context.Context, service string) (Live, error) {
	pair, _, err := s.kv.Get(s.Key(service), (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	switch {
	case err != nil:
		return Live{}, fmt.Errorf("read KV key %s: %w", s.Key(service), err)
	case pair == nil:
		return Live{}, nil
	}
	// A color that a person wrote with echo ends with a newline.
	c, err := Parse(strings.TrimSpace(string(pair.Value)))
	if err != nil {
		return Live{}, hint.Wrap(fmt.Errorf("%w: KV key %s: %w", ErrUnknown, s.Key(service), err),
			fmt.Sprintf("find out which color serves, then write it: consul kv put %s blue (or green)", s.Key(service)))
	}
	return Live{Color: c, Index: pair.ModifyIndex}, nil
}

// SetOp returns the transaction operation that makes to the live color of
// service, on the condition that the key is as seen found it. With index 0 it
// only creates the key.
func (s *Store) SetOp(service string, seen Live, to Color) *api.TxnOp {
	return &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVCAS, Key: s.Key(service), Value: []byte(to), Index: seen.Index}}
}
