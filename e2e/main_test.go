// Package e2e runs bg, the program, against real Docker, Consul and nginx. Each
// scenario has a service, a Compose project and an nginx of its own; Consul and
// the registrator are shared by one run and end with it.
package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bg/internal/stacktest"
)

// Where a run finds the program, the sample and its own stack.
var (
	root   = must(filepath.Abs(".."))
	bg     = filepath.Join(root, "bin", program)
	sample = filepath.Join(root, "examples", "books-ms")
	stack  = stacktest.New(root, bg, "bge2e-")
)

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	defer tearDown()
	if err := stack.Up(); err != nil {
		fmt.Fprintln(os.Stderr, "the stack of the scenarios:", err)
		return 1
	}
	return m.Run()
}

func tearDown() {
	if err := stack.Down(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// output runs a command of the set-up in the checkout and returns what it
// printed.
func output(name string, args ...string) (string, error) { return stack.Output(name, args...) }

// result is what a command did.
type result struct {
	code        int
	out, report string
}

// execute runs a program to its end.
func execute(ctx context.Context, dir string, env []string, name string, args ...string) (result, error) {
	command := exec.CommandContext(ctx, name, args...)
	command.Dir, command.Env = dir, append(os.Environ(), env...)
	var out, report bytes.Buffer
	command.Stdout, command.Stderr = &out, &report
	err := command.Run()
	r := result{code: command.ProcessState.ExitCode(), out: out.String(), report: report.String()}
	if _, exited := err.(*exec.ExitError); exited { //nolint:errorlint // it comes from Run itself
		err = nil
	}
	return r, err
}

// docker runs the docker command and returns what it printed.
func docker(t testing.TB, args ...string) string {
	t.Helper()
	out, err := output("docker", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// answer is what a server said.
type answer struct {
	status int
	header http.Header
	body   string
}

// fetch makes one HTTP request.
func fetch(t testing.TB, method, url, body string) (answer, error) {
	t.Helper()
	// Not the test's own context: clean-up asks too.
	request, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true // an old connection may lead to an old worker of nginx
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(text)}, err
}

// consul makes one request to the API of the scenarios' Consul.
func consul(t testing.TB, method, path, body string) answer {
	t.Helper()
	a, err := fetch(t, method, "http://"+stack.Consul+"/v1/"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// eventually waits until check returns nil.
func eventually(t testing.TB, limit time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s: %v", limit, err)
		}
		time.Sleep(20 * time.Millisecond) // between two looks at something that tells nobody
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
