package registrator

import (
	"maps"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"
)

// Service is one registration: a port of a container as Consul shall list it.
type Service struct {
	ID      string
	Name    string
	Address string
	Port    int
	Tags    []string
	Meta    map[string]string
	Check   *api.AgentServiceCheck // nil: none, so that Consul calls it passing
	Mark    Mark

	deployed *deployed // nil: no deployment of bg started the container
	report   *report   // nil: the service of a container

	internal api.ServiceAddress // the container's own address and port
	exposed  string             // the container's port
}

// Host is what the contract needs to know of the machine.
type Host struct {
	Name    string // first part of service ids
	Engine  string // identifies the Docker daemon
	Address string // by which published ports can be reached when -ip is not given
}

// port is one port of a container with the address it is registered under.
type port struct {
	number  string // in the container
	proto   string // tcp, udp or sctp
	address string
	outside string // the port that goes with address
}

// servicesOf returns the services of a running container in the order of their
// ports, and a line for each setting that had to be left out. It is the contract
// of docs/registrator.md: it depends on its arguments alone.
func servicesOf(c Container, cfg Config, host Host) (services []Service, dropped []string) {
	ports := portsOf(c, cfg, host)
	for _, p := range ports {
		m := parseMetadata(c.Env, c.Labels, p.number)
		if m.get("ignore") != "" || cfg.Explicit && m.get("name") == "" {
			continue
		}
		s, refused := serviceOf(c, p, m, cfg, host, len(ports) > 1)
		services, dropped = append(services, s), append(dropped, refused...)
	}
	return services, dropped
}

func serviceOf(c Container, p port, m metadata, cfg Config, host Host, group bool) (Service, []string) {
	s := Service{
		ID:      strings.Join([]string{host.Name, c.Name, p.number}, ":"),
		Name:    nameOf(c, p, m, group),
		Address: p.address,
		Mark:    Mark{Host: host.Name, Engine: host.Engine, Container: short(c.ID)},
		exposed: p.number, deployed: deployedBy(c),
	}
	s.Port, _ = strconv.Atoi(p.outside) // Docker's own number; "" cannot come here
	number, _ := strconv.Atoi(p.number)
	s.internal = api.ServiceAddress{Address: c.ip(), Port: number}
	tags := []string{m.get("tags"), cfg.Tags}
	if p.proto == "udp" {
		s.ID += ":udp"
		tags = append(tags, "udp")
	}
	s.Tags = splitTags(tags...)
	if id := m.get("id"); id != "" {
		s.ID = id
	}
	var badMeta, badCheck []string
	s.Meta, badMeta = metaOf(m.attrs)
	s.Check, badCheck = checkOf(m, s, c)
	return s, append(badMeta, badCheck...)
}

// nameOf returns the service's name: its own, else the last part of the image's
// name. With several ports each gets its number, unless it was named by port.
func nameOf(c Container, p port, m metadata, group bool) string {
	name := m.get("name")
	if name == "" {
		name, _, _ = strings.Cut(path.Base(c.Image), ":")
	}
	if group && !m.fromPort["name"] {
		name += "-" + p.number
	}
	return name
}

// portsOf returns the ports that are registered: the published ones, with
// -internal the exposed ones too, in the order of their numbers.
func portsOf(c Container, cfg Config, host Host) []port {
	keys := map[string]bool{}
	for _, key := range c.Exposed {
		keys[key] = true
	}
	for key := range c.Bindings {
		keys[key] = true
	}
	var ports []port
	for _, key := range slices.SortedFunc(maps.Keys(keys), byNumber) {
		number, proto, _ := strings.Cut(key, "/")
		p := port{number: number, proto: proto}
		if p.locate(c, key, cfg, host) {
			p.address = labelled(c, cfg, p.address)
			ports = append(ports, p)
		}
	}
	return ports
}

func byNumber(a, b string) int {
	na, _, _ := strings.Cut(a, "/")
	nb, _, _ := strings.Cut(b, "/")
	if len(na) != len(nb) {
		return len(na) - len(nb)
	}
	return strings.Compare(a, b)
}

// locate finds the address and port under which others reach the port, and
// reports whether there is one.
func (p *port) locate(c Container, key string, cfg Config, host Host) bool {
	outside := cfg.IP
	if outside == "" {
		outside = host.Address
	}
	switch {
	case c.Mode == "none":
		return false
	case c.sharesNetwork():
		return p.locateInPeer(c, key, cfg, host)
	case c.Mode == "host":
		p.address, p.outside = outside, p.number
	case cfg.Internal:
		p.address, p.outside = c.ip(), p.number
	default:
		b, ok := c.binding(key)
		if !ok {
			return false
		}
		p.address, p.outside = outside, b.Port
		if addr, err := netip.ParseAddr(b.IP); cfg.IP == "" && err == nil && !addr.IsUnspecified() {
			p.address = b.IP
		}
	}
	return true
}

// labelled returns the address in the label of -useIpFromLabel, without its
// mask, and otherwise the address found. Only a container with a network of its
// own can have another address than Docker says.
func labelled(c Container, cfg Config, found string) string {
	label := c.Labels[cfg.UseIPFromLabel]
	if cfg.UseIPFromLabel == "" || label == "" || c.sharesNetwork() {
		return found
	}
	address, _, _ := strings.Cut(label, "/")
	return address
}

// locateInPeer gives a container that shares another one's network the other
// one's address with its own port. When that address is on a network that only
// its members reach, and the other one publishes the port, the host's is taken.
func (p *port) locateInPeer(c Container, key string, cfg Config, host Host) bool {
	if c.Peer == nil {
		return false
	}
	p.address, p.outside = c.Peer.Networks["bridge"], p.number
	if p.address != "" {
		return true
	}
	if _, published := c.Peer.binding(key); published || c.Peer.Mode == "host" || cfg.Internal {
		return p.locate(*c.Peer, key, cfg, host)
	}
	p.address = c.Peer.ip()
	return p.address != ""
}

// firstValue returns the value of the first key that has one, "" without any.
func firstValue(m map[string]string) string {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if m[key] != "" {
			return m[key]
		}
	}
	return ""
}
