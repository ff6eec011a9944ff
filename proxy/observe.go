package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// State is what an nginx and a service's share of it look like.
type State struct {
	Version   string   // such as 1.30.6; "" when it is not known
	Workers   []int    // PIDs that accept connections
	Leaving   []int    // PIDs of workers that are shutting down
	Files     Files    // as they are on disk
	Upstreams []string // addresses "host:port" that the upstreams file sends to
	Preview   []string // those that it only sends to when a client asks for a preview
	Previews  bool     // the templates have a preview
	Included  bool     // nginx reads that file
	Warnings  []string // what would cost requests or time
}

// Observe looks at nginx and at the service's files in it. It changes nothing.
// Its error is ErrUnreachable when nginx is not there, and ErrBroken when its
// configuration is invalid because of a file that is not the service's.
func (n *Nginx) Observe(ctx context.Context) (State, error) {
	seen, err := n.look(ctx)
	if err != nil {
		return State{}, err
	}
	state := State{
		Version: seen.config.version, Workers: seen.workers.serving, Leaving: seen.workers.leaving,
		Files: seen.files, Included: seen.config.includes(seen.files.Upstreams.Path), Previews: n.previews(),
	}
	blocks, err := upstreams(seen.files.Upstreams.Data)
	if err != nil {
		state.Warnings = append(state.Warnings, fmt.Sprintf("%s cannot be read: %v", seen.files.Upstreams.Path, err))
	}
	state.Upstreams, state.Preview = n.split(blocks)
	switch {
	case errors.Is(seen.untold, ErrBroken):
		state.Warnings = append(state.Warnings, seen.untold.Error())
	case seen.untold == nil:
		state.Warnings = append(state.Warnings, seen.config.warnings(n.cfg.DrainTimeout)...)
	}
	return state, nil
}

// warnings names the settings of nginx that would cost requests or time during
// a switch.
func (d dump) warnings(drain time.Duration) []string {
	var list []string
	keepAlive, err := d.setting("keepalive_min_timeout")
	switch {
	case d.version != "" && versionLess(d.version, "1.27.4"):
		list = append(list, fmt.Sprintf("nginx %s has no keepalive_min_timeout (1.27.4 has): "+
			"a reload can lose requests on idle connections, unless keepalive_timeout is 0", d.version))
	case err != nil:
		list = append(list, err.Error())
	case keepAlive == 0:
		list = append(list, "keepalive_min_timeout is not set: a reload can lose requests on idle connections; set it to 3s in http")
	case drain > 0 && keepAlive >= drain:
		list = append(list, fmt.Sprintf("keepalive_min_timeout %s is not below the drain's time-out %s", keepAlive, drain))
	}
	shutdown, err := d.setting("worker_shutdown_timeout")
	switch {
	case err != nil:
		list = append(list, err.Error())
	case shutdown == 0:
		list = append(list, "worker_shutdown_timeout is not set: a WebSocket keeps an old worker alive for ever")
	case drain > 0 && shutdown >= drain:
		list = append(list, fmt.Sprintf("worker_shutdown_timeout %s is not below the drain's time-out %s", shutdown, drain))
	}
	return list
}

// setting returns the longest time that a directive has anywhere in the
// configuration, 0 when it is not there.
func (d dump) setting(name string) (time.Duration, error) {
	var longest time.Duration
	for _, file := range d.order {
		list, err := directives(d.content[file])
		if err != nil {
			continue // nginx accepted it: it is in a syntax of a module
		}
		for _, s := range list {
			if s.name() != name || len(s.words) != 2 {
				continue
			}
			value, err := parseTime(s.words[1])
			if err != nil {
				return 0, fmt.Errorf("%s:%d: %s: %w", file, s.line, name, err)
			}
			longest = max(longest, value)
		}
	}
	return longest, nil
}

// units are nginx's suffixes of times, those of two letters first
// (https://nginx.org/en/docs/syntax.html).
var units = []struct {
	suffix string
	unit   time.Duration
}{
	{"ms", time.Millisecond}, {"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}, {"d", 24 * time.Hour},
	{"w", 7 * 24 * time.Hour}, {"M", 30 * 24 * time.Hour}, {"y", 365 * 24 * time.Hour},
}

// parseTime reads a time in nginx's syntax: "3s", "1h30m", "75".
func parseTime(text string) (time.Duration, error) {
	var total time.Duration
	for rest := strings.TrimSpace(text); rest != ""; rest = strings.TrimSpace(rest) {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		number, err := strconv.Atoi(rest[:digits])
		if err != nil {
			return 0, fmt.Errorf("%q is no time", text)
		}
		rest = rest[digits:]
		at := slices.IndexFunc(units, func(u struct {
			suffix string
			unit   time.Duration
		}) bool {
			return strings.HasPrefix(rest, u.suffix)
		})
		switch {
		case at >= 0:
			total += time.Duration(number) * units[at].unit
			rest = rest[len(units[at].suffix):]
		case rest == "":
			total += time.Duration(number) * time.Second
		default:
			return 0, fmt.Errorf("%q is no time", text)
		}
	}
	return total, nil
}

// versionLess compares versions of numbers and dots.
func versionLess(a, b string) bool {
	return slices.Compare(numbers(a), numbers(b)) < 0
}

func numbers(version string) []int {
	var list []int
	for part := range strings.SplitSeq(version, ".") {
		n, _ := strconv.Atoi(part) // versionLine lets nothing but digits through
		list = append(list, n)
	}
	return list
}
