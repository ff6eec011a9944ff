package registry

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bg/hint"
)

var (
	ann = Holder{User: "ann", Host: "ci-1", PID: 11, Build: "https://ci.example/12/", Since: time.Date(2026, 11, 21, 1, 2, 3, 0, time.UTC)}
	bob = Holder{User: "bob", Host: "laptop", PID: 22, Since: time.Date(2026, 11, 21, 1, 3, 0, 0, time.UTC)}
)

// held takes a lock that is free, and gives it back at the end of the test.
func held(t *testing.T, l *Locker, key string, holder Holder) (context.Context, *Lock) {
	t.Helper()
	ctx, lock, err := l.Acquire(t.Context(), key, holder, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lock.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return ctx, lock
}

func TestALockSaysWhoHoldsIt(t *testing.T) {
	key := unique() + "/lock"
	_, lock := held(t, quiet(t, time.Minute), key, ann)
	pair, _, err := consul(t).KV().Get(key, nil)
	if err != nil || pair == nil {
		t.Fatalf("%v, %v", pair, err)
	}
	var holder Holder
	if err := json.Unmarshal(pair.Value, &holder); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ann, holder); diff != "" || pair.Session != lock.Session {
		t.Errorf("session %s, value (-want +got):\n%s", pair.Session, diff)
	}
	want := "ann@ci-1 (pid 11) since 2026-11-21T01:02:03Z, https://ci.example/12/"
	if holder.String() != want {
		t.Errorf("it reads %q", holder)
	}
}

func TestALockThatIsHeldIsRefusedWithItsHolder(t *testing.T) {
	key, l := unique()+"/lock", quiet(t, time.Minute)
	held(t, l, key, ann)
	for name, wait := range map[string]time.Duration{"at once": 0, "after a while": 50 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			ctx, lock, err := l.Acquire(t.Context(), key, bob, wait, func(Holder) {})
			refused, ok := errors.AsType[*HeldError](err)
			if !ok || refused.Key != key || refused.Holder != ann || hint.Of(err) == "" {
				t.Fatalf("%v", err)
			}
			if ctx != nil || lock != nil {
				t.Error("there is a lock all the same")
			}
		})
	}
	sessions, _, err := consul(t).Session().List(nil)
	if err != nil {
		t.Fatal(err)
	}
	left := 0
	for _, s := range sessions {
		if s.Name == "bg "+key {
			left++
		}
	}
	if left != 1 {
		t.Errorf("%d sessions for one lock", left)
	}
}

func TestALockThatSomebodyElseMadeIsHeldByUnknown(t *testing.T) {
	key, l := unique()+"/lock", quiet(t, time.Minute)
	_, lock := held(t, l, key, ann)
	pair, _, err := consul(t).KV().Get(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	pair.Value, pair.Session = []byte("by hand"), lock.Session
	if _, _, err := consul(t).KV().Acquire(pair, nil); err != nil {
		t.Fatal(err)
	}
	_, _, err = l.Acquire(t.Context(), key, bob, 0, nil)
	if refused, ok := errors.AsType[*HeldError](err); !ok || refused.Holder.User != "somebody" {
		t.Errorf("%v", err)
	}
}

func TestAWaitingLockIsTakenWhenItIsReleased(t *testing.T) {
	key, l := unique()+"/lock", quiet(t, time.Minute)
	_, first, err := l.Acquire(t.Context(), key, ann, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	waits, got := make(chan Holder, 1), make(chan error, 1)
	go func() {
		_, second, err := l.Acquire(t.Context(), key, bob, time.Minute, func(h Holder) { waits <- h })
		if err == nil {
			err = second.Release(t.Context())
		}
		got <- err
	}()
	if holder := within(t, 10*time.Second, "the second one waits", waits); holder != ann {
		t.Errorf("it waits for %s", holder)
	}
	if err := first.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Less than what one blocking query may last: the release has to wake it.
	if err := within(t, watchTime/2, "the second one gets the lock", got); err != nil {
		t.Error(err)
	}
}

func TestAWaitMayLastLongerThanASessionLives(t *testing.T) {
	const ttl = 400 * time.Millisecond // Consul ends a session after up to twice this time
	key := unique() + "/lock"
	_, first, err := quiet(t, time.Minute).Acquire(t.Context(), key, ann, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		_, second, err := quiet(t, ttl).Acquire(t.Context(), key, bob, time.Minute, func(Holder) {})
		if err == nil {
			err = second.Release(t.Context())
		}
		got <- err
	}()
	timer := time.NewTimer(4 * ttl)
	defer timer.Stop()
	select {
	case err := <-got:
		t.Fatalf("it did not wait: %v", err)
	case <-timer.C:
	}
	if err := first.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := within(t, watchTime/2, "the second one gets the lock", got); err != nil {
		t.Error(err)
	}
}

func TestAnInterruptEndsTheWait(t *testing.T) {
	key, l := unique()+"/lock", quiet(t, time.Minute)
	held(t, l, key, ann)
	ctx, cancel := context.WithCancel(t.Context())
	_, _, err := l.Acquire(ctx, key, bob, time.Minute, func(Holder) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestALockIsKeptForLongerThanItsSessionLivesUnrenewed(t *testing.T) {
	const ttl = 400 * time.Millisecond
	key := unique() + "/lock"
	ctx, _ := held(t, quiet(t, ttl), key, ann)
	timer := time.NewTimer(4 * ttl)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		t.Errorf("%v", context.Cause(ctx))
	case <-timer.C:
	}
	if pair, _, err := consul(t).KV().Get(key, nil); err != nil || pair == nil {
		t.Errorf("%v, %v", pair, err)
	}
}

func TestALockThatConsulTookAwayEndsItsContext(t *testing.T) {
	ctx, lock := held(t, quiet(t, time.Second), unique()+"/lock", ann)
	if _, err := consul(t).Session().Destroy(lock.Session, nil); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "the context ends", ctx.Done())
	if cause := context.Cause(ctx); !errors.Is(cause, ErrLost) {
		t.Errorf("cause: %v", cause)
	}
}

func TestAReleasedLockIsFreeAlsoAfterAnInterrupt(t *testing.T) {
	key, l := unique()+"/lock", quiet(t, time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	ctx, lock, err := l.Acquire(ctx, key, ann, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := lock.Release(ctx); err != nil {
		t.Fatal(err)
	}
	if pair, _, err := consul(t).KV().Get(key, nil); err != nil || pair != nil {
		t.Errorf("the key is still there: %v, %v", pair, err)
	}
	held(t, l, key, bob)
}
