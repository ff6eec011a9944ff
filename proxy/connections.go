package proxy

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// Sockets is a Host that can tell which sockets nginx's workers have.
type Sockets interface {
	// LeavingSockets returns the lines of /proc/net/tcp and tcp6 where nginx
	// runs, and after them one line "socket:[INODE]" for each socket of a worker
	// that is shutting down.
	LeavingSockets(ctx context.Context) ([]byte, error)
}

// Connections are what keeps old workers alive. A worker takes a connection to
// the service for each request, and a WebSocket or a stream is a request that
// lasts: so many of its clients' connections are busy. The kernel does not tell
// a WebSocket from a long request.
type Connections struct {
	Busy int // with a request, a stream or a WebSocket
	Idle int // kept open by clients that ask for nothing now
}

func (c Connections) String() string {
	switch {
	case c.Idle == 0:
		return fmt.Sprintf("%d with a request, a stream or a WebSocket", c.Busy)
	case c.Busy == 0:
		return fmt.Sprintf("%d idle keep-alive", c.Idle)
	}
	return fmt.Sprintf("%d with a request, a stream or a WebSocket, %d idle keep-alive", c.Busy, c.Idle)
}

// connections counts those of the workers that are shutting down, and returns nil
// where the host cannot tell.
func (n *Nginx) connections(ctx context.Context) *Connections {
	host, ok := n.host.(Sockets)
	if !ok {
		return nil
	}
	text, err := host.LeavingSockets(ctx)
	if err != nil {
		n.log.Debug("look at the connections of nginx's old workers", "error", err)
		return nil
	}
	return count(text)
}

// socket is one line of /proc/net/tcp.
type socket struct{ local, remote netip.AddrPort }

// tcpLine matches a line of /proc/net/tcp: its number, both addresses, the state
// and, as the tenth word, the inode (proc_net_tcp.rst of the kernel).
var tcpLine = regexp.MustCompile(`^\s*\d+: ([0-9A-F]+:[0-9A-F]{4}) ([0-9A-F]+:[0-9A-F]{4}) ([0-9A-F]{2})(?: \S+){3} +\d+ +\d+ (\d+)`)

// The states of sockets in /proc/net/tcp.
const (
	established = "01"
	listening   = "0A"
)

// count counts the connections in what LeavingSockets returns. One is a client's
// when it ends at a port on which nginx listens. The result is nil when
// nothing was told of any socket: a worker has one to its master.
func count(text []byte) *Connections {
	ports, open, own := map[uint16]bool{}, map[string]socket{}, map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if inode, ok := strings.CutPrefix(strings.TrimSpace(line), "socket:["); ok {
			own[strings.TrimSuffix(inode, "]")] = true
			continue
		}
		words := tcpLine.FindStringSubmatch(line)
		if words == nil {
			continue
		}
		local, errLocal := hexAddress(words[1])
		remote, errRemote := hexAddress(words[2])
		switch {
		case errLocal != nil || errRemote != nil:
		case words[3] == listening:
			ports[local.Port()] = true
		case words[3] == established:
			open[words[4]] = socket{local, remote}
		}
	}
	clients, upstream := 0, 0
	for inode := range own {
		s, ok := open[inode]
		switch {
		case !ok:
		case ports[s.local.Port()]:
			clients++
		default:
			upstream++
		}
	}
	if len(own) == 0 {
		return nil
	}
	busy := min(clients, upstream)
	return &Connections{Busy: busy, Idle: clients - busy}
}

// hexAddress reads an address of /proc/net/tcp, whose words of four bytes are in
// the machine's order. It is told apart by its port only, so that order matters
// to nobody.
func hexAddress(text string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return netip.AddrPort{}, err
	}
	raw, err := hex.DecodeString(host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ip, _ := netip.AddrFromSlice(raw)
	number, err := strconv.ParseUint(port, 16, 16)
	return netip.AddrPortFrom(ip, uint16(number)), err
}
