package registrator

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"
)

// testLabel is on everything that these tests leave to Docker, with the test's name.
const testLabel = "bg.registrator.test"

// childVariable holds the configuration of a registrator that runs as a process
// of its own, so that it can be killed.
const childVariable = "BG_REGISTRATOR_TEST_CHILD"

// soon is how long a test waits for what takes some 50 ms on an idle machine, or
// a few seconds after a daemon came back. What is promised about time, make burst holds.
const soon = time.Minute

// TestMain runs the tests, or is the registrator that one of them started.
func TestMain(m *testing.M) {
	if config := os.Getenv(childVariable); config != "" {
		if err := beRegistrator(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := manyAtOnce(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// manyAtOnce runs more tests at a time than there are processors, unless -parallel
// says otherwise: they mostly wait for Docker and Consul.
func manyAtOnce() error {
	const parallel = "test.parallel"
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == parallel })
	if given {
		return nil
	}
	return flag.Set(parallel, "4")
}

func beRegistrator(config string) error {
	var child struct {
		Config Config
		URI    string
	}
	if err := json.Unmarshal([]byte(config), &child); err != nil {
		return err
	}
	consul, err := NewConsul(child.URI)
	if err != nil {
		return err
	}
	docker, err := NewDocker()
	if err != nil {
		return err
	}
	r, err := New(child.Config, docker, consul, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	return r.Run(context.Background())
}

// configFor returns what a test's registrator starts from.
func configFor(hostname string) Config {
	return Config{Hostname: hostname, Deregister: Always, RetryInterval: 100 * time.Millisecond, RetryAttempts: -1}
}

// unique returns a name that no other test, run or user has.
func unique(t *testing.T, what string) string {
	t.Helper()
	id := make([]byte, 4)
	if _, err := rand.Read(id); err != nil {
		t.Fatal(err)
	}
	return "bgreg-" + what + "-" + hex.EncodeToString(id)
}

// eventually fails the test when check still returns an error after all the time
// that a loaded machine may need.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	eventuallyWithin(t, soon, check)
}

func eventuallyWithin(t *testing.T, within time.Duration, check func() error) {
	t.Helper()
	err := until(within, func() (bool, error) {
		err := check()
		return err == nil, err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// until calls check until it is over, and returns the last error.
func until(within time.Duration, check func() (over bool, err error)) error {
	deadline := time.After(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		over, err := check()
		if over {
			return err
		}
		select {
		case <-deadline:
			return fmt.Errorf("not within %s: %w", within, err)
		case <-tick.C:
		}
	}
}

// closes closes what a test has used.
func closes(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// diary is what a program wrote. It is shown when the test has failed, so that the
// figures of one that passed stand alone.
type diary struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func keepDiary(t *testing.T, program string) *diary {
	d := &diary{}
	t.Cleanup(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", program, d.text.String())
		}
	})
	return d
}

func (d *diary) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.Write(p)
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// running is a registrator under test.
type running struct {
	*Registrator
	stop func()
}

// startRegistrator runs a registrator until stop or the test's end.
func startRegistrator(t *testing.T, d *docker, uri string, cfg Config) running {
	t.Helper()
	consul, err := NewConsul(uri)
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(cfg, d.api, consul, slog.New(slog.NewTextHandler(keepDiary(t, "the registrator"), nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the registrator ended: %v", err)
		}
	})
	t.Cleanup(stop)
	return running{r, stop}
}

// synced waits until the registrator says that it is in step.
func (r running) synced(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		if h := r.status.health(); !h.Synced {
			return fmt.Errorf("health is %+v", h)
		}
		return nil
	})
}
