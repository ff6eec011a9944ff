package proxy

import (
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"

	dep "github.com/hashicorp/consul-template/dependency"
)

// query is what the argument of a function asks for, such as
// "tag.books-ms@dc1~near|any", split by consul-template's own expression.
type query struct {
	parts  map[string]string
	params url.Values
}

func parseQuery(re *regexp.Regexp, function, text string) (query, error) {
	match := re.FindStringSubmatch(text)
	if match == nil {
		return query{}, fmt.Errorf("%s %q is malformed", function, text)
	}
	q := query{parts: map[string]string{}}
	for i, name := range re.SubexpNames() {
		q.parts[name] = match[i]
	}
	var err error
	q.params, err = dep.GetConsulQueryOpts(q.parts, function)
	return q, err
}

// options are the query's, with a consistent read: the leader confirms it with
// a quorum, so that no stale server decides where requests go.
func (q query) options() *dep.QueryOptions {
	return &dep.QueryOptions{
		RequireConsistent:   true,
		Datacenter:          q.parts["dc"],
		Near:                q.parts["near"],
		ConsulNamespace:     q.params.Get(dep.QueryNamespace),
		ConsulPartition:     q.params.Get(dep.QueryPartition),
		ConsulPeer:          q.params.Get(dep.QueryPeer),
		ConsulSamenessGroup: q.params.Get(dep.QuerySamenessGroup),
	}
}

// service returns the instances of a service: those that pass, or those of the
// states that are named: `service "x" "any"`, `service "x|passing,warning"`.
func (d *data) service(args ...string) (list []*dep.HealthService, err error) {
	defer d.keep(&err)
	text := strings.Join(args, "|")
	q, err := parseQuery(dep.HealthServiceQueryRe, "service", text)
	if err != nil {
		return nil, err
	}
	states, err := states(q.parts["filter"])
	if err != nil {
		return nil, err
	}
	if name := q.parts["name"]; len(d.planned) > 0 && name == d.cfg.catalogName(d.color) {
		return d.plannedService(name), nil
	}
	return once(d, fmt.Sprintf("service %q", text), func() ([]*dep.HealthService, error) {
		return d.fetchService(q, states)
	})
}

// states returns the health states that a filter names, passing by default.
func states(filter string) ([]string, error) {
	known := []string{dep.HealthAny, dep.HealthPassing, dep.HealthWarning, dep.HealthCritical, dep.HealthMaint}
	var list []string
	for state := range strings.SplitSeq(filter, ",") {
		switch {
		case state == "":
		case !slices.Contains(known, state):
			return nil, fmt.Errorf("%q is no state of a service (%s)", state, strings.Join(known, ", "))
		default:
			list = append(list, state)
		}
	}
	if len(list) == 0 {
		return []string{dep.HealthPassing}, nil
	}
	return list, nil
}

func (d *data) fetchService(q query, states []string) ([]*dep.HealthService, error) {
	options := q.options().ToConsulOpts().WithContext(d.ctx)
	entries, _, err := d.clients.Consul().Health().Service(q.parts["name"], q.parts["tag"], false, options)
	if err != nil {
		return nil, err
	}
	var list []*dep.HealthService
	for _, e := range entries {
		status := e.Checks.AggregatedStatus()
		if !slices.Contains(states, status) && !slices.Contains(states, dep.HealthAny) {
			continue
		}
		address := e.Service.Address
		if address == "" {
			address = e.Node.Address // Consul's documented meaning of a service without an address
		}
		s := &dep.HealthService{
			Node: e.Node.Node, NodeID: e.Node.ID, NodeAddress: e.Node.Address,
			NodeTaggedAddresses: e.Node.TaggedAddresses, NodeMeta: e.Node.Meta,
			ServiceMeta: e.Service.Meta, ServiceTaggedAddresses: e.Service.TaggedAddresses,
			Address: address, Port: e.Service.Port, ID: e.Service.ID, Name: e.Service.Service,
			Tags: slices.Sorted(slices.Values(e.Service.Tags)), Checks: e.Checks, Status: status, Weights: e.Service.Weights,
		}
		if err := checkInstance(s); err != nil {
			return nil, err
		}
		d.disarm(reflect.ValueOf(s), fmt.Sprintf("instance %q of service %q:", s.ID, s.Name))
		list = append(list, s)
	}
	if q.parts["near"] == "" {
		slices.SortStableFunc(list, func(a, b *dep.HealthService) int {
			return strings.Compare(a.Node+"\x00"+a.ID, b.Node+"\x00"+b.ID)
		})
	}
	return list, nil
}

// services returns the names of all services, with their tags.
func (d *data) services(args ...string) (list []*dep.CatalogSnippet, err error) {
	defer d.keep(&err)
	text := strings.Join(args, "")
	q, err := parseQuery(dep.CatalogServicesQueryRe, "services", text)
	if err != nil {
		return nil, err
	}
	return once(d, strings.TrimSpace("services "+text), func() ([]*dep.CatalogSnippet, error) {
		tags, _, err := d.clients.Consul().Catalog().Services(q.options().ToConsulOpts().WithContext(d.ctx))
		for _, name := range slices.Sorted(maps.Keys(tags)) {
			s := &dep.CatalogSnippet{Name: name, Tags: slices.Sorted(slices.Values(tags[name]))}
			d.disarm(reflect.ValueOf(s), fmt.Sprintf("service %q:", name))
			list = append(list, s)
		}
		return list, err
	})
}

// nodes returns the nodes of the catalog.
func (d *data) nodes(args ...string) (list []*dep.Node, err error) {
	defer d.keep(&err)
	text := strings.Join(args, "")
	q, err := parseQuery(dep.CatalogNodesQueryRe, "nodes", text)
	if err != nil {
		return nil, err
	}
	return once(d, strings.TrimSpace("nodes "+text), func() ([]*dep.Node, error) {
		nodes, _, err := d.clients.Consul().Catalog().Nodes(q.options().ToConsulOpts().WithContext(d.ctx))
		for _, n := range nodes {
			if !isHost(n.Address) {
				return nil, fmt.Errorf("%w: node %q has the address %q, which is no IP or host name", ErrHostile, n.Node, n.Address)
			}
			node := &dep.Node{ID: n.ID, Node: n.Node, Address: n.Address, Datacenter: n.Datacenter, TaggedAddresses: n.TaggedAddresses, Meta: n.Meta}
			d.disarm(reflect.ValueOf(node), fmt.Sprintf("node %q:", n.Node))
			list = append(list, node)
		}
		return list, err
	})
}

// datacenters returns the names of the data centers that Consul knows.
func (d *data) datacenters() (list []string, err error) {
	defer d.keep(&err)
	return once(d, "datacenters", d.clients.Consul().Catalog().Datacenters)
}
