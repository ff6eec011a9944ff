package registrator

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// prefix marks the variables and labels that describe a service.
const prefix = "SERVICE_"

// metadata is what a container says about the service on one of its ports.
type metadata struct {
	attrs    map[string]string // by lower-case key, without SERVICE_ and the port
	fromPort map[string]bool   // keys that were set for this very port
}

// get returns the value of key, "" when there is none.
func (m metadata) get(key string) string { return m.attrs[key] }

// parseMetadata reads the variables and then the labels of a container for the
// service on port. A label beats a variable, and what is set for the port beats
// what is set for all of them, in whichever order they come.
func parseMetadata(env []string, labels map[string]string, port string) metadata {
	m := metadata{attrs: map[string]string{}, fromPort: map[string]bool{}}
	for _, variable := range env {
		if name, value, ok := strings.Cut(variable, "="); ok {
			m.add(name, value, port)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		m.add(name, labels[name], port)
	}
	return m
}

func (m metadata) add(name, value, port string) {
	key, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return
	}
	key = strings.ToLower(key)
	number, rest, hasRest := strings.Cut(key, "_")
	if _, err := strconv.Atoi(number); err == nil && hasRest {
		if number == port {
			m.attrs[rest], m.fromPort[rest] = value, true
		}
		return
	}
	if !m.fromPort[key] {
		m.attrs[key] = value
	}
}

// splitTags splits lists of tags at the commas that no backslash escapes. Empty
// tags are left out, the order stays.
func splitTags(lists ...string) []string {
	tags := []string{}
	for _, list := range lists {
		var tag strings.Builder
		flush := func() {
			if tag.Len() > 0 {
				tags = append(tags, tag.String())
				tag.Reset()
			}
		}
		for i := 0; i < len(list); i++ {
			switch {
			case list[i] == '\\' && i+1 < len(list) && list[i+1] == ',':
				tag.WriteByte(',')
				i++
			case list[i] == ',':
				flush()
			default:
				tag.WriteByte(list[i])
			}
		}
		flush()
	}
	return tags
}
