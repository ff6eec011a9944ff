package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/consul/api"

	"bg/hint"
)

// ErrLost is the cause of the context of a lock that Consul took away.
var ErrLost = errors.New("the lock was lost")

// freePause is the time between two attempts at a lock that nobody holds, but
// that Consul keeps closed for its lock delay: no query tells when that is over.
const freePause = 5 * time.Millisecond

// Holder says who holds a lock. It is the lock key's value, so that a person
// reads it in the Consul UI.
type Holder struct {
	User       string    `json:"user"`
	Host       string    `json:"host"`
	PID        int       `json:"pid"`
	Build      string    `json:"build,omitempty"` // the URL of the CI build
	Deployment string    `json:"deployment,omitempty"`
	Since      time.Time `json:"since"`
}

// String returns the holder as a sentence's subject.
func (h Holder) String() string {
	s := fmt.Sprintf("%s@%s (pid %d) since %s", h.User, h.Host, h.PID, h.Since.Format(time.RFC3339))
	if h.Build != "" {
		s += ", " + h.Build
	}
	return s
}

// HeldError says that somebody else holds a lock.
type HeldError struct {
	Key    string
	Holder Holder
}

func (e *HeldError) Error() string { return fmt.Sprintf("%s is held by %s", e.Key, e.Holder) }

// Locker takes locks in KV, each with a session of its own.
type Locker struct {
	client *api.Client
	ttl    time.Duration
	log    *slog.Logger
}

// NewLocker returns a Locker whose sessions end ttl after their holder stopped
// renewing them. Consul allows 10 s to 24 h, and may take up to twice the time.
func NewLocker(client *api.Client, ttl time.Duration, log *slog.Logger) *Locker {
	return &Locker{client: client, ttl: ttl, log: log}
}

// Lock is a lock that is held.
type Lock struct {
	Key     string
	Session string

	client *api.Client
	stop   context.CancelFunc
	done   chan struct{}
}

// Acquire takes the lock on key for holder. When somebody else has it, it waits
// for up to wait and calls waiting with each holder it waits for; after that it
// fails with *HeldError. The context that it returns is cancelled, with ErrLost
// as its cause, when the lock is lost.
func (l *Locker) Acquire(ctx context.Context, key string, holder Holder, wait time.Duration, waiting func(Holder)) (context.Context, *Lock, error) {
	value, err := json.MarshalIndent(holder, "", "  ")
	if err != nil {
		return nil, nil, err
	}
	session, err := l.session(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	lock := &Lock{Key: key, Session: session, client: l.client, done: make(chan struct{})}
	// Renewed from here on: the wait may be longer than a session lives.
	held := l.keep(ctx, lock)
	if err := l.acquire(ctx, lock, value, wait, waiting); err != nil {
		return nil, nil, errors.Join(err, lock.Release(ctx))
	}
	return held, lock, nil
}

// session makes the session that holds key.
func (l *Locker) session(ctx context.Context, key string) (string, error) {
	id, _, err := l.client.Session().Create(&api.SessionEntry{
		Name: "bg " + key, TTL: l.ttl.String(), Behavior: api.SessionBehaviorDelete,
		// Consul keeps a lock closed for 15 s after its session was
		// invalidated, unless told otherwise. Every effect of a deployment is
		// checked against the session, so nothing is gained by that.
		LockDelay: time.Millisecond,
	}, (&api.WriteOptions{}).WithContext(ctx))
	if err != nil {
		return "", fmt.Errorf("create session for %s: %w", key, Classify(err))
	}
	return id, nil
}

// acquire tries to get the lock until it has it or wait is over.
func (l *Locker) acquire(ctx context.Context, lock *Lock, value []byte, wait time.Duration, waiting func(Holder)) error {
	deadline, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var index uint64
	for {
		pair := &api.KVPair{Key: lock.Key, Value: value, Session: lock.Session}
		ok, _, err := l.client.KV().Acquire(pair, (&api.WriteOptions{}).WithContext(ctx))
		if err != nil {
			return fmt.Errorf("acquire %s: %w", lock.Key, Classify(err))
		}
		if ok {
			return nil
		}
		holder, next, err := l.holder(deadline, lock.Key, index)
		switch {
		case deadline.Err() != nil:
			holder, _, err = l.holder(ctx, lock.Key, 0)
			if err != nil {
				return err
			}
			if holder == (Holder{}) { // it became free in this moment
				if err := pause(ctx, freePause); err != nil {
					return err
				}
				continue
			}
			return hint.Wrap(&HeldError{Key: lock.Key, Holder: holder}, "wait for it with --lock-wait 5m")
		case err != nil:
			return err
		}
		if holder == (Holder{}) {
			if err := pause(ctx, freePause); err != nil {
				return err
			}
			index = 0
			continue
		}
		index = next
		waiting(holder)
	}
}

// holder reads who holds key, and waits for a change when an index is given.
// A key that is free has a zero Holder.
func (l *Locker) holder(ctx context.Context, key string, index uint64) (Holder, uint64, error) {
	options := &api.QueryOptions{RequireConsistent: true, WaitIndex: index, WaitTime: watchTime}
	pair, meta, err := l.client.KV().Get(key, options.WithContext(ctx))
	if err != nil {
		return Holder{}, 0, fmt.Errorf("read %s: %w", key, Classify(err))
	}
	var holder Holder
	if pair == nil {
		return holder, meta.LastIndex, nil
	}
	if err := json.Unmarshal(pair.Value, &holder); err != nil {
		return Holder{User: "somebody", Host: "unknown"}, meta.LastIndex, nil //nolint:nilerr // it is held, whoever wrote it
	}
	return holder, meta.LastIndex, nil
}

// keep renews the lock's session until it is released, and returns a context
// that ends when that is not possible any more.
func (l *Locker) keep(ctx context.Context, lock *Lock) context.Context {
	held, lose := context.WithCancelCause(ctx)
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	lock.stop = stop
	go func() {
		defer close(lock.done)
		last := time.Now()
		for pause(renewing, l.ttl/3) == nil {
			entry, err := l.renew(renewing, lock)
			switch {
			case err == nil && entry != nil:
				last = time.Now()
			case err == nil || time.Since(last) > l.ttl:
				lose(fmt.Errorf("%w: %s", ErrLost, lock.Key))
				return
			case renewing.Err() == nil:
				l.log.Warn("lock cannot be renewed, trying again", "key", lock.Key, "error", err)
			}
		}
	}()
	return held
}

// renew asks Consul once to keep the lock's session. A nil entry without an
// error says that the session is no more.
func (l *Locker) renew(ctx context.Context, lock *Lock) (*api.SessionEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, l.ttl/3)
	defer cancel()
	entry, _, err := l.client.Session().Renew(lock.Session, (&api.WriteOptions{}).WithContext(ctx))
	return entry, err
}

// Release gives the lock back. Its key disappears with its session.
func (l *Lock) Release(ctx context.Context) error {
	l.stop()
	<-l.done
	return l.destroy(ctx)
}

// destroy ends the session, also when ctx has been cancelled.
func (l *Lock) destroy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), watchTime)
	defer cancel()
	if _, err := l.client.Session().Destroy(l.Session, (&api.WriteOptions{}).WithContext(ctx)); err != nil {
		return fmt.Errorf("release %s: %w", l.Key, Classify(err))
	}
	return nil
}
