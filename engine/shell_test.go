package engine_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestCommandsOfAShellAreToldApart(t *testing.T) {
	t.Parallel()
	h := nginxHost(t)
	all := make([]byte, 300_000)
	if _, err := rand.Read(all); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"nothing": {}, "a line": []byte("a\n"), "no line's end": []byte("a"), "every byte": all, "lines": bytes.Repeat([]byte("\n"), 10_000)} {
		out, stderr, err := h.Run(t.Context(), []string{"cat"}, data)
		if err != nil || !bytes.Equal(out, data) || len(stderr) > 0 {
			t.Errorf("%s: %d bytes came back of %d, %q, %v", name, len(out), len(data), stderr, err)
		}
	}
	for _, word := range []string{"", " ", "a'b", `a"b\c`, "$HOME `id` $(id)", "a\nb", "-n", "*", "bg-MARK 0\n"} {
		out, _, err := h.Run(t.Context(), []string{"printf", "%s", word}, nil)
		if err != nil || string(out) != word {
			t.Errorf("%q came back as %q, %v", word, out, err)
		}
	}
	if _, _, err := h.Run(t.Context(), []string{"sh", "-c", "exit 3"}, nil); err == nil || !strings.Contains(err.Error(), "exit code 3") {
		t.Errorf("%v", err)
	}
	if _, _, err := h.Run(t.Context(), []string{"no-such-command"}, nil); err == nil || !strings.Contains(err.Error(), "exit code 127") {
		t.Errorf("%v", err)
	}
	// The shell's input is not the command's.
	if out, _, err := h.Run(t.Context(), []string{"cat"}, nil); err != nil || len(out) > 0 {
		t.Errorf("%q, %v", out, err)
	}
}

func TestACommandThatIsGivenUpDisturbsNoOther(t *testing.T) {
	t.Parallel()
	h := nginxHost(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { cancel(errors.New("given up")) })
	if _, _, err := h.Run(ctx, []string{"sh", "-c", "sleep 60; echo late"}, nil); err == nil || !strings.Contains(err.Error(), "given up") {
		t.Errorf("%v", err)
	}
	if out, _, err := h.Run(t.Context(), []string{"echo", "now"}, nil); err != nil || string(out) != "now\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestAShellEndsWhenItIsNotUsed(t *testing.T) {
	t.Parallel()
	h, docker, name := nginxContainer(t, "")
	shells := func() (n int) {
		top, err := docker.ContainerTop(t.Context(), name, []string{"-eo", "pid,args"})
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range top.Processes {
			if line[1] == "sh" {
				n++
			}
		}
		return n
	}
	if _, _, err := h.Run(t.Context(), []string{"true"}, nil); err != nil {
		t.Fatal(err)
	}
	if shells() != 1 {
		t.Errorf("%d shells are kept after a command", shells())
	}
	for deadline := time.Now().Add(30 * time.Second); shells() > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d shells are left after 30 s", shells())
		}
	}
}
