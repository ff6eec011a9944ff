package proxy

import (
	"context"
	"net"
	"strconv"

	dep "github.com/hashicorp/consul-template/dependency"
)

// Prove returns nil when nginx would run with files. It tries them in a copy of
// nginx's configuration and changes nothing. Its errors are those of Apply
// before it writes.
func (n *Nginx) Prove(ctx context.Context, files Files) error {
	seen, err := n.look(ctx)
	if err != nil {
		return err
	}
	_, err = n.prove(ctx, seen, files)
	return err
}

// plannedService returns instances that are not registered yet, at the addresses
// that stand for them.
func (d *data) plannedService(name string) []*dep.HealthService {
	var list []*dep.HealthService
	for _, address := range d.planned {
		host, text, err := net.SplitHostPort(address)
		port, errPort := strconv.Atoi(text)
		if err != nil || errPort != nil {
			continue // the caller's mistake shows as a server that is missing
		}
		list = append(list, &dep.HealthService{ID: name, Name: name, Address: host, NodeAddress: host, Port: port, Status: dep.HealthPassing})
	}
	return list
}
