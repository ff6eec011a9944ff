package registrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
)

func TestRefusedCallsAreRepeatedUntilTheyHold(t *testing.T) {
	t.Parallel()
	c, d := startConsul(t), useDocker(t)
	middle := record(t, c)
	host, name := unique(t, "host"), unique(t, "web")
	r := startRegistrator(t, d, middle.uri(), configFor(host))
	r.synced(t)

	middle.failing("/v1/agent/service/", http.StatusInternalServerError)
	id := d.run(serving(name))
	eventually(t, func() error {
		if n := middle.count(host + ":" + name); n < 3 {
			return fmt.Errorf("%d attempts", n)
		}
		return nil
	})
	if r.status.health().Synced {
		t.Error("healthy while nothing can be registered")
	}
	middle.failing("", 0)
	eventually(t, func() error { return c.has(host+":"+name, host+":"+name+":80") })

	middle.failing("/v1/agent/service/deregister", http.StatusInternalServerError)
	d.stop(id)
	eventually(t, func() error {
		if r.status.health().Error == "" {
			return errors.New("no failure yet")
		}
		return nil
	})
	middle.failing("", 0)
	eventually(t, func() error { return c.has(host + ":" + name) })
	eventually(t, func() error {
		if h := r.status.health(); !h.Synced {
			return fmt.Errorf("health is %+v", h)
		}
		return nil
	})
}

func TestOneServiceThatConsulRefusesDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	c, d := startConsul(t), useDocker(t) // script checks are off
	host, bad, good := unique(t, "host"), unique(t, "bad"), unique(t, "good")
	d.run(serving(bad, "SERVICE_CHECK_SCRIPT=true"))
	r := startRegistrator(t, d, c.uri(), configFor(host))
	r.synced(t)
	d.run(serving(good))
	eventually(t, func() error { return c.has(host+":"+good, host+":"+good+":80") })
	eventually(t, func() error {
		if h := r.status.health(); !h.Synced || !strings.Contains(h.Error, bad) {
			return fmt.Errorf("health is %+v, want synced with the refusal of %s", h, bad)
		}
		return nil
	})
}

func TestConsulKilledAndWithoutItsDataGetsEverythingAgain(t *testing.T) {
	t.Parallel()
	c, d := startConsul(t), useDocker(t)
	host, base := unique(t, "host"), unique(t, "kill")
	stays, leaves, comes, own := base+"-stays", base+"-leaves", base+"-comes", host+":"+base
	r := startRegistrator(t, d, c.uri(), configFor(host))
	r.synced(t)
	d.run(serving(stays))
	left := d.run(serving(leaves, "SERVICE_ID="+own+"-by-id"))
	eventually(t, func() error { return c.has(own, host+":"+stays+":80", own+"-by-id") })

	c.kill()
	d.stop(left)
	d.run(serving(comes))
	eventually(t, func() error {
		if h := r.status.health(); h.Synced || h.Consul {
			return fmt.Errorf("healthy without Consul: %+v", h)
		}
		return nil
	})
	c.start() // it remembers the service that went in the meantime
	eventually(t, func() error { return c.has(own, host+":"+stays+":80", host+":"+comes+":80") })

	c.kill()
	if err := os.RemoveAll(c.data); err != nil {
		t.Fatal(err)
	}
	c.start()
	eventually(t, func() error { return c.has(own, host+":"+stays+":80", host+":"+comes+":80") })
}

func TestARegistratorThatWasKilledLeavesNoGhosts(t *testing.T) {
	t.Parallel()
	c, d := startConsul(t), useDocker(t)
	host, base := unique(t, "host"), unique(t, "kill")
	stays, leaves, comes, own := base+"-stays", base+"-leaves", base+"-comes", host+":"+base
	child := startChild(t, c.uri(), configFor(host))
	d.run(serving(stays))
	gone := []string{d.run(serving(leaves)), d.run(serving(base+"-custom", "SERVICE_ID="+own+"-by-id"))}
	eventually(t, func() error {
		return c.has(own, host+":"+stays+":80", host+":"+leaves+":80", own+"-by-id")
	})
	kill9(t, child)
	for _, id := range gone {
		d.remove(id)
	}
	d.run(serving(comes))
	startChild(t, c.uri(), configFor(host))
	eventually(t, func() error { return c.has(own, host+":"+stays+":80", host+":"+comes+":80") })
}

// startChild runs a registrator as a process of its own, with more variables.
func startChild(t *testing.T, uri string, cfg Config, variables ...string) *exec.Cmd {
	t.Helper()
	config, err := json.Marshal(struct {
		Config Config
		URI    string
	}{cfg, uri})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0])
	cmd.Env = append(append(os.Environ(), childVariable+"="+string(config)), variables...)
	log := keepDiary(t, "the registrator")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill9(t, cmd) })
	return cmd
}

// kill9 ends a process without a chance to clean up. Killing twice is fine.
func kill9(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if cmd.ProcessState == nil {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // says that it was killed
	}
}

func TestWithoutConsulTheStartFailsAfterTheAttempts(t *testing.T) {
	t.Parallel()
	requests := make(chan struct{}, 10)
	r := withoutConsul(t, 2, func() { requests <- struct{}{} })
	if err := r.Run(t.Context()); !errors.Is(err, ErrConsul) {
		t.Errorf("error is %v, want ErrConsul", err)
	}
	if len(requests) != 3 {
		t.Errorf("%d attempts, want 1 and 2 more", len(requests))
	}
}

func TestAnInterruptWhileItWaitsForConsulIsNoError(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	if err := withoutConsul(t, 2, interrupt).Run(ctx); err != nil {
		t.Errorf("error is %v", err)
	}
}

// withoutConsul returns a registrator whose Consul answers each request with an
// error, after a call of asked.
func withoutConsul(t *testing.T, attempts int, asked func()) *Registrator {
	t.Helper()
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked()
		http.Error(w, "no", http.StatusInternalServerError)
	}))
	t.Cleanup(broken.Close)
	docker, err := NewDocker()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closes(t, docker) })
	cfg := configFor("host")
	cfg.RetryAttempts, cfg.RetryInterval = attempts, time.Millisecond
	consul, err := NewConsul("consul://" + strings.TrimPrefix(broken.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(cfg, docker, consul, discard())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestHealthAndMetricsAreServed(t *testing.T) {
	t.Parallel()
	c, d := startConsul(t), useDocker(t)
	cfg := configFor(unique(t, "host"))
	cfg.Listen = fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0])
	startRegistrator(t, d, c.uri(), cfg).synced(t)
	if code, body := get(t, "http://"+cfg.Listen+"/health"); code != http.StatusOK || !strings.Contains(body, `"synced":true`) {
		t.Errorf("/health answers %d %s", code, body)
	}
	name := unique(t, "web")
	d.run(serving(name))
	eventually(t, func() error { return c.has(cfg.Hostname+":"+name, cfg.Hostname+":"+name+":80") })
	// Consul lists the service before the registrator has read the answer that it counts.
	eventually(t, func() error {
		_, metrics := get(t, "http://"+cfg.Listen+"/metrics")
		for _, name := range []string{"containers", "services", "events_total", "passes_total", "lag_seconds_count", "connected", "calls_total", "last_sync_timestamp_seconds"} {
			if !strings.Contains(metrics, "\nbg_registrator_"+name) {
				return fmt.Errorf("/metrics lacks bg_registrator_%s", name)
			}
		}
		return nil
	})
	c.kill()
	eventually(t, func() error {
		if code, body := get(t, "http://"+cfg.Listen+"/health"); code != http.StatusServiceUnavailable {
			return fmt.Errorf("/health answers %d %s without Consul", code, body)
		}
		return nil
	})
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// TestAPublishedPortIsReachedFromEverywhere asks a container on a Compose network
// by its registered address: from the host, from the default bridge, from its own
// network and from another one, where an nginx may be.
func TestAPublishedPortIsReachedFromEverywhere(t *testing.T) {
	t.Parallel()
	c, d := startConsul(t), useDocker(t)
	own, ownErr := d.network()
	other, otherErr := d.network()
	if err := errors.Join(ownErr, otherErr); err != nil {
		t.Fatal(err)
	}
	host, name := unique(t, "host"), unique(t, "web")
	startRegistrator(t, d, c.uri(), configFor(host)).synced(t)
	s := serving(name, "ANSWER=it is me")
	s.HostConfig.NetworkMode = container.NetworkMode(own)
	d.run(s)
	id := host + ":" + name + ":80"
	eventually(t, func() error { return c.has(id, id) })
	services, err := c.services(id)
	if err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("http://%s:%d/", services[id].Address, services[id].Port)
	if _, body := get(t, url); body != "it is me" {
		t.Errorf("from the host %s answers %q", url, body)
	}
	gateway, err := engine{d.api}.gateway(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// What a registrator in a container of its own would register.
	viaGateway := fmt.Sprintf("http://%s:%d/", gateway, services[id].Port)
	for _, network := range []string{"bridge", own, other, "host"} {
		if body := d.getFrom(network, url, viaGateway); body != "it is me\r\nit is me" {
			t.Errorf("from network %s %s and %s answer %q", network, url, viaGateway, body)
		}
	}
}

// getFrom asks URLs in a container on network and returns what it printed, a line
// for each.
func (d *docker) getFrom(network string, urls ...string) string {
	d.t.Helper()
	s := spec{Name: unique(d.t, "probe")}
	s.Env = []string{"GET=" + strings.Join(urls, " ")}
	s.Tty = true // so that the log is what was printed, without frames
	s.HostConfig.NetworkMode = container.NetworkMode(network)
	id, err := d.add(s)
	if err != nil {
		d.t.Fatal(err)
	}
	ended, errs := d.api.ContainerWait(d.t.Context(), id, container.WaitConditionNextExit)
	d.start(id)
	select {
	case <-ended:
	case err := <-errs:
		d.t.Fatal(err)
	case <-time.After(soon):
		d.t.Fatal("the probe does not end")
	}
	log, err := d.api.ContainerLogs(d.t.Context(), id, container.LogsOptions{ShowStdout: true})
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close()
	out, err := io.ReadAll(log)
	if err != nil {
		d.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
