package registry

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// sleeper starts a process that holds a lock, as far as its value says.
func sleeper(t *testing.T) (Holder, *exec.Cmd) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "sleep", "600")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill() // it may have ended
		_ = command.Wait()         // the same
	})
	of := thisProcess()
	of.PID = command.Process.Pid
	var err error
	if _, of.Start, err = stat("/proc", of.PID); err != nil || of.Boot == "" {
		t.Fatalf("%+v, %v", of, err)
	}
	return Holder{User: "ann", Host: "here", PID: of.PID, Process: of}, command
}

func TestALockWhoseHolderWasKilledOnThisMachineIsFreeAtOnce(t *testing.T) {
	for name, end := range map[string]func(*exec.Cmd) error{
		"not yet waited for": func(c *exec.Cmd) error { return c.Process.Kill() },
		"gone":               func(c *exec.Cmd) error { return errors.Join(c.Process.Kill(), ignoreExit(c.Wait())) },
	} {
		t.Run(name, func(t *testing.T) {
			key, l := unique()+"/lock", quiet(t, time.Hour)
			holder, command := sleeper(t)
			if _, _, err := l.Acquire(t.Context(), key, holder, 0, nil); err != nil {
				t.Fatal(err)
			}
			if _, _, err := l.Acquire(t.Context(), key, bob, 0, nil); err == nil {
				t.Fatal("it is taken from a process that runs")
			}
			if err := end(command); err != nil {
				t.Fatal(err)
			}
			// The kernel may take a moment to end it, and the lock's time is an hour.
			_, lock, err := l.Acquire(t.Context(), key, bob, time.Minute, func(Holder) {
				t.Log("it still runs")
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := lock.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// ignoreExit returns err when it is not about how a process ended.
func ignoreExit(err error) error {
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		return nil
	}
	return err
}

func TestOnlyAProcessOfThisBootAndNamespaceIsKnownToHaveEnded(t *testing.T) {
	this := thisProcess()
	if this.ended() {
		t.Error("this process has ended")
	}
	tests := map[string]struct {
		change func(*Process)
		want   bool
	}{
		"another start under the same PID":     {func(p *Process) { p.Start = "1" }, true},
		"another boot":                         {func(p *Process) { p.Start, p.Boot = "1", "another" }, false},
		"another container":                    {func(p *Process) { p.Start, p.Namespace = "1", "pid:[1]" }, false},
		"another machine, cloned while it ran": {func(p *Process) { p.Start, p.Host = "1", "another" }, false},
		"a clock of its own":                   {func(p *Process) { p.Start, p.Time = "1", "time:[1]" }, false},
		"nothing known":                        {func(p *Process) { *p = Process{} }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := this
			tt.change(&p)
			if p.ended() != tt.want {
				t.Errorf("%+v: ended is %t", p, !tt.want)
			}
		})
	}
}

func TestAProcOfAnotherPIDNamespaceNamesNoProcess(t *testing.T) {
	pid := strconv.Itoa(os.Getpid())
	for self, want := range map[string]Process{pid: thisProcess(), "1": {}} {
		root := t.TempDir()
		for name, target := range map[string]string{"sys": "/proc/sys", "1": "/proc/" + pid, pid: "/proc/" + pid, "self": self} {
			if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
				t.Fatal(err)
			}
		}
		if got := processIn(root, os.Getpid()); got != want {
			t.Errorf("self is %s: %+v", self, got)
		}
	}
}

func TestTheJournalWritesIntoTheLockHowFarItsHolderIs(t *testing.T) {
	service := unique()
	journal, l := NewJournal(consul(t), ""), quiet(t, time.Minute)
	_, lock := held(t, l, journal.LockKey(service), ann)
	lock.At("20261121-010203-7f3a", "switch")
	if err := journal.Save(t.Context(), lock, service, "20261121-010203-7f3a", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	pair, _, err := consul(t).KV().Get(lock.Key, nil)
	if err != nil {
		t.Fatal(err)
	}
	var holder Holder
	if err := json.Unmarshal(pair.Value, &holder); err != nil {
		t.Fatal(err)
	}
	want := "ann@ci-1 (pid 11) since 2026-11-21T01:02:03Z, deployment 20261121-010203-7f3a in switch, https://ci.example/12/"
	if holder.String() != want || pair.Session != lock.Session {
		t.Errorf("%s, session %s", holder, pair.Session)
	}
}

func TestASessionLivesHalfOfALocksTimeOrTheLeastThatConsulAllows(t *testing.T) {
	for _, tt := range []struct{ ttl, want time.Duration }{
		{15 * time.Second, 7500 * time.Millisecond},
		{100 * time.Millisecond, 100 * time.Millisecond}, // the least of the tests' Consul
	} {
		t.Run(tt.ttl.String(), func(t *testing.T) {
			_, lock := held(t, quiet(t, tt.ttl), unique()+"/lock", ann)
			entry, _, err := consul(t).Session().Info(lock.Session, nil)
			if err != nil || entry == nil {
				t.Fatalf("%v, %v", entry, err)
			}
			if got, err := time.ParseDuration(entry.TTL); err != nil || got != tt.want || lock.ttl != tt.want {
				t.Errorf("it lives %s, renewed for %s, %v", entry.TTL, lock.ttl, err)
			}
		})
	}
}

func TestTheLeastTTLIsReadFromConsulsComplaint(t *testing.T) {
	said := errors.New("Unexpected response code: 500 (Invalid Session TTL '7500000000', must be between [10s=24h0m0s])")
	if got := leastTTL(said); got != 10*time.Second {
		t.Errorf("%s", got)
	}
	if got := leastTTL(errors.New("Unexpected response code: 500 (No cluster leader)")); got != 0 {
		t.Errorf("%s", got)
	}
}
