package deploy

import (
	"fmt"
	"slices"
	"strings"

	"bg/engine"
	"bg/registry"
)

// match says how the catalog's instances of a color fit its containers.
type match struct {
	ours    []registry.Instance // one for each container that is registered
	missing []string            // names of containers that are not
	foreign []registry.Instance // instances that belong to none of the containers
	failing []string            // checks that do not pass
}

// matching compares containers with what is registered under their color's
// name. A registration belongs to a container when it carries the container's
// deployment and one of its ports: a service id alone survives the container
// that it was made for.
func matching(containers []engine.Container, instances []registry.Instance) match {
	var m match
	registered, taken := assign(containers, instances), map[int]bool{}
	for n, c := range containers {
		i, ok := registered[n]
		if !ok {
			m.missing = append(m.missing, c.Name)
			continue
		}
		taken[i] = true
		m.ours = append(m.ours, instances[i])
		for _, check := range instances[i].Failing() {
			m.failing = append(m.failing, strings.TrimSpace(fmt.Sprintf("%s is %s: %s", check.Name, check.Status, check.Output)))
		}
	}
	for i, instance := range instances {
		if !taken[i] {
			m.foreign = append(m.foreign, instance)
		}
	}
	return m
}

// assign finds a registration for as many containers as it can, by their
// indexes. One that fits two containers goes to the one that has no other: IPv4
// and IPv6 publish a port under different numbers, so that the IPv6 port of one
// replica may be the IPv4 port of another.
func assign(containers []engine.Container, instances []registry.Instance) map[int]int {
	owner := map[int]int{}
	var place func(c int, tried map[int]bool) bool
	place = func(c int, tried map[int]bool) bool {
		for i, instance := range instances {
			if tried[i] || !belongs(containers[c], instance) {
				continue
			}
			tried[i] = true
			if other, held := owner[i]; !held || place(other, tried) {
				owner[i] = c
				return true
			}
		}
		return false
	}
	for c := range containers {
		place(c, map[int]bool{})
	}
	registered := map[int]int{}
	for i, c := range owner {
		registered[c] = i
	}
	return registered
}

// belongs reports whether i is the registration of c: on a published port, or
// on the container's own address as Registrator's -internal registers it.
func belongs(c engine.Container, i registry.Instance) bool {
	if c.Deployment != i.Deployment {
		return false
	}
	return c.Serves(i.Address, i.Port)
}

// remaining returns the instances that are still registered for containers.
func remaining(containers []engine.Container, instances []registry.Instance) []registry.Instance {
	var left []registry.Instance
	for _, i := range instances {
		if slices.ContainsFunc(containers, func(c engine.Container) bool {
			return belongs(c, i) || c.Deployment != "" && c.Deployment == i.Deployment
		}) {
			left = append(left, i)
		}
	}
	return left
}

// complete reports whether exactly the containers are registered and passing.
func (m match) complete() bool {
	return len(m.missing) == 0 && len(m.foreign) == 0 && len(m.failing) == 0
}

// addresses returns the registered addresses of the containers.
func (m match) addresses() []string {
	list := make([]string, 0, len(m.ours))
	for _, i := range m.ours {
		list = append(list, i.HostPort())
	}
	return list
}

// lack says in a few words what is not as it has to be.
func (m match) lack() string {
	var parts []string
	if len(m.missing) > 0 {
		parts = append(parts, "not registered: "+strings.Join(m.missing, ", "))
	}
	for _, i := range m.foreign {
		parts = append(parts, fmt.Sprintf("registered, and not of this deployment: %s at %s", i.ID, i.HostPort()))
	}
	return strings.Join(append(parts, m.failing...), "; ")
}

// advice returns what a person can do about what is lacking.
func (m match) advice(name string) string {
	switch {
	case len(m.foreign) > 0:
		return "remove the stale entry: consul services deregister -id=" + m.foreign[0].ID
	case len(m.missing) > 0:
		return "is Registrator running, and does the container publish a port and set SERVICE_NAME=" + name + "?"
	default:
		return "see the checks of " + name + " in the Consul UI"
	}
}
