package registrator

import (
	"errors"
	"fmt"
	"time"

	"bg/hint"
)

// ErrConfig is returned when the configuration cannot be used.
var ErrConfig = errors.New("registrator configuration")

// Deregister says which exited containers lose their services.
type Deregister string

// The values of -deregister.
const (
	// Always removes the services of every container that exits.
	Always Deregister = "always"
	// OnSuccess keeps those of a container that exited with a failure of its
	// own, so that its critical check stays visible until it is removed.
	OnSuccess Deregister = "on-success"
)

// Config is what the flags of Registrator say, under the same names.
type Config struct {
	IP             string        // address of ports mapped to the host; "" finds it out
	Internal       bool          // register container addresses and exposed ports
	Explicit       bool          // only containers with a SERVICE_NAME
	Cleanup        bool          // also remove dangling services that another registrator left under this host name
	Resync         time.Duration // 0: only when something happens, and a cheap audit
	Deregister     Deregister    // "" is Always
	Tags           string        // appended to the tags of every service, comma-separated
	TTL            time.Duration // with TTLRefresh: see docs/registrator.md
	TTLRefresh     time.Duration // frequency with which registrations are compared again
	UseIPFromLabel string        // name of the label that holds a service's address
	RetryAttempts  int           // attempts to reach Consul at the start after the first; -1 for ever
	RetryInterval  time.Duration // between these attempts
	Hostname       string        // first part of service ids; "" is this machine's
	Listen         string        // address of /health and /metrics; "" serves none
	Plain          bool          // nothing but what Registrator registers, for services of bg too
}

// Validate returns an error that wraps ErrConfig when flags contradict each
// other, in the cases in which Registrator refuses to start too.
func (c Config) Validate() error {
	switch {
	case (c.TTL > 0) != (c.TTLRefresh > 0):
		return configError("-ttl and -ttl-refresh must be given together", "give both, or none")
	case c.TTL > 0 && c.TTL <= c.TTLRefresh:
		return configError("-ttl must be greater than -ttl-refresh", "make -ttl about three times -ttl-refresh")
	case c.TTL < 0 || c.TTLRefresh < 0 || c.Resync < 0:
		return configError("-ttl, -ttl-refresh and -resync must not be negative", "use 0 for never")
	case c.RetryAttempts < -1:
		return configError("-retry-attempts must be -1 or more", "use -1 to try for ever")
	case c.RetryInterval <= 0:
		return configError("-retry-interval must be greater than 0", "give milliseconds, such as -retry-interval 2000")
	case c.Deregister != Always && c.Deregister != OnSuccess:
		return configError(fmt.Sprintf("-deregister is %q", c.Deregister), `use "always" or "on-success"`)
	}
	return nil
}

func configError(what, mend string) error {
	return hint.Wrap(fmt.Errorf("%w: %s", ErrConfig, what), mend)
}
