package registrator

import (
	"net/netip"
	"strings"
	"time"
)

// Container is what the contract reads of one container.
type Container struct {
	ID       string
	Name     string // without the slash
	Image    string // as the container was created with it
	Created  time.Time
	Env      []string
	Labels   map[string]string
	Exposed  []string             // "80/tcp", by the image or --expose
	Bindings map[string][]Binding // "80/tcp" to its addresses on the host; none when only exposed
	Mode     string               // network mode: bridge, default, host, none, container:<id>, or a network
	Networks map[string]string    // network to the container's address in it
	Peer     *Container           // the container whose network it shares, with mode container:<id>
}

// Binding is a port of the host.
type Binding struct {
	IP   string
	Port string
}

// sharesNetwork reports whether c lives in another container's network.
func (c Container) sharesNetwork() bool { return strings.HasPrefix(c.Mode, "container:") }

// ip returns c's own address: the one on the default bridge, else on the
// network it was created with, else on the first one by name; "" when it has
// none, as with the host's network.
func (c Container) ip() string {
	for _, network := range []string{"bridge", c.Mode} {
		if ip := c.Networks[network]; ip != "" {
			return ip
		}
	}
	return firstValue(c.Networks)
}

// binding returns the port of the host that leads to port ("80/tcp"). With
// several the first IPv4 one counts: Docker lists an IPv6 twin of each.
func (c Container) binding(port string) (Binding, bool) {
	bindings := c.Bindings[port]
	for _, b := range bindings {
		if addr, err := netip.ParseAddr(b.IP); b.IP == "" || err == nil && addr.Is4() {
			return b, b.Port != ""
		}
	}
	if len(bindings) == 0 {
		return Binding{}, false
	}
	return bindings[0], bindings[0].Port != ""
}

// short returns the twelve digits of an id that people know.
func short(id string) string { return id[:min(12, len(id))] }
