package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/consul/api"
)

// DeploymentMeta is the key of a service's meta that names its deployment.
// Registrator makes it of the variable SERVICE_BG_DEPLOY.
const DeploymentMeta = "bg_deploy"

// watchTime is how long Consul may hold one blocking query.
const watchTime = 10 * time.Second

// Instance is one registered address of a service.
type Instance struct {
	ID         string // the service id, unique on its agent
	Node       string
	Address    string // an IP address or a host name
	Port       int
	Deployment string // the meta bg_deploy, "" when another tool registered it
	Checks     []Check
}

// Check is a health check of an instance or of its node.
type Check struct {
	Name   string
	Status string // passing, warning, critical or maintenance
	Output string
}

// HostPort returns the instance's address as nginx and URLs write it.
func (i Instance) HostPort() string { return net.JoinHostPort(i.Address, strconv.Itoa(i.Port)) }

// Failing returns the checks that are not passing.
func (i Instance) Failing() []Check {
	var failing []Check
	for _, c := range i.Checks {
		if c.Status != api.HealthPassing {
			failing = append(failing, c)
		}
	}
	return failing
}

// Catalog reads and watches services.
type Catalog struct{ client *api.Client }

// NewCatalog returns the Catalog of client's datacenter.
func NewCatalog(client *api.Client) *Catalog { return &Catalog{client: client} }

// Instances returns every instance of service, whatever its health, read
// consistently.
func (c *Catalog) Instances(ctx context.Context, service string) ([]Instance, error) {
	list, _, err := c.instances(ctx, service, 0)
	return list, err
}

// Wait calls look with the instances of service, now and after each change,
// until look says that it is satisfied or ctx ends, whose cause it then returns.
// Changes arrive by Consul's blocking queries. While Consul does not answer it
// goes on asking, because its absence for a moment is no reason to give up a
// deployment; the last such error is joined to the cause.
func (c *Catalog) Wait(ctx context.Context, service string, look func([]Instance) bool) error {
	var index uint64
	var outage error
	for {
		list, next, err := c.instances(ctx, service, index)
		switch {
		case ctx.Err() != nil:
			if outage != nil {
				return fmt.Errorf("%w: %w", context.Cause(ctx), outage)
			}
			return context.Cause(ctx)
		case errors.Is(err, ErrUnreachable):
			index, outage = 0, err
			if pause(ctx, time.Second) != nil {
				return fmt.Errorf("%w: %w", context.Cause(ctx), outage)
			}
			continue
		case err != nil:
			return err
		case look(list):
			return nil
		}
		outage = nil
		// Consul's advice for indexes: start anew when one goes backwards.
		if next < index {
			next = 0
		}
		index = next
	}
}

// pause waits for d, or returns ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// instances asks for the instances of service; with an index it waits until
// something is newer than that.
func (c *Catalog) instances(ctx context.Context, service string, index uint64) ([]Instance, uint64, error) {
	options := &api.QueryOptions{RequireConsistent: true, WaitIndex: index, WaitTime: watchTime}
	entries, meta, err := c.client.Health().Service(service, "", false, options.WithContext(ctx))
	if err != nil {
		return nil, 0, fmt.Errorf("read instances of %s: %w", service, Classify(err))
	}
	list := make([]Instance, 0, len(entries))
	for _, e := range entries {
		list = append(list, fromEntry(e))
	}
	return list, meta.LastIndex, nil
}

// fromEntry is a pure function over Consul's answer. A service without an
// address of its own has its node's.
func fromEntry(e *api.ServiceEntry) Instance {
	i := Instance{
		ID: e.Service.ID, Node: e.Node.Node, Address: e.Service.Address, Port: e.Service.Port,
		Deployment: e.Service.Meta[DeploymentMeta],
	}
	if i.Address == "" {
		i.Address = e.Node.Address
	}
	for _, check := range e.Checks {
		i.Checks = append(i.Checks, Check{Name: check.Name, Status: check.Status, Output: check.Output})
	}
	return i
}
