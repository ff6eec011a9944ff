package proxy

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"regexp"

	dep "github.com/hashicorp/consul-template/dependency"
)

// hostile matches what could leave its place in an nginx file: the end of a
// statement or a block, a quote, a comment, an escape, a variable, a control
// character.
var hostile = regexp.MustCompile("[;{}\"'#\\\\$`\\x00-\\x1f\\x7f]")

// hostName matches a host name of RFC 1123, and the underscore that containers
// have in theirs.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?$`)

// checkInstance returns an error that names the instance when its address or
// port is none. Whoever may register a service writes these.
func checkInstance(s *dep.HealthService) error {
	switch {
	case !isHost(s.Address):
		return fmt.Errorf("%w: instance %q of service %q has the address %q, which is no IP or host name", ErrHostile, s.ID, s.Name, s.Address)
	case s.NodeAddress != "" && !isHost(s.NodeAddress):
		return fmt.Errorf("%w: node %q of instance %q has the address %q, which is no IP or host name", ErrHostile, s.Node, s.ID, s.NodeAddress)
	case s.Port < 1 || s.Port > 65535:
		return fmt.Errorf("%w: instance %q of service %q has the port %d, which is not within 1-65535", ErrHostile, s.ID, s.Name, s.Port)
	}
	return nil
}

func isHost(address string) bool {
	ip, err := netip.ParseAddr(address)
	return err == nil && ip.Zone() == "" || len(address) <= 253 && hostName.MatchString(address)
}

// taint is a value of the catalog that must not reach an nginx file. Its marker
// stands in for it while the template runs, so that it does no harm where it is
// not used: tags of other tools, such as Traefik's rules, are full of quotes.
type taint struct {
	marker []byte
	what   string
}

// disarm puts markers in place of the hostile strings in v, at any depth. What
// says whose strings they are.
func (d *data) disarm(v reflect.Value, what string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			d.disarm(v.Elem(), what)
		}
	case reflect.Slice:
		for i := range v.Len() {
			d.disarm(v.Index(i), what)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() {
				d.disarm(v.Field(i), what+" "+field.Name)
			}
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			value := reflect.New(v.Type().Elem()).Elem()
			value.Set(v.MapIndex(key))
			d.disarm(value, fmt.Sprintf("%s %v", what, key))
			v.SetMapIndex(key, value)
		}
	case reflect.String:
		if v.CanSet() && hostile.MatchString(v.String()) {
			v.SetString(d.taint(what, v.String()))
		}
	default: // holds no text
	}
}

// taint remembers a hostile value and returns its marker.
func (d *data) taint(what, value string) string {
	marker := fmt.Sprintf("bg-unsafe-value-%d-of-the-catalog", len(d.taints))
	d.taints = append(d.taints, taint{marker: []byte(marker), what: fmt.Sprintf("%s is %q", what, value)})
	return marker
}

// spilled returns an error that names the first hostile value that output uses.
func (d *data) spilled(output []byte) error {
	output = bytes.ToLower(output)
	for _, t := range d.taints {
		if bytes.Contains(output, t.marker) {
			return fmt.Errorf("%w, used by %s: %s", ErrHostile, d.source, t.what)
		}
	}
	return nil
}
