// Package consultest runs a real Consul agent beside the tests of a package.
package consultest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startTimeout is how long the agent may take to elect itself.
const startTimeout = time.Minute

// attempts is how often the agent is started: another process may take a port
// between the moment it is found free and the moment Consul listens on it.
const attempts = 3

// settings lets sessions live for a tenth of a second, so that tests need not
// wait for Consul's usual 10 s.
const settings = `session_ttl_min = "100ms" disable_update_check = true`

// Run runs the tests of m beside a Consul agent of their own, ends it, and
// returns the exit code. While they run, CONSUL_HTTP_ADDR names the agent and no
// other CONSUL_ variable is set. The program is BG_CONSUL_BIN, or consul in
// PATH; without one, no test runs and the code is 1.
func Run(m *testing.M) int {
	agent, err := start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "the Consul of the tests:", err)
		return 1
	}
	defer agent.end()
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "CONSUL_") {
			os.Unsetenv(name) //nolint:errcheck // it fails for malformed names only
		}
	}
	if err := os.Setenv("CONSUL_HTTP_ADDR", agent.address); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// agent is a running Consul.
type agent struct {
	address string
	command *exec.Cmd
	ended   chan struct{}
	log     strings.Builder // read after the end only
}

// Start runs one more agent until the end of t, with settings in HCL, and
// returns its address. One with access control needs a default token that may read
// nodes, by which it is seen to be ready.
func Start(t *testing.T, hcl string) string {
	t.Helper()
	a, err := start("-hcl=" + hcl)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.end)
	return a.address
}

func start(more ...string) (*agent, error) {
	program := os.Getenv("BG_CONSUL_BIN")
	if program == "" {
		var err error
		if program, err = exec.LookPath("consul"); err != nil {
			return nil, fmt.Errorf("set BG_CONSUL_BIN, or put consul into PATH (make bin/consul): %w", err)
		}
	}
	var errs []error
	for range attempts {
		a, err := launch(program, more...)
		if err == nil {
			return a, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// launch starts an agent on free ports and waits until it leads itself.
func launch(program string, more ...string) (*agent, error) {
	ports, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	a := &agent{address: fmt.Sprintf("127.0.0.1:%d", ports[0]), ended: make(chan struct{})}
	args := append([]string{
		"agent", "-dev", "-bind=127.0.0.1", "-log-level=error", "-hcl=" + settings,
		fmt.Sprint("-http-port=", ports[0]), fmt.Sprint("-server-port=", ports[1]), fmt.Sprint("-serf-lan-port=", ports[2]), fmt.Sprint("-serf-wan-port=", ports[3]),
		"-dns-port=-1", "-grpc-port=-1", "-grpc-tls-port=-1",
	}, more...)
	a.command = exec.CommandContext(context.Background(), program, args...)
	a.command.Stdout, a.command.Stderr = &a.log, &a.log
	// It ends also when the tests are killed.
	a.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := a.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = a.command.Wait() // it says that it was killed
		close(a.ended)
	}()
	if err := a.awaitLeader(); err != nil {
		a.end()
		return nil, fmt.Errorf("%w: %s", err, a.log.String())
	}
	return a, nil
}

// awaitLeader polls: a starting agent announces nothing. A leader takes no session
// before it has registered its own node.
func (a *agent) awaitLeader() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), startTimeout, fmt.Errorf("no leader within %s", startTimeout))
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if answers(ctx, a.address, "/v1/status/leader", `""`) && answers(ctx, a.address, "/v1/catalog/nodes", "[]") {
			return nil
		}
		select {
		case <-tick.C:
		case <-a.ended:
			return errors.New("it ended")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// answers reports whether the agent at address says something else than nothing.
func answers(ctx context.Context, address, path, nothing string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, http.NoBody)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return err == nil && answer.StatusCode == http.StatusOK && strings.TrimSpace(string(body)) != nothing
}

func (a *agent) end() {
	_ = a.command.Process.Kill() // it may have ended already
	<-a.ended
}

// freePorts returns n ports of the loopback that are free at this moment.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() //nolint:errcheck // that it was open is all there is to know
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
