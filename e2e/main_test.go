// Package e2e runs bg, the program, against real Docker, Consul and nginx. Each
// scenario has a service, a Compose project and an nginx of its own; Consul and
// the registrator are shared by one run and end with it.
package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Where a run finds the program, the sample and its own stack.
var (
	root   = must(filepath.Abs(".."))
	bg     = filepath.Join(root, "bin", program)
	sample = filepath.Join(root, "examples", "books-ms")
	stack  = newStack()
)

// stackVars are the variables that make a stack of its own.
type stackVars struct {
	name     string
	consul   string // the address of Consul's API
	redis    string // the sample's database, as containers reach it
	host     string // where its Docker publishes ports
	hostPort string // of an nginx in the network of its Docker; "": it has one of its own
	env      []string
}

func newStack() stackVars {
	name, consul, http := "bge2e-"+random(), strconv.Itoa(freePort()), strconv.Itoa(freePort())
	return stackVars{name: name, consul: "127.0.0.1:" + consul, host: "127.0.0.1", env: []string{
		"BG_STACK=" + name, "BG_CONSUL_PORT=" + consul, "BG_HTTP_PORT=" + http,
		"BG_NGINX_CONTAINER=" + name + "-nginx", "BG_STACK_IMAGE=bg:" + name,
	}}
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if err := setUp(); err != nil {
		fmt.Fprintln(os.Stderr, "the stack of the scenarios:", err)
		tearDown()
		return 1
	}
	defer tearDown()
	return m.Run()
}

// setUp builds the sample's images and starts the shared stack.
func setUp() error {
	for _, tag := range []string{"1.0", "2.0"} {
		if _, err := output("make", "-s", "-C", sample, "image", "TAG="+tag, "IMAGE="+stack.name); err != nil {
			return err
		}
	}
	if _, err := output(bg, "stack", "up"); err != nil {
		return err
	}
	return stack.startRedis()
}

// output runs a command of the set-up in the checkout and returns what it
// printed.
func output(name string, args ...string) (string, error) { return stack.output(name, args...) }

// output is output with the variables of this stack.
func (s *stackVars) output(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, name, args...)
	command.Env, command.Dir = append(os.Environ(), s.env...), root
	out, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// startRedis starts the one database of the scenarios that need none of their
// own. Containers of other networks reach it where the default bridge publishes.
func (s *stackVars) startRedis() error {
	name := s.name + "-redis"
	if _, err := s.output("docker", "run", "-d", "--name", name, "-p", "6379", "-l", "SERVICE_IGNORE=true", "redis:8"); err != nil {
		return err
	}
	address, err := s.output("docker", "inspect", "-f", `{{.NetworkSettings.Gateway}}:{{(index (index .NetworkSettings.Ports "6379/tcp") 0).HostPort}}`, name)
	s.redis = address
	return err
}

// tearDown ends the stack and removes this run's images.
func tearDown() {
	for _, command := range [][]string{
		{bg, "stack", "down", "--volumes"},
		{"docker", "rm", "-fv", stack.name + "-redis"},
		{"docker", "rmi", "-f", stack.name + ":1.0", stack.name + ":2.0", "bg:" + stack.name},
	} {
		if _, err := output(command[0], command[1:]...); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

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
	a, err := fetch(t, method, "http://"+stack.consul+"/v1/"+path, body)
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

func freePort() int {
	l := must(new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0"))
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		panic(err)
	}
	return port
}

func random() string {
	b := make([]byte, 3)
	must(rand.Read(b))
	return hex.EncodeToString(b)
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
