package registrator

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Consul's limits for a service's meta, from structs.ValidateServiceMetadata.
// A registration that exceeds one is refused as a whole.
const (
	maxMetaPairs = 64
	maxMetaKey   = 128
	maxMetaValue = 512
	reservedMeta = "consul-"
)

// metaOf returns the attributes that become the service's meta, and for each
// one that cannot a line that says why.
func metaOf(attrs map[string]string) (meta map[string]string, dropped []string) {
	meta = map[string]string{}
	for _, key := range slices.SortedFunc(maps.Keys(attrs), metaOrder) {
		switch key {
		case "id", "name", "tags":
			continue // they are the service's own fields
		}
		if why := metaRefusal(key, attrs[key]); why != "" {
			dropped = append(dropped, fmt.Sprintf("%q: %s", key, why))
		} else if len(meta) == maxMetaPairs {
			dropped = append(dropped, fmt.Sprintf("%q: Consul takes %d pairs", key, maxMetaPairs))
		} else {
			meta[key] = attrs[key]
		}
	}
	return meta, dropped
}

// metaOrder puts the settings of checks last: when there are too many pairs
// they are the ones that nobody misses, since the check itself is registered.
func metaOrder(a, b string) int {
	ca, cb := strings.HasPrefix(a, "check_"), strings.HasPrefix(b, "check_")
	switch {
	case ca == cb:
		return strings.Compare(a, b)
	case ca:
		return 1
	default:
		return -1
	}
}

// metaRefusal says why a pair may not become meta, "" when it may. The value
// never is part of the reason: it may be a secret.
func metaRefusal(key, value string) string {
	switch {
	case secret(key):
		return "looks like a secret, and meta can be read by everybody"
	case key == "":
		return "the key is empty"
	case len(key) > maxMetaKey:
		return fmt.Sprintf("the key is longer than %d bytes", maxMetaKey)
	case strings.HasPrefix(key, reservedMeta):
		return fmt.Sprintf("keys that begin with %q belong to Consul", reservedMeta)
	case strings.ContainsFunc(key, notMetaKey):
		return "the key has a character other than a-z, A-Z, 0-9, - and _"
	case len(value) > maxMetaValue:
		return fmt.Sprintf("the value is longer than %d bytes", maxMetaValue)
	}
	return ""
}

func secret(key string) bool {
	key = strings.ToUpper(key)
	return strings.Contains(key, "TOKEN") || strings.Contains(key, "PASSWORD") || strings.Contains(key, "SECRET")
}

func notMetaKey(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_':
		return false
	}
	return true
}
