package registrator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hashicorp/consul/api"
)

// consul is a real Consul agent, a server of its own.
type consul struct {
	t       *testing.T
	args    []string
	process *os.Process
	ended   <-chan struct{}
	addr    string
	data    string // its directory
	log     *diary
	api     *api.Client
}

// consulBinary finds Consul in BG_CONSUL_BIN or in PATH.
var consulBinary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("BG_CONSUL_BIN"); path != "" {
		return path, nil
	}
	path, err := exec.LookPath("consul")
	if err != nil {
		return "", fmt.Errorf("set BG_CONSUL_BIN, or put consul into PATH (make bin/consul): %w", err)
	}
	return path, nil
})

// startConsul starts an agent that keeps its data on disk, with more arguments.
func startConsul(t *testing.T, more ...string) *consul {
	t.Helper()
	c := &consul{t: t, data: filepath.Join(t.TempDir(), "data"), log: keepDiary(t, "Consul")}
	t.Cleanup(c.kill)
	for attempt := 1; ; attempt++ {
		c.arrange(more)
		err := c.launch()
		if err == nil {
			return c
		}
		if c.kill(); attempt == 3 { // somebody may have taken a port that was free
			t.Fatal(err)
		}
	}
}

// arrange chooses ports.
func (c *consul) arrange(more []string) {
	c.t.Helper()
	ports := freePorts(c.t, 4)
	c.addr = fmt.Sprintf("127.0.0.1:%d", ports[0])
	performance := `performance { raft_multiplier = 1 } disable_update_check = true`
	c.args = append([]string{"agent", "-server", "-bootstrap-expect=1", "-data-dir", c.data, "-bind=127.0.0.1",
		"-client=127.0.0.1", "-log-level=warn", "-node=" + unique(c.t, "node"), "-hcl=" + performance,
		fmt.Sprint("-http-port=", ports[0]), fmt.Sprint("-server-port=", ports[1]), fmt.Sprint("-serf-lan-port=", ports[2]),
		fmt.Sprint("-serf-wan-port=", ports[3]), "-dns-port=-1", "-grpc-port=-1", "-grpc-tls-port=-1"}, more...)
	c.login("")
}

// value returns what the agent was started with after flag, which ends with its =.
func (c *consul) value(flag string) string {
	c.t.Helper()
	for _, arg := range c.args {
		if value, ok := strings.CutPrefix(arg, flag); ok {
			return value
		}
	}
	c.t.Fatalf("no %s among %q", flag, c.args)
	return ""
}

// gossip returns the address at which others join.
func (c *consul) gossip() string { return "127.0.0.1:" + c.value("-serf-lan-port=") }

// node returns the agent's name.
func (c *consul) node() string { return c.value("-node=") }

// login makes the test's own client use a token.
func (c *consul) login(token string) {
	c.t.Helper()
	config := api.DefaultConfig()
	config.Address, config.Token = c.addr, token
	client, err := api.NewClient(config)
	if err != nil {
		c.t.Fatal(err)
	}
	c.api = client
}

// start starts the agent again, with the ports that it had.
func (c *consul) start() {
	c.t.Helper()
	if err := c.launch(); err != nil {
		c.t.Fatal(err)
	}
}

// launch starts the agent and waits until it leads itself.
func (c *consul) launch() error {
	binary, err := consulBinary()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(context.WithoutCancel(c.t.Context()), binary, c.args...)
	cmd.Stdout, cmd.Stderr = c.log, c.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // why it ended is in its log
		close(ended)
	}()
	c.process, c.ended = cmd.Process, ended
	return until(soon, func() (bool, error) {
		select {
		case <-ended:
			return true, errors.New("Consul has ended")
		default:
		}
		leader, err := c.api.Status().Leader()
		if err == nil && leader == "" {
			err = errors.New("Consul has no leader")
		}
		return err == nil, err
	})
}

// kill is kill -9. Killing twice is fine.
func (c *consul) kill() {
	if c.process != nil {
		_ = c.process.Kill() // it may have ended
		<-c.ended
	}
}

func (c *consul) uri() string { return "consul://" + c.addr }

// services returns the agent's services whose ids begin with prefix.
func (c *consul) services(prefix string) (map[string]*api.AgentService, error) {
	all, err := c.api.Agent().Services()
	for id := range all {
		if !strings.HasPrefix(id, prefix) {
			delete(all, id)
		}
	}
	return all, err
}

// has fails until exactly these ids begin with prefix in the agent.
func (c *consul) has(prefix string, ids ...string) error {
	services, err := c.services(prefix)
	if err != nil {
		return err
	}
	if got := slices.Sorted(maps.Keys(services)); !slices.Equal(got, slices.Sorted(slices.Values(ids))) {
		return fmt.Errorf("Consul has %q, want %q", got, ids)
	}
	return nil
}

// catalogIDs returns the ids that the catalog, which lookups read, has for a service.
func (c *consul) catalogIDs(service string) (map[string]*api.CatalogService, error) {
	entries, _, err := c.api.Catalog().Service(service, "", &api.QueryOptions{RequireConsistent: true})
	ids := map[string]*api.CatalogService{}
	for _, e := range entries {
		ids[e.ServiceID] = e
	}
	return ids, err
}

// handedOut are the ports that tests of this process have, whether they use them
// at the moment or not.
var handedOut sync.Map

// freePorts returns free ports from a range below the one (from 32768) that the
// kernel and Docker choose from, so that nobody is given one of them before it is
// used, or while a Consul that was killed is down.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	const from, to = 16000, 32000
	var ports []int
	for len(ports) < n {
		port := from + rand.IntN(to-from)
		if _, taken := handedOut.LoadOrStore(port, true); taken {
			continue
		}
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		closes(t, l)
		ports = append(ports, port)
	}
	return ports
}
