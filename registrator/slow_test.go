package registrator

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/client"
)

// slowly returns a client of d that waits with the answers about some containers:
// before each one delay is called with the path.
func (d *docker) slowly(delay func(ctx context.Context, path string)) *docker {
	d.t.Helper()
	target, err := url.Parse("http://docker")
	if err != nil {
		d.t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1 // events come one by one
	proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.api.Dialer()(ctx) }}
	proxy.ErrorLog = log.New(keepDiary(d.t, "the way to Docker"), "", 0)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		delay(r.Context(), r.URL.Path)
		proxy.ServeHTTP(w, r)
	}))
	d.t.Cleanup(func() {
		server.CloseClientConnections() // the events
		server.Close()
	})
	api, err := client.NewClientWithOpts(client.WithHost("tcp://"+strings.TrimPrefix(server.URL, "http://")), client.WithAPIVersionNegotiation())
	if err != nil {
		d.t.Fatal(err)
	}
	return manage(d.t, api)
}

// TestAContainerThatDockerIsSlowToDescribeIsRegistered makes each answer about one
// container take longer than a pass waits, while others come.
func TestAContainerThatDockerIsSlowToDescribeIsRegistered(t *testing.T) {
	t.Parallel()
	c, d := startConsul(t), useDocker(t)
	host, name := unique(t, "host"), unique(t, "slow")
	slow := d.run(serving(name))
	behind := d.slowly(func(ctx context.Context, path string) {
		if strings.HasSuffix(path, "/containers/"+slow+"/json") {
			pause(ctx, 3*lookWithin)
		}
	})
	startRegistrator(t, behind, c.uri(), configFor(host)).synced(t)
	eventually(t, func() error { return c.has(host+":"+name, host+":"+name+":80") })

	d.stop(slow)
	eventually(t, func() error { return c.has(host + ":" + name) })
	d.start(slow)
	for i := range 5 {
		d.run(serving(fmt.Sprint(name, "-beside-", i)))
	}
	eventually(t, func() error { return c.has(host+":"+name+":", host+":"+name+":80") })
	eventually(t, func() error {
		services, err := c.services(host + ":" + name + ":")
		service := services[host+":"+name+":80"]
		if got := publishedPort(t, d, slow); err == nil && (service == nil || service.Port != got) {
			err = fmt.Errorf("Consul has %v, Docker port %d", services, got)
		}
		return err
	})
}

// TestOneContainerThatDockerIsBusyWithHoldsUpNoOther has Docker never answer about
// one container, which is what it does while it starts or stops it.
func TestOneContainerThatDockerIsBusyWithHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	c, d := startConsul(t), useDocker(t)
	host, name := unique(t, "host"), unique(t, "busy")
	busy := d.run(serving(name))
	d.run(serving(name + "-other"))
	answers, asked := make(chan struct{}), make(chan time.Time, 100)
	behind := d.slowly(func(ctx context.Context, path string) {
		if strings.HasSuffix(path, "/containers/"+busy+"/json") {
			asked <- time.Now()
			select {
			case <-answers:
			case <-ctx.Done():
			}
		}
	})
	r := startRegistrator(t, behind, c.uri(), configFor(host))
	eventually(t, func() error { return c.has(host+":"+name, host+":"+name+"-other:80") })
	// After that time the registrator gives the first answer up.
	if r.status.health().Synced && time.Since(<-asked) < callTimeout {
		t.Error("healthy before each container was looked at once")
	}
	close(answers)
	r.synced(t)
	eventually(t, func() error { return c.has(host+":"+name, host+":"+name+":80", host+":"+name+"-other:80") })
}
