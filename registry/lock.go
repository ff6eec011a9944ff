package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"sync/atomic"
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
	Step       string    `json:"step,omitempty"` // the one that it is in
	Since      time.Time `json:"since"`
	// Process is the process itself, for those on the same machine.
	Process Process `json:"process,omitzero"`
}

// String returns the holder as a sentence's subject.
func (h Holder) String() string {
	s := fmt.Sprintf("%s@%s (pid %d) since %s", h.User, h.Host, h.PID, h.Since.Format(time.RFC3339))
	if h.Deployment != "" {
		s += ", deployment " + h.Deployment
	}
	if h.Step != "" {
		s += " in " + h.Step
	}
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
	least  atomic.Int64 // what this Consul allows, in nanoseconds; 0 while nobody asked for less
	log    *slog.Logger
}

// NewLocker returns a Locker whose locks are free at most ttl after their holder
// ended without a word. Consul ends a session after one to two times its own TTL, so
// that one is half of ttl; or the least that Consul allows (session_ttl_min, 10 s by
// default), after which a lock may be held for twice as long as that. A holder that
// ran on the machine of whoever wants the lock is found out at once.
func NewLocker(client *api.Client, ttl time.Duration, log *slog.Logger) *Locker {
	return &Locker{client: client, ttl: ttl, log: log}
}

// Lock is a lock that is held.
type Lock struct {
	Key     string
	Session string

	client *api.Client
	ttl    time.Duration // of the session
	holder Holder
	stop   context.CancelFunc
	done   chan struct{}
}

// At says which step of which deployment the holder is in. The journal writes it
// into the lock with the next document.
func (l *Lock) At(deployment, step string) { l.holder.Deployment, l.holder.Step = deployment, step }

// Acquire takes the lock on key for holder. When somebody else has it, it waits
// for up to wait and calls waiting with each holder it waits for; after that it
// fails with *HeldError. The context that it returns is cancelled, with ErrLost
// as its cause, when the lock is lost.
func (l *Locker) Acquire(ctx context.Context, key string, holder Holder, wait time.Duration, waiting func(Holder)) (context.Context, *Lock, error) {
	if holder.PID == os.Getpid() {
		holder.Process = thisProcess()
	}
	value, err := json.MarshalIndent(holder, "", "  ")
	if err != nil {
		return nil, nil, err
	}
	session, ttl, err := l.session(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	lock := &Lock{Key: key, Session: session, client: l.client, ttl: ttl, holder: holder, done: make(chan struct{})}
	// Renewed from here on: the wait may be longer than a session lives.
	held := l.keep(ctx, lock)
	if err := l.acquire(ctx, lock, value, wait, waiting); err != nil {
		return nil, nil, errors.Join(err, lock.Release(ctx))
	}
	return held, lock, nil
}

// session makes the session that holds key, and returns it with its TTL.
func (l *Locker) session(ctx context.Context, key string) (id string, ttl time.Duration, err error) {
	ttl = max(l.ttl/2, time.Duration(l.least.Load()))
	for {
		id, _, err = l.client.Session().Create(&api.SessionEntry{
			Name: "bg " + key, TTL: ttl.String(), Behavior: api.SessionBehaviorDelete,
			// Consul keeps a lock closed for 15 s after its session was
			// invalidated, unless told otherwise. Every effect of a deployment is
			// checked against the session, so nothing is gained by that.
			LockDelay: time.Millisecond,
		}, (&api.WriteOptions{}).WithContext(ctx))
		least := leastTTL(err)
		if least <= ttl {
			break
		}
		l.least.Store(int64(least))
		ttl = least
	}
	if err != nil {
		return "", 0, fmt.Errorf("create session for %s: %w", key, Classify(err))
	}
	return id, ttl, nil
}

// bounds finds the TTLs that Consul allows in its complaint about another one
// (agent/consul/session_endpoint.go).
var bounds = regexp.MustCompile(`Invalid Session TTL .*must be between \[([0-9a-zµ.]+)=`)

// leastTTL returns the TTL that Consul asks for instead of the one that it
// refused with err, 0 when that was not the reason.
func leastTTL(err error) time.Duration {
	if err == nil {
		return 0
	}
	found := bounds.FindStringSubmatch(err.Error())
	if found == nil {
		return 0
	}
	least, err := time.ParseDuration(found[1])
	if err != nil {
		return 0
	}
	return least
}

// acquire tries to get the lock until it has it or wait is over.
func (l *Locker) acquire(ctx context.Context, lock *Lock, value []byte, wait time.Duration, waiting func(Holder)) error {
	deadline, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var told Holder
	for {
		pair := &api.KVPair{Key: lock.Key, Value: value, Session: lock.Session}
		ok, _, err := l.client.KV().Acquire(pair, (&api.WriteOptions{}).WithContext(ctx))
		if err != nil {
			return fmt.Errorf("acquire %s: %w", lock.Key, Classify(err))
		}
		if ok {
			return nil
		}
		now, err := l.look(ctx, lock.Key, 0, watchTime)
		switch {
		case err != nil:
			return err
		case now.session == "": // it became free in this moment
			if err := pause(ctx, freePause); err != nil {
				return err
			}
			continue
		case now.holder.Process.ended():
			if err := l.evict(ctx, lock.Key, now); err != nil {
				return err
			}
			continue
		case deadline.Err() != nil:
			return hint.Wrap(&HeldError{Key: lock.Key, Holder: now.holder}, "wait for it with --lock-wait 5m")
		}
		if now.holder != told {
			told = now.holder
			waiting(told)
		}
		if _, err := l.look(deadline, lock.Key, now.index, now.holder.Process.patience()); err != nil && deadline.Err() == nil {
			return err
		}
	}
}

// evict ends the session of a holder that is no more.
func (l *Locker) evict(ctx context.Context, key string, dead hold) error {
	l.log.Warn("whoever held the lock was killed: it is free now", "key", key, "holder", dead.holder.String())
	if _, err := l.client.Session().Destroy(dead.session, (&api.WriteOptions{}).WithContext(ctx)); err != nil {
		return fmt.Errorf("free %s: %w", key, Classify(err))
	}
	return nil
}

// hold is what a lock's key says.
type hold struct {
	holder  Holder
	session string // "" when nobody holds it
	index   uint64
}

// look reads who holds key, and waits for a change when an index is given, but no
// longer than most.
func (l *Locker) look(ctx context.Context, key string, index uint64, most time.Duration) (hold, error) {
	options := &api.QueryOptions{RequireConsistent: true, WaitIndex: index, WaitTime: most}
	pair, meta, err := l.client.KV().Get(key, options.WithContext(ctx))
	if err != nil {
		return hold{}, fmt.Errorf("read %s: %w", key, Classify(err))
	}
	now := hold{index: meta.LastIndex}
	if pair == nil {
		return now, nil
	}
	now.session = pair.Session
	if err := json.Unmarshal(pair.Value, &now.holder); err != nil {
		now.holder = Holder{User: "somebody", Host: "unknown"} // it is held, whoever wrote it
	}
	return now, nil
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
		for pause(renewing, lock.ttl/3) == nil {
			entry, err := l.renew(renewing, lock)
			switch {
			case err == nil && entry != nil:
				last = time.Now()
			case err == nil || time.Since(last) > lock.ttl:
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
	ctx, cancel := context.WithTimeout(ctx, lock.ttl/3)
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
