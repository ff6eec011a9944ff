package registrator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"

	"github.com/docker/docker/api/types/network"

	"bg/hint"
)

var errNoAddress = hint.Wrap(errors.New("find the address of published ports"), "give it with -ip")

// address returns the address by which ports that this Docker host publishes
// can be reached, and how it was found. On the host itself (or in its network)
// it is the one that the host's name stands for, as with Registrator, else the
// one it uses towards the world; containers reach both through the host. A
// registrator in a network of its own cannot see these: it takes the default
// bridge's gateway, which is the host for itself and for its containers, but
// not for other hosts.
func (e engine) address(ctx context.Context, hostname string) (address, source string, err error) {
	if remote, ok := remoteHost(e.client.DaemonHost()); ok {
		return remote, "DOCKER_HOST", nil
	}
	local, err := localAddresses()
	if err != nil {
		return "", "", err
	}
	gateway, err := e.gateway(ctx)
	if err != nil {
		return "", "", err
	}
	onHost := !gateway.IsValid() || local[gateway]
	if onHost {
		for _, found := range lookup(ctx, hostname) {
			if local[found] && !found.IsLoopback() {
				return found.String(), "host name", nil
			}
		}
		if out, ok := outgoing(ctx); ok {
			return out.String(), "default route", nil
		}
	}
	if gateway.IsValid() {
		return gateway.String(), "gateway of the default bridge", nil
	}
	return "", "", errNoAddress
}

// remoteHost returns the host of a tcp:// address that is not this machine.
func remoteHost(daemon string) (string, bool) {
	u, err := url.Parse(daemon)
	if err != nil || u.Scheme != "tcp" && u.Scheme != "http" && u.Scheme != "https" {
		return "", false
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Hostname(), u.Hostname() != "localhost" && (err != nil || !addr.IsLoopback())
}

func localAddresses() (map[netip.Addr]bool, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	local := map[netip.Addr]bool{}
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			local[prefix.Addr().Unmap()] = true
		}
	}
	return local, nil
}

// gateway returns the host's address in the default bridge, the zero Addr when
// the daemon runs without one.
func (e engine) gateway(ctx context.Context) (netip.Addr, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, errSlow)
	defer cancel()
	networks, err := e.client.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return netip.Addr{}, fmt.Errorf("list networks: %w", cause(ctx, err))
	}
	for _, n := range networks {
		for _, config := range n.IPAM.Config {
			if addr := gatewayOf(config); n.Name == network.NetworkBridge && addr.Is4() {
				return addr, nil
			}
		}
	}
	return netip.Addr{}, nil
}

// gatewayOf returns a subnet's gateway. A daemon that was never told one lists
// none, and takes the first address.
func gatewayOf(config network.IPAMConfig) netip.Addr {
	if addr, err := netip.ParseAddr(config.Gateway); err == nil {
		return addr
	}
	subnet, err := netip.ParsePrefix(config.Subnet)
	if err != nil {
		return netip.Addr{}
	}
	return subnet.Masked().Addr().Next()
}

// lookup returns the IPv4 addresses of a name; one that cannot be resolved has none.
func lookup(ctx context.Context, name string) []netip.Addr {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, errSlow)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", name)
	if err != nil {
		return nil
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs
}

// outgoing returns the address that packets to the world carry. To connect a
// UDP socket sends nothing; the destination is one for documentation (RFC 5737).
func outgoing(ctx context.Context) (netip.Addr, bool) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp4", "203.0.113.1:9")
	if err != nil {
		return netip.Addr{}, false
	}
	defer conn.Close()
	addr, err := netip.ParseAddrPort(conn.LocalAddr().String())
	return addr.Addr(), err == nil && !addr.Addr().IsLoopback()
}
