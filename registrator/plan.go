package registrator

import (
	"fmt"
	"maps"
	"slices"
)

// entry is a service as Consul's agent lists it.
type entry struct {
	ID      string
	Name    string
	Address string
	Port    int
	Tags    []string
	Meta    map[string]string
	Mark    Mark
	Check   string // type of the check that a registrator adds; "" without
	Status  string // of that check
	Output  string // of that check
}

// truth is what Docker says.
type truth struct {
	services map[string]Service // by id: what shall be registered
	kept     map[string]bool    // short ids of containers whose services stay as they are
	complete bool               // every container was looked at
}

// op is one call to Consul, with its cause.
type op struct {
	id      string
	service *Service // nil: deregister
	// dropCheck says that the agent has a check which the service no longer has.
	dropCheck bool
	cause     string
}

// plan compares what shall be with what is. Registrations come first, so that a
// container that changes its id is listed under one of the two at any moment.
func plan(want truth, actual map[string]entry, host Host, cleanup bool) []op {
	var ops []op
	for _, id := range slices.Sorted(maps.Keys(want.services)) {
		s := want.services[id]
		e, registered := actual[id]
		cause := "not registered"
		if registered {
			cause = difference(s, e)
		}
		if cause != "" {
			ops = append(ops, op{id: id, service: &s, dropCheck: e.Check != "" && s.Check == nil, cause: cause})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(actual)) {
		if _, wanted := want.services[id]; !wanted && gone(want, actual[id], host, cleanup) {
			ops = append(ops, op{id: id, cause: "no running container"})
		}
	}
	return ops
}

// gone reports whether e is this registrator's to remove and belongs to no
// container any more. Without a container in its mark only a complete look at
// Docker can tell.
func gone(want truth, e entry, host Host, cleanup bool) bool {
	if (e.Mark == (Mark{}) || e.Mark.Container == reporter) && !want.complete || want.kept[e.Mark.Container] {
		return false
	}
	return removable(e, host, cleanup)
}

// difference says in what s and e differ, "" when they do not.
func difference(s Service, e entry) string {
	switch {
	case s.Name != e.Name:
		return fmt.Sprintf("name was %q", e.Name)
	case s.Address != e.Address || s.Port != e.Port:
		return fmt.Sprintf("address was %s:%d", e.Address, e.Port)
	case !slices.Equal(s.Tags, e.Tags):
		return "other tags"
	case !maps.Equal(s.Meta, e.Meta):
		return "other meta"
	case checkType(s.Check) != e.Check:
		return "other check"
	case s.Mark != e.Mark:
		return "registered for another container or by another registrator"
	case s.report != nil && (s.report.status != e.Status || s.report.text != e.Output):
		return "another color is live, or another deployment the last"
	}
	return ""
}
