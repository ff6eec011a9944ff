package registrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"bg/hint"
)

const (
	// followFor is how long Consul is asked to wait for a key to change. When whoever
	// asked goes away, Consul has the connection for the rest of that time.
	followFor = 30 * time.Second
	// mostAsked bounds the keys that are asked for at a time, each on a connection of its
	// own: an agent refuses one address more than 200 of them (limits,
	// http_max_conns_per_client), and other programs may share this one's.
	mostAsked = 48
	// turnFor is how long Consul is asked to wait when more keys are followed, which
	// take turns then.
	turnFor = 2 * time.Second
)

// standing is what KV says of one service of bg.
type standing struct {
	live     string // the live color; "" when there is none
	bad      string // what the key of the color holds when it is no color
	document []byte // of the newest deployment; nil when there is none

	colorRead, documentRead bool
}

// known reports whether both keys were read.
func (s standing) known() bool { return s.colorRead && s.documentRead }

// colors follows the keys of bg's services by blocking queries.
type colors struct {
	kv      *api.KV
	log     *slog.Logger
	changed func() // called after each change

	running sync.WaitGroup
	asked   chan struct{} // has room for those who ask at a time

	mu       sync.Mutex
	standing map[string]standing
	stop     map[string]context.CancelFunc // by folder in KV
}

func newColors(client *api.Client, log *slog.Logger, changed func()) *colors {
	return &colors{kv: client.KV(), log: log, changed: changed, asked: make(chan struct{}, mostAsked), standing: map[string]standing{}, stop: map[string]context.CancelFunc{}}
}

// of returns what is known of the service whose keys are in folder.
func (k *colors) of(folder string) standing {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.standing[folder]
}

// follow follows the keys in these folders until ctx ends, and no others any more.
func (k *colors) follow(ctx context.Context, folders map[string]bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for folder, stop := range k.stop {
		if !folders[folder] {
			stop()
			delete(k.stop, folder)
			delete(k.standing, folder)
		}
	}
	for folder := range folders {
		if k.stop[folder] != nil {
			continue
		}
		ctx, stop := context.WithCancel(ctx)
		k.stop[folder] = stop
		k.running.Go(func() { k.key(ctx, folder, folder+"/color", standing.withColor) })
		k.running.Go(func() { k.key(ctx, folder, folder+"/deploy", standing.withDocument) })
	}
}

func (s standing) withColor(value []byte) standing {
	s.colorRead, s.live, s.bad = true, "", ""
	switch word := strings.TrimSpace(string(value)); word {
	case "blue", "green":
		s.live = word
	case "":
	default:
		s.bad = word[:min(len(word), 40)]
	}
	return s
}

func (s standing) withDocument(value []byte) standing {
	s.documentRead, s.document = true, value
	return s
}

// key follows one key until ctx ends. What Consul does not answer leaves what is
// known as it is.
func (k *colors) key(ctx context.Context, folder, key string, with func(standing, []byte) standing) {
	retry := backoff{}
	var index uint64
	said := ""
	for ctx.Err() == nil {
		value, next, err := k.read(ctx, key, index)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if text := err.Error(); text != said {
				k.log.Warn("tags and the report of a service stay as they are", "service", folder, "error", err, "hint", hint.Of(err))
				said = text
			}
			index = 0
			pause(ctx, retry.failed())
			continue
		case next < index: // Consul's advice: start anew when an index goes backwards
			next = 0
		}
		retry.succeeded()
		if said = ""; next == index && index != 0 {
			continue
		}
		index = next
		k.note(ctx, folder, value, with)
	}
}

// note remembers what a key holds, unless nobody follows it any more.
func (k *colors) note(ctx context.Context, folder string, value []byte, with func(standing, []byte) standing) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if ctx.Err() == nil {
		k.standing[folder] = with(k.standing[folder], value)
		k.changed()
	}
}

// turn returns how long a key may be asked for.
func (k *colors) turn() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if keys := 2 * len(k.stop); keys > mostAsked {
		return turnFor
	}
	return followFor
}

// read returns the value of key, nil when there is none, once it is newer than index
// or it is another key's turn.
func (k *colors) read(ctx context.Context, key string, index uint64) ([]byte, uint64, error) {
	select {
	case k.asked <- struct{}{}:
		defer func() { <-k.asked }()
	case <-ctx.Done():
		return nil, 0, context.Cause(ctx)
	}
	wait := k.turn()
	ctx, cancel := context.WithTimeoutCause(ctx, wait+wait/16+callTimeout, errSlow) // Consul adds up to a 16th
	defer cancel()
	pair, meta, err := k.kv.Get(key, (&api.QueryOptions{WaitIndex: index, WaitTime: wait}).WithContext(ctx))
	if refused(err, http.StatusForbidden) {
		return nil, 0, hint.Wrap(fmt.Errorf("read KV key %s: %w", key, err),
			"give the token key_prefix read on the service's keys, or start bg registrator with -plain")
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read KV key %s: %w", key, cause(ctx, err))
	}
	if meta.LastIndex == 0 {
		return nil, 0, errors.New("consul gave no index")
	}
	if pair == nil {
		return nil, meta.LastIndex, nil
	}
	return pair.Value, meta.LastIndex, nil
}
