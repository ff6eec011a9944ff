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
	"net"
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
	bg     = filepath.Join(root, "bin", "bg")
	sample = filepath.Join(root, "examples", "books-ms")
	stack  = newStack()
)

// stackVars are the variables that make a stack of its own.
type stackVars struct {
	name   string
	consul string // the address of Consul's API
	redis  string // the sample's database, as containers reach it
	env    []string
}

func newStack() stackVars {
	name, consul, http := "bge2e-"+random(), strconv.Itoa(freePort()), strconv.Itoa(freePort())
	return stackVars{name: name, consul: "127.0.0.1:" + consul, env: []string{
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
		if out, err := exec.Command("make", "-s", "-C", sample, "image", "TAG="+tag, "IMAGE="+stack.name).CombinedOutput(); err != nil {
			return fmt.Errorf("build the sample: %w: %s", err, out)
		}
	}
	command := exec.Command(bg, "stack", "up")
	command.Env, command.Dir = append(os.Environ(), stack.env...), root
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("bg stack up: %w: %s", err, out)
	}
	return startRedis()
}

// startRedis starts the one database of the scenarios that need none of their
// own. Containers of other networks reach it where the default bridge publishes.
func startRedis() error {
	name := stack.name + "-redis"
	if out, err := exec.Command("docker", "run", "-d", "--name", name, "-p", "6379", "-l", "SERVICE_IGNORE=true", "redis:8").CombinedOutput(); err != nil {
		return fmt.Errorf("start Redis: %w: %s", err, out)
	}
	port, err := exec.Command("docker", "inspect", "-f", `{{(index (index .NetworkSettings.Ports "6379/tcp") 0).HostPort}}`, name).Output()
	if err != nil {
		return fmt.Errorf("find Redis's port: %w", err)
	}
	gateway, err := exec.Command("docker", "inspect", "-f", "{{.NetworkSettings.Gateway}}", name).Output()
	if err != nil {
		return fmt.Errorf("find the bridge's gateway: %w", err)
	}
	stack.redis = net.JoinHostPort(strings.TrimSpace(string(gateway)), strings.TrimSpace(string(port)))
	return nil
}

// tearDown ends the stack and removes this run's images.
func tearDown() {
	command := exec.Command(bg, "stack", "down", "--volumes")
	command.Env, command.Dir = append(os.Environ(), stack.env...), root
	if out, err := command.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "bg stack down: %v: %s\n", err, out)
	}
	if out, err := exec.Command("docker", "rm", "-fv", stack.name+"-redis").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "docker rm: %v: %s\n", err, out)
	}
	for _, image := range []string{stack.name + ":1.0", stack.name + ":2.0", "bg:" + stack.name} {
		if out, err := exec.Command("docker", "rmi", "-f", image).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "docker rmi %s: %v: %s\n", image, err, out)
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
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
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
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
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
