package registrator

import (
	"regexp"
	"strings"

	"github.com/hashicorp/consul/api"
)

// markPrefix begins the key of the mark.
const markPrefix = "bg-registrator/"

// Mark says who registered a service. It is stored with the service as the key
// of one more tagged address, whose value is the container's own address: that
// needs no permission but to write the service, goes away with it, and leaves
// id, tags and meta as Registrator writes them.
type Mark struct {
	Host      string // first part of the registrator's ids
	Engine    string // the Docker daemon
	Container string // twelve digits of the container's id
}

func (m Mark) key() string {
	return markPrefix + m.Host + "/" + m.Engine + "/" + m.Container
}

// markOf returns the mark among a service's tagged addresses, the zero Mark when
// it has none.
func markOf(addresses map[string]api.ServiceAddress) Mark {
	for key := range addresses {
		rest, ok := strings.CutPrefix(key, markPrefix)
		parts := strings.Split(rest, "/")
		if ok && len(parts) == 3 {
			return Mark{Host: parts[0], Engine: parts[1], Container: parts[2]}
		}
	}
	return Mark{}
}

// registratorID is the form of the ids that Registrator and bg give: host name,
// container name, port.
var registratorID = regexp.MustCompile(`^(.+?):[a-zA-Z0-9][a-zA-Z0-9_.-]+:[0-9]+(?::udp)?$`)

// removable reports whether this registrator may remove e: it registered e, or
// -cleanup extends that to what a registrator of this host name left behind.
func removable(e entry, host Host, cleanup bool) bool {
	switch {
	case e.Mark.Host == host.Name:
		return e.Mark.Engine == host.Engine || cleanup
	case e.Mark != Mark{}:
		return false
	}
	parts := registratorID.FindStringSubmatch(e.ID)
	return cleanup && parts != nil && parts[1] == host.Name
}
