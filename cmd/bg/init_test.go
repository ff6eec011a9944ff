package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"
)

// within runs bg in dir, with what stands on its standard input.
func within(t *testing.T, dir, input string, args ...string) result {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out, notes strings.Builder
	c := exec.CommandContext(t.Context(), self)
	c.Args, c.Dir, c.Stdin, c.Stdout, c.Stderr = append([]string{"bg"}, args...), dir, strings.NewReader(input), &out, &notes
	c.Env = append(os.Environ(), programVariable+"=yes")
	if err := c.Run(); err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	return result{code: c.ProcessState.ExitCode(), out: out.String(), err: notes.String()}
}

// dockerized is a folder with only a Dockerfile.
func dockerized(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "Books_MS")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\nEXPOSE 3000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// files returns how many files dir has.
func files(t *testing.T, dir string) int {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestInAPipeInitOnlyShowsUnlessItIsToldToWrite(t *testing.T) {
	dir := dockerized(t)
	got := within(t, dir, "y\n", "init")
	if got.code != exitDone || !strings.Contains(got.out, "=== bg.yml") || !strings.Contains(got.out, "service: books-ms") || !strings.Contains(got.err, "--yes writes") {
		t.Errorf("%+v", got)
	}
	if files(t, dir) != 1 {
		t.Error("something was written")
	}
	got = within(t, dir, "", "init", "shop", "--yes")
	if got.code != exitDone || !strings.Contains(got.err, "wrote Jenkinsfile") || files(t, dir) != 6 {
		t.Errorf("%+v", got)
	}
	text, err := os.ReadFile(filepath.Join(dir, "docker-compose.yml"))
	if err != nil || !strings.Contains(string(text), `ports: ["3000"]`) || !strings.Contains(string(text), "SERVICE_NAME: shop-green") {
		t.Errorf("%v: %s", err, text)
	}
	if got = within(t, dir, "", "init", "shop", "--yes"); !strings.Contains(got.out, "bg.yml: how it is deployed (exists, and stays as it is)") || strings.Contains(got.err, "wrote") {
		t.Errorf("%+v", got)
	}
}

func TestInitRefusesWhatCannotStandInItsFiles(t *testing.T) {
	for args, says := range map[string]string{
		"Shop":                        "letters",
		"shop --port 99999":           "--port",
		"shop --path /;drop":          "--path",
		"shop --health-path ping":     "health",
		"shop --image a;b":            "image",
		"shop --proxy-url nginx:8000": "proxy",
		"shop another":                "at most one argument",
		"shop -o xml":                 "table or json",
		"shop --proxy-container a;b":  "proxy",
	} {
		t.Run(args, func(t *testing.T) {
			dir := dockerized(t)
			got := within(t, dir, "", append([]string{"init", "--yes"}, strings.Fields(args)...)...)
			if got.code != exitUsage || !strings.Contains(got.err, says) || files(t, dir) != 1 {
				t.Errorf("%+v", got)
			}
		})
	}
	if got := within(t, t.TempDir(), "", "init", "shop", "--yes"); got.code != exitUsage || !strings.Contains(got.err, "hint:") {
		t.Errorf("%+v", got)
	}
}

func TestOnATerminalInitAsks(t *testing.T) {
	for answer, want := range map[string]int{"y\n": 6, "n\n": 1, "\n": 1} {
		dir := dockerized(t)
		terminal, program, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { terminal.Close(); program.Close() })
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		c := exec.CommandContext(t.Context(), self)
		c.Args, c.Dir, c.Stdin, c.Env = []string{"bg", "init", "shop"}, dir, program, append(os.Environ(), programVariable+"=yes")
		if _, err := io.WriteString(terminal, answer); err != nil {
			t.Fatal(err)
		}
		if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "Write these files? [y/N]") {
			t.Errorf("%v: %s", err, out)
		}
		if got := files(t, dir); got != want {
			t.Errorf("after %q there are %d files instead of %d", answer, got, want)
		}
	}
}
