package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"
)

// register registers one instance on a node of its own.
func register(t *testing.T, service string, port int, change func(*api.CatalogRegistration)) {
	t.Helper()
	r := &api.CatalogRegistration{
		Node: "node-" + service, Address: "10.0.0.1",
		Service: &api.AgentService{ID: fmt.Sprintf("host:%s:%d", service, port), Service: service, Port: port},
	}
	if change != nil {
		change(r)
	}
	if _, err := consul(t).Catalog().Register(r, nil); err != nil {
		t.Fatal(err)
	}
}

func TestInstancesAreReadWithTheirHealthAndDeployment(t *testing.T) {
	service := unique()
	register(t, service, 32001, func(r *api.CatalogRegistration) {
		r.Service.Address, r.Service.Meta = "fd00::1", map[string]string{DeploymentMeta: "20260101-000000-0001"}
		r.Checks = api.HealthChecks{
			{Node: r.Node, CheckID: "ping", Name: "ping", Status: "passing", ServiceID: r.Service.ID},
			{Node: r.Node, CheckID: "db", Name: "db", Status: "critical", Output: "refused", ServiceID: r.Service.ID},
		}
	})
	register(t, service, 32002, nil)
	got, err := NewCatalog(consul(t)).Instances(t.Context(), service)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b Instance) int { return a.Port - b.Port })
	want := []Instance{
		{
			ID: "host:" + service + ":32001", Node: "node-" + service, Address: "fd00::1", Port: 32001, Deployment: "20260101-000000-0001",
			Checks: []Check{{Name: "db", Status: "critical", Output: "refused"}, {Name: "ping", Status: "passing"}},
		},
		{ID: "host:" + service + ":32002", Node: "node-" + service, Address: "10.0.0.1", Port: 32002},
	}
	slices.SortFunc(got[0].Checks, func(a, b Check) int { return len(a.Name) - len(b.Name) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("instances (-want +got):\n%s", diff)
	}
	if got[0].HostPort() != "[fd00::1]:32001" || got[1].HostPort() != "10.0.0.1:32002" {
		t.Errorf("addresses: %s, %s", got[0].HostPort(), got[1].HostPort())
	}
	if failing := got[0].Failing(); len(failing) != 1 || failing[0].Name != "db" || len(got[1].Failing()) != 0 {
		t.Errorf("failing: %v", failing)
	}
}

func TestAServiceThatNobodyRegisteredHasNoInstances(t *testing.T) {
	if got, err := NewCatalog(consul(t)).Instances(t.Context(), unique()); len(got) != 0 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

func TestAWaitWakesUpWhenTheCatalogChanges(t *testing.T) {
	service := unique()
	looks, done := make(chan int, 10), make(chan error, 1)
	go func() {
		done <- NewCatalog(consul(t)).Wait(t.Context(), service, func(list []Instance) bool {
			looks <- len(list)
			return len(list) == 2
		})
	}()
	for n := range 2 {
		if got := within(t, watchTime/2, "the look at each change", looks); got != n {
			t.Fatalf("%d instances instead of %d", got, n)
		}
		register(t, service, 32001+n, nil)
	}
	if err := within(t, watchTime/2, "the end of the wait", done); err != nil {
		t.Error(err)
	}
}

func TestAWaitEndsWithTheReasonOfItsContext(t *testing.T) {
	reason := errors.New("not ready within a moment")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, reason)
	defer cancel()
	if err := NewCatalog(consul(t)).Wait(ctx, unique(), func([]Instance) bool { return false }); !errors.Is(err, reason) {
		t.Errorf("%v", err)
	}
}

func TestAWaitThatConsulNeverAnsweredSaysSo(t *testing.T) {
	reason := errors.New("not ready within a moment")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, reason)
	defer cancel()
	err := NewCatalog(unreachable(t)).Wait(ctx, "books-ms-blue", func([]Instance) bool { return true })
	if !errors.Is(err, reason) || !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v", err)
	}
}

// scripted is a client of a Consul that gives one answer after the other.
func scripted(t *testing.T, answer http.HandlerFunc) *api.Client {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	client, err := api.NewClient(&api.Config{Address: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestAWaitOutlastsAConsulWithoutALeader(t *testing.T) {
	var asked atomic.Int32
	client := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			http.Error(w, "No cluster leader", http.StatusInternalServerError)
			return
		}
		w.Header().Set("X-Consul-Index", "7")
		fmt.Fprint(w, `[{"Node": {"Address": "10.0.0.1"}, "Service": {"ID": "x", "Port": 80}}]`)
	})
	if err := NewCatalog(client).Wait(t.Context(), "books-ms-blue", func(list []Instance) bool { return len(list) == 1 }); err != nil || asked.Load() != 2 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
}

func TestAWaitStartsAnewWhenTheIndexGoesBackwards(t *testing.T) {
	var asked []string
	client := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Query().Get("index"))
		w.Header().Set("X-Consul-Index", map[int]string{1: "9", 2: "4", 3: "5"}[len(asked)])
		fmt.Fprint(w, `[]`)
	})
	if err := NewCatalog(client).Wait(t.Context(), "books-ms-blue", func([]Instance) bool { return len(asked) == 4 }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"", "9", "", "5"}, asked); diff != "" {
		t.Errorf("indexes asked for (-want +got):\n%s", diff)
	}
}

func TestAWaitEndsWhenTheTokenIsRefused(t *testing.T) {
	client := scripted(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "Permission denied", http.StatusForbidden) })
	if err := NewCatalog(client).Wait(t.Context(), "books-ms-blue", func([]Instance) bool { return true }); !errors.Is(err, ErrForbidden) {
		t.Errorf("%v", err)
	}
}

func TestATransactionsErrorsAreErrorsOfTheDomainToo(t *testing.T) {
	tests := []struct {
		name   string
		status int
		text   string
		want   error
	}{
		{"no leader", http.StatusInternalServerError, "No cluster leader", ErrUnreachable},
		{"the wrong token", http.StatusForbidden, "Permission denied: token lacks permission", ErrForbidden},
		{"a token that is not known", http.StatusForbidden, "ACL not found", ErrForbidden},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client := scripted(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, tt.text, tt.status) })
			err := NewJournal(client, "").Save(t.Context(), &Lock{Key: "books-ms/lock"}, "books-ms", "1", nil)
			if !errors.Is(err, tt.want) || errors.Is(err, ErrConflict) {
				t.Errorf("%v", err)
			}
		})
	}
}
