package registrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

func TestResyncLooksAtEveryContainerAgain(t *testing.T) {
	t.Parallel()
	c, d := startConsul(t), useDocker(t)
	id := d.run(serving(unique(t, "web")))
	var looked atomic.Int32
	counted := d.slowly(func(_ context.Context, path string) {
		if strings.HasSuffix(path, "/containers/"+id+"/json") {
			looked.Add(1)
		}
	})
	cfg := configFor(unique(t, "host"))
	cfg.Resync = 100 * time.Millisecond
	startRegistrator(t, counted, c.uri(), cfg)
	eventually(t, func() error {
		if n := looked.Load(); n < 4 { // one for the start, one for the connection
			return fmt.Errorf("%d looks although nothing else happens", n)
		}
		return nil
	})
}

func TestEachRefreshComparesDockerWithConsul(t *testing.T) {
	t.Parallel()
	c, d := startConsul(t), useDocker(t)
	cfg := configFor(unique(t, "host"))
	cfg.TTL, cfg.TTLRefresh = time.Second, 100*time.Millisecond
	cfg.Listen = fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0])
	startRegistrator(t, d, c.uri(), cfg).synced(t)
	eventually(t, func() error {
		if _, metrics := get(t, "http://"+cfg.Listen+"/metrics"); !strings.Contains(metrics, `bg_registrator_passes_total{trigger="refresh"}`) {
			return errors.New("no refresh yet")
		}
		return nil
	})
}

func TestWhatOthersChangeInConsulIsSetRight(t *testing.T) {
	t.Parallel()
	c, d := startConsul(t), useDocker(t)
	host, gone, changed := unique(t, "host"), unique(t, "gone"), unique(t, "changed")
	d.run(serving(gone))
	d.run(serving(changed, "SERVICE_TAGS=right"))
	startRegistrator(t, d, c.uri(), configFor(host)).synced(t)
	goneID, changedID := host+":"+gone+":80", host+":"+changed+":80"
	eventually(t, func() error { return c.has(changedID, changedID) })
	if err := c.api.Agent().ServiceDeregister(goneID); err != nil {
		t.Fatal(err)
	}
	if err := c.api.Agent().ServiceRegister(&api.AgentServiceRegistration{ID: changedID, Name: changed, Tags: []string{"wrong"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { return c.has(goneID, goneID) })
	eventually(t, func() error {
		services, err := c.services(changedID)
		if err == nil && (services[changedID] == nil || !slices.Equal(services[changedID].Tags, []string{"right"})) {
			err = fmt.Errorf("Consul has %+v", services[changedID])
		}
		return err
	})
}

// TestRegistratorsOfOneClusterKeepToTheirOwnAgents has two hosts, each with an agent
// of one cluster, and both with the machine's containers.
func TestRegistratorsOfOneClusterKeepToTheirOwnAgents(t *testing.T) {
	t.Parallel()
	server, d := startConsul(t), useDocker(t)
	agent := startConsul(t, "-server=false", "-bootstrap-expect=0", "-retry-interval=1s", "-retry-join="+server.gossip())
	one, two, name := unique(t, "one"), unique(t, "two"), unique(t, "web")
	box := d.run(serving(name, "SERVICE_NAME="+name))
	cleaning := configFor(one)
	cleaning.Cleanup = true
	startRegistrator(t, d, server.uri(), cleaning).synced(t)
	second := startRegistrator(t, d, agent.uri(), configFor(two))
	onNodes := func(want ...string) func() error {
		return func() error {
			ids, err := server.catalogIDs(name)
			var got []string
			for _, id := range []string{one + ":" + name + ":80", two + ":" + name + ":80"} {
				if ids[id] != nil {
					got = append(got, ids[id].Node)
				}
			}
			if err == nil && !slices.Equal(got, want) {
				err = fmt.Errorf("registered at %q, want %q", got, want)
			}
			return err
		}
	}
	eventually(t, onNodes(server.node(), agent.node()))
	second.stop()
	d.stop(box)
	eventually(t, onNodes(agent.node()))
	startRegistrator(t, d, agent.uri(), configFor(two))
	eventually(t, onNodes())
}
