package fault_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// build makes the program of testdata with or without the points.
func build(t *testing.T, tags string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "points")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", tags, "-o", program, "./testdata/points").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// pass runs the program through three points with a fault and a moved clock.
func pass(t *testing.T, program, fault, dir string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, "before", "switch", "in", "switch", "in", "switch")
	command.Env = append(os.Environ(), "BG_FAULT="+fault, "BG_FAULT_CLOCK=-1h", "BG_FAULT_DIR="+dir)
	out, err := command.Output()
	return string(out), err
}

const whole = "before switch\nin switch\nin switch\n"

func TestARealBuildHasNoPoints(t *testing.T) {
	real, faulty := build(t, ""), build(t, "faults")
	for program, want := range map[string]bool{real: false, faulty: true} {
		text, err := os.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(text, []byte("BG_FAULT")); got != want {
			t.Errorf("%s: the variable is in the program: %v", program, got)
		}
	}
	if out, err := pass(t, real, "kill:before:switch", t.TempDir()); err != nil || out != whole+"0s\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestAPointKillsAtTheVisitThatIsMeant(t *testing.T) {
	program := build(t, "faults")
	for fault, want := range map[string]string{
		"kill:before:switch": "", "kill:in:switch": "before switch\n", "kill:in:switch#2": "before switch\nin switch\n",
	} {
		out, err := pass(t, program, fault, t.TempDir())
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL || out != want {
			t.Errorf("%s: %q, %v", fault, out, err)
		}
	}
	if out, err := pass(t, program, "kill:in:elsewhere", t.TempDir()); err != nil || out != whole+"-1h0m0s\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestAPointWaitsUntilItIsTold(t *testing.T) {
	program, dir := build(t, "faults"), t.TempDir()
	type result struct {
		out string
		err error
	}
	done := make(chan result, 1)
	go func() {
		out, err := pass(t, program, "hold:in:switch", dir)
		done <- result{out, err}
	}()
	for deadline := time.Now().Add(time.Minute); ; {
		if _, err := os.Stat(filepath.Join(dir, "reached")); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond) // a file announces nothing
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.err != nil || !strings.HasPrefix(r.out, whole) {
		t.Errorf("%q, %v", r.out, r.err)
	}
}

func TestAFaultThatCannotHappenIsNoSilence(t *testing.T) {
	program := build(t, "faults")
	for _, fault := range []string{"explode:before:switch", "hold:before:switch"} {
		if out, err := pass(t, program, fault, filepath.Join(t.TempDir(), "none")); err == nil {
			t.Errorf("%s: no error: %q", fault, out)
		}
	}
}
