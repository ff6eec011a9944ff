package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bg/deploy"
	"bg/internal/consultest"
)

var update = flag.Bool("update", false, "write the golden files")

// programVariable makes the program of the tests bg itself.
const programVariable = "BG_TEST_PROGRAM"

// TestMain runs the tests, or is the bg that one of them started: a program of
// its own, as urfave/cli keeps what an earlier command line did to its help.
func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		main()
		return
	}
	os.Exit(consultest.Run(m))
}

// golden compares got with the golden text of that name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// result is what a command line did.
type result struct {
	code     int
	out, err string
}

// command runs a command line in a folder that has files, without the settings
// of the shell that runs the tests.
func command(t *testing.T, files map[string]string, args ...string) result {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, notes bytes.Buffer
	c := exec.CommandContext(ctx, self)
	// Help texts name the program as it was called.
	c.Args, c.Dir, c.Stdout, c.Stderr = append([]string{"bg"}, args...), dir, &out, &notes
	c.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "BG_") }), programVariable+"=yes")
	if err := c.Run(); err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	return result{code: c.ProcessState.ExitCode(), out: out.String(), err: notes.String()}
}

func TestTheFirstSignalInterruptsAndSaysWhatASecondOneDoes(t *testing.T) {
	for name, s := range map[string]syscall.Signal{"ctrl-C": syscall.SIGINT, "Jenkins": syscall.SIGTERM, "a terminal that went away": syscall.SIGHUP} {
		t.Run(name, func(t *testing.T) {
			var notes bytes.Buffer
			ctx, stop := interruptible(t.Context(), &notice{to: &notes})
			defer stop()
			if err := syscall.Kill(os.Getpid(), s); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Second):
				t.Fatal("nothing was interrupted")
			}
			if !strings.Contains(notes.String(), "a second one ends bg at once") {
				t.Errorf("said: %s", notes.String())
			}
			if got := exitCode(&deploy.StepError{Verb: deploy.Pretest, Err: context.Cause(ctx)}); got != exitInterrupted {
				t.Errorf("exit code %d", got)
			}
		})
	}
}

func TestWithoutASignalNothingIsInterrupted(t *testing.T) {
	var notes bytes.Buffer
	ctx, stop := interruptible(t.Context(), &notice{to: &notes})
	stop()
	if errors.Is(context.Cause(ctx), deploy.ErrInterrupted) || notes.Len() > 0 {
		t.Errorf("%v, said: %s", context.Cause(ctx), notes.String())
	}
}
