package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// modern are the keys that only today's layout of a Compose file has at its
// top level. In the old layout every top-level key is a service.
var modern = []string{"services", "include", "networks", "volumes", "secrets", "configs", "name", "version"}

// upgrade returns a Compose file in the old layout (services at the top level,
// Compose file format 1) as today's, and false when it already is today's.
func upgrade(content []byte) ([]byte, bool, error) {
	var doc map[string]any
	if err := yaml.Unmarshal(content, &doc); err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if !oldLayout(doc) {
		return content, false, nil
	}
	volumes := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(doc)) {
		service := doc[name].(map[string]any)
		upgradeService(service, doc)
		for _, v := range namedVolumes(service) {
			// Format 1 made named volumes on first use, without a prefix.
			volumes[v] = map[string]any{"name": v}
		}
	}
	out := map[string]any{"services": doc}
	if len(volumes) > 0 {
		out["volumes"] = volumes
	}
	upgraded, err := yaml.Marshal(out)
	return upgraded, true, err
}

// oldLayout reports whether doc has only services at its top level.
func oldLayout(doc map[string]any) bool {
	for key, value := range doc {
		service, isMap := value.(map[string]any)
		if !isMap || slices.Contains(modern, key) && !looksLikeService(service) {
			return false
		}
		if !looksLikeService(service) {
			return false
		}
	}
	return len(doc) > 0
}

// looksLikeService reports whether m has a key that every service needs, with a
// value that it has in a service: a section may hold a service of that name.
func looksLikeService(m map[string]any) bool {
	_, image := m["image"].(string)
	_, build := m["build"].(string)
	extends := m["extends"]
	_, named := extends.(string)
	if from, ok := extends.(map[string]any); ok {
		_, named = from["service"].(string)
	}
	return image || build || named
}

// upgradeService rewrites the keys of format 1 whose names or places changed.
// What format 1 called the network of a container may be that of a service.
func upgradeService(s, services map[string]any) {
	if net, ok := s["net"]; ok {
		text, _ := net.(string)
		name, container := strings.CutPrefix(text, "container:")
		if _, ok := services[name]; ok && container {
			net = "service:" + name
		}
		s["network_mode"] = net
		delete(s, "net")
	}
	if file, ok := s["dockerfile"]; ok {
		s["build"] = map[string]any{"context": s["build"], "dockerfile": file}
		delete(s, "dockerfile")
	}
	logging := map[string]any{}
	for old, key := range map[string]string{"log_driver": "driver", "log_opt": "options"} {
		if v, ok := s[old]; ok {
			logging[key] = v
			delete(s, old)
		}
	}
	if len(logging) > 0 {
		s["logging"] = logging
	}
}

// namedVolumes returns the names of the volumes, not paths, that s mounts.
func namedVolumes(s map[string]any) []string {
	var names []string
	list, _ := s["volumes"].([]any)
	for _, v := range list {
		text, _ := v.(string)
		source, _, mounted := strings.Cut(text, ":")
		if mounted && !strings.ContainsAny(source, "/.~$") {
			names = append(names, source)
		}
	}
	return names
}
