package registrator

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// A hundred services that come and go, twice: an agent refuses one address more than
// 200 connections, and counts one until the question on it is answered, also when
// nobody waits for that any more.
func TestMoreServicesThanConsulHasConnectionsForAreFollowed(t *testing.T) {
	c := startConsul(t)
	client, err := NewConsul("consul://" + c.addr)
	if err != nil {
		t.Fatal(err)
	}
	k := newColors(client, discard(), func() {})
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); k.running.Wait() })
	for round := range 3 {
		folders := map[string]bool{}
		for i := range 100 {
			folders[fmt.Sprintf("round%d/service%d", round, i)] = true
		}
		k.follow(ctx, folders)
		eventuallyWithin(t, 30*time.Second, func() error {
			for folder := range folders {
				if !k.of(folder).known() {
					return fmt.Errorf("what %s is has not been read", folder)
				}
			}
			return nil
		})
	}
	const last = "round2/service99"
	if _, err := c.api.KV().Put(&api.KVPair{Key: last + "/color", Value: []byte("green")}, nil); err != nil {
		t.Fatal(err)
	}
	eventuallyWithin(t, 30*time.Second, func() error {
		if live := k.of(last).live; live != "green" {
			return fmt.Errorf("%s is %q", last, live)
		}
		return nil
	})
}
