//go:build faults

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bg/internal/stacktest"
)

// site is a Consul of one or three servers and a registrator, as processes that
// a cell can kill.
type site struct {
	stacktest.Stack
	t           *testing.T
	servers     []*process
	addresses   []string // of the servers' APIs
	registrator *process
	engine      *engine // nil: the machine's Docker
}

// newSite starts a site beside the machine's Docker.
func newSite(t *testing.T, servers int) *site {
	t.Helper()
	s := &site{t: t, Stack: stacktest.Stack{Name: stack.Name, Root: root, Redis: stack.Redis, Host: "127.0.0.1"}}
	s.startConsul(servers)
	s.startRegistrator("")
	return s
}

// startConsul starts servers that find each other, and waits for their leader.
func (s *site) startConsul(number int) {
	s.t.Helper()
	var serf []string
	for range number {
		serf = append(serf, fmt.Sprint("127.0.0.1:", fixedPort()))
	}
	for n := range number {
		api := fmt.Sprint("127.0.0.1:", fixedPort())
		s.addresses = append(s.addresses, api)
		_, port, _ := net.SplitHostPort(api)
		_, lan, _ := net.SplitHostPort(serf[n])
		args := []string{"agent", "-server", "-bind=127.0.0.1", "-client=127.0.0.1", "-data-dir=" + s.t.TempDir(), "-node=" + fmt.Sprint("n", n),
			fmt.Sprint("-bootstrap-expect=", number), "-http-port=" + port, "-serf-lan-port=" + lan, fmt.Sprint("-server-port=", fixedPort()),
			"-serf-wan-port=-1", "-dns-port=-1", "-grpc-port=-1", "-grpc-tls-port=-1", "-log-level=error",
			"-hcl=performance { raft_multiplier = 1 } disable_update_check = true"}
		for _, other := range serf[:n] {
			args = append(args, "-retry-join="+other, "-retry-interval=500ms")
		}
		s.servers = append(s.servers, startProcess(s.t, filepath.Join(root, "bin", "consul"), nil, args...))
	}
	s.Consul = s.addresses[0]
	for _, address := range s.addresses {
		s.led(address)
	}
}

// led waits until a server knows a leader that takes a write.
func (s *site) led(address string) {
	s.t.Helper()
	eventually(s.t, 2*time.Minute, func() error {
		a, err := fetch(s.t, http.MethodPut, "http://"+address+"/v1/kv/bg-faults-ready", "yes")
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%d: %s", a.status, a.body)
		}
		return err
	})
}

// leader returns the number of the server that leads.
func (s *site) leader() int {
	s.t.Helper()
	for n, address := range s.addresses {
		if a, err := fetch(s.t, http.MethodGet, "http://"+address+"/v1/agent/self", ""); err == nil && strings.Contains(a.body, `"leader":"true"`) {
			return n
		}
	}
	s.t.Fatal("no server leads")
	return 0
}

// startRegistrator starts the registrator, for a Docker at host or the machine's.
func (s *site) startRegistrator(host string, args ...string) {
	s.t.Helper()
	args = append([]string{"registrator", "-cleanup", "-retry-attempts=-1", "-retry-interval=200", "-hostname=" + s.Name}, args...)
	var env []string
	if host != "" {
		env = []string{"DOCKER_HOST=" + host}
	}
	s.registrator = startProcess(s.t, bg, env, append(args, "consul://"+s.Consul)...)
}

// process is a program that ends with its test.
type process struct {
	t       *testing.T
	command []string
	env     []string
	started *exec.Cmd
	ended   chan struct{}
}

// startProcess starts a program. What it wrote is shown when the test fails.
func startProcess(t *testing.T, name string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, command: append([]string{name}, args...), env: env}
	p.start()
	t.Cleanup(p.kill)
	return p
}

// start starts it, the first time or again.
func (p *process) start() {
	p.t.Helper()
	log := &buffer{}
	p.t.Cleanup(func() {
		if p.t.Failed() {
			p.t.Logf("%s wrote:\n%s", filepath.Base(p.command[0]), log.end())
		}
	})
	p.started = exec.CommandContext(context.WithoutCancel(p.t.Context()), p.command[0], p.command[1:]...)
	p.started.Env = append(os.Environ(), p.env...)
	p.started.Stdout, p.started.Stderr = log, log
	p.started.WaitDelay = time.Second                                        // a child may hold its output open
	p.started.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it ends also when the tests are killed
	if err := p.started.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended, command := make(chan struct{}), p.started
	p.ended = ended
	go func() {
		_ = command.Wait() // it says that it was killed
		close(ended)
	}()
}

// kill ends it at once.
func (p *process) kill() {
	_ = p.started.Process.Kill() // it may have ended
	<-p.ended
}

// buffer keeps what a program writes.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// end returns the last part of it.
func (b *buffer) end() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := b.text.String()
	return text[max(0, len(text)-8000):]
}

// fixedPort returns a free port that no program is given by chance: one that can
// be taken again after its owner was away.
func fixedPort() int {
	for {
		port := 20000 + rand.IntN(12000)
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", fmt.Sprint("127.0.0.1:", port))
		if err == nil {
			must(0, l.Close())
			return port
		}
	}
}
