package registrator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"bg/hint"
)

// callTimeout bounds one request to Consul or Docker.
const callTimeout = 10 * time.Second

// errSlow is the cause when callTimeout has passed.
var errSlow = fmt.Errorf("no answer within %s", callTimeout)

// ErrConsul is returned when Consul cannot be reached, or refuses what nothing
// goes on without.
var ErrConsul = errors.New("consul cannot be used")

// NewConsul returns a client for a registry URI of Registrator:
// consul://host:port, consul-tls://host:port or consul-unix:///path. Without an
// address, and for everything else (token, certificates, namespace), the
// CONSUL_* variables hold; CONSUL_TLSCERT and CONSUL_TLSKEY do too.
func NewConsul(uri string) (*api.Client, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, configError(fmt.Sprintf("registry URI: %v", err), "use consul://host:port")
	}
	config := api.DefaultConfig()
	switch u.Scheme {
	case "consul":
	case "consul-tls":
		config.Scheme = "https"
		config.TLSConfig.CertFile = firstSet(config.TLSConfig.CertFile, os.Getenv("CONSUL_TLSCERT"))
		config.TLSConfig.KeyFile = firstSet(config.TLSConfig.KeyFile, os.Getenv("CONSUL_TLSKEY"))
	case "consul-unix":
		config.Address = "unix://" + u.Host + u.Path
	default:
		return nil, configError(fmt.Sprintf("registry URI %q has the scheme %q", uri, u.Scheme),
			"use consul://host:port, consul-tls://host:port or consul-unix:///path; other registries are not supported")
	}
	if u.Host != "" && u.Scheme != "consul-unix" {
		config.Address = u.Host
	}
	config.Transport.MaxIdleConnsPerHost = mostAsked // else each question is a connection of its own
	client, err := api.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConsul, err)
	}
	return client, nil
}

func firstSet(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// agent is Consul's agent: the source of truth for what this host registered.
type agent struct{ client *api.Client }

// ping asks who leads, which needs no permission.
func (a agent) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, errSlow)
	defer cancel()
	if _, err := a.client.Status().LeaderWithQueryOptions((&api.QueryOptions{}).WithContext(ctx)); err != nil {
		return fmt.Errorf("%w: %w", ErrConsul, cause(ctx, err))
	}
	return nil
}

// entries returns the agent's services by id.
func (a agent) entries(ctx context.Context) (map[string]entry, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, errSlow)
	defer cancel()
	query := (&api.QueryOptions{}).WithContext(ctx)
	services, err := a.client.Agent().ServicesWithFilterOpts("", query)
	if err != nil {
		return nil, mend(fmt.Errorf("list services: %w", cause(ctx, err)))
	}
	checks, err := a.client.Agent().ChecksWithFilterOpts("", query)
	if err != nil {
		return nil, mend(fmt.Errorf("list checks: %w", cause(ctx, err)))
	}
	entries := make(map[string]entry, len(services))
	for id, s := range services {
		e := entry{ID: id, Name: s.Service, Address: s.Address, Port: s.Port,
			Tags: s.Tags, Meta: s.Meta, Mark: markOf(s.TaggedAddresses)}
		if check, ok := checks[checkID(id)]; ok {
			e.Check, e.Status, e.Output = check.Type, check.Status, check.Output
		}
		entries[id] = e
	}
	return entries, nil
}

// checkID is the id that the agent gives to a service's only check.
func checkID(service string) string { return "service:" + service }

// register adds s, or replaces what is registered under its id. A check that
// stays keeps its status.
func (a agent) register(ctx context.Context, s Service, dropCheck bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, errSlow)
	defer cancel()
	if err := a.client.Agent().ServiceRegisterOpts(s.registration(), api.ServiceRegisterOpts{}.WithContext(ctx)); err != nil {
		return mend(fmt.Errorf("register %s: %w", s.ID, cause(ctx, err)))
	}
	if !dropCheck {
		return nil
	}
	err := a.client.Agent().CheckDeregisterOpts(checkID(s.ID), (&api.QueryOptions{}).WithContext(ctx))
	if err != nil && !refused(err, http.StatusNotFound) {
		return mend(fmt.Errorf("remove the check of %s: %w", s.ID, cause(ctx, err)))
	}
	return nil
}

func (s Service) registration() *api.AgentServiceRegistration {
	internal := s.internal
	if internal.Address == "" {
		internal.Address = s.Address
	}
	return &api.AgentServiceRegistration{
		ID: s.ID, Name: s.Name, Address: s.Address, Port: s.Port,
		Tags: s.Tags, Meta: s.Meta, Check: s.Check,
		TaggedAddresses: map[string]api.ServiceAddress{s.Mark.key(): internal},
	}
}

// deregister removes the service; that it is not there is what was asked for.
func (a agent) deregister(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, errSlow)
	defer cancel()
	err := a.client.Agent().ServiceDeregisterOpts(id, (&api.QueryOptions{}).WithContext(ctx))
	if err != nil && !refused(err, http.StatusNotFound) {
		return mend(fmt.Errorf("deregister %s: %w", id, cause(ctx, err)))
	}
	return nil
}

// say sets the status and the output of the check of a report.
func (a agent) say(ctx context.Context, id string, r report) error {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, errSlow)
	defer cancel()
	err := a.client.Agent().UpdateTTLOpts(checkID(id), r.text, r.status, (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return mend(fmt.Errorf("report %s: %w", id, cause(ctx, err)))
	}
	return nil
}

// hold asks for an event that nobody sends, and so keeps a request open at the
// agent, which ends when the agent does. It returns nil after about wait.
// The list of events is the agent's own: asking costs no server anything, works
// without a leader, and an ACL hides events but refuses nobody.
func (a agent) hold(ctx context.Context, wait time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, wait+callTimeout, errSlow)
	defer cancel()
	// 1 is the index of an empty list (agent/event_endpoint.go).
	query := &api.QueryOptions{WaitIndex: 1, WaitTime: wait}
	_, _, err := a.client.Event().List("bg-registrator", query.WithContext(ctx))
	return cause(ctx, err)
}

// cause returns the reason why ctx ended in place of err, which would only say
// that it did.
func cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// refused reports whether Consul answered err with one of the codes.
func refused(err error, codes ...int) bool {
	status, ok := errors.AsType[api.StatusError](err)
	for _, code := range codes {
		if ok && status.Code == code {
			return true
		}
	}
	return false
}

// scriptsDisabled reports whether the agent refused a service for its script
// check, which it answers with 500.
func scriptsDisabled(err error) bool {
	return refused(err, http.StatusInternalServerError) && strings.Contains(err.Error(), "Scripts are disabled")
}

// mend adds a hint to the refusals that a user can mend.
func mend(err error) error {
	switch {
	case refused(err, http.StatusForbidden, http.StatusUnauthorized):
		return hint.Wrap(err, "set CONSUL_HTTP_TOKEN to a token with service:write on the services' names")
	case scriptsDisabled(err):
		return hint.Wrap(err, "start the Consul agent with -enable-script-checks, or use SERVICE_CHECK_HTTP")
	case refused(err, http.StatusTooManyRequests):
		return hint.Wrap(err, "raise http_max_conns_per_client in the limits of Consul's agent: others at this address have many connections")
	}
	return err
}
