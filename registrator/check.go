package registrator

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// defaultInterval is between two runs of a check that names no interval.
const defaultInterval = "10s"

// checkOf returns the check that m asks for, nil when it asks for none, and a
// line for each setting that Consul would refuse and that was left out.
func checkOf(m metadata, s Service, c Container) (*api.AgentServiceCheck, []string) {
	check := &api.AgentServiceCheck{}
	endpoint := net.JoinHostPort(s.Address, strconv.Itoa(s.Port))
	switch {
	case m.get("check_http") != "":
		check.HTTP = "http://" + endpoint + m.get("check_http")
		check.Method = m.get("check_http_method")
	case m.get("check_https") != "":
		check.HTTP = "https://" + endpoint + m.get("check_https")
		check.Method = m.get("check_https_method")
	case m.get("check_cmd") != "":
		check.Args = []string{"check-cmd", short(c.ID), s.exposed, m.get("check_cmd")}
	case m.get("check_script") != "":
		// Registrator hands the whole line to Consul as the name of a program.
		check.Args = []string{"/bin/sh", "-c", interpolate(m.get("check_script"), s)}
	case m.get("check_ttl") != "":
		check.TTL = m.get("check_ttl")
	case m.get("check_tcp") != "":
		check.TCP = endpoint
	case m.get("check_grpc") != "":
		check.GRPC = endpoint
		check.GRPCUseTLS = m.get("check_grpc_use_tls") != ""
	default:
		return nil, nil
	}
	return check, settings(check, m)
}

// settings fills in what all kinds of checks share.
func settings(check *api.AgentServiceCheck, m metadata) (dropped []string) {
	duration := func(key, otherwise string) string {
		value := m.get(key)
		if value == "" {
			return otherwise
		}
		if _, err := time.ParseDuration(value); err != nil {
			dropped = append(dropped, fmt.Sprintf("%q: %q is no duration such as 10s", key, value))
			return otherwise
		}
		return value
	}
	switch status := m.get("check_initial_status"); status {
	case "", api.HealthPassing, api.HealthWarning, api.HealthCritical:
		check.Status = status
	default:
		dropped = append(dropped, fmt.Sprintf("%q: %q is not passing, warning or critical", "check_initial_status", status))
	}
	if check.TTL == "" {
		check.Interval = duration("check_interval", defaultInterval)
		check.Timeout = duration("check_timeout", "")
		check.TLSSkipVerify = m.get("check_tls_skip_verify") != ""
	}
	check.DeregisterCriticalServiceAfter = duration("check_deregister_after", "")
	return dropped
}

func interpolate(script string, s Service) string {
	return strings.NewReplacer("$SERVICE_IP", s.Address, "$SERVICE_PORT", strconv.Itoa(s.Port)).Replace(script)
}

// checkType returns the word with which the agent lists a check of this kind.
func checkType(check *api.AgentServiceCheck) string {
	switch {
	case check == nil:
		return ""
	case check.HTTP != "":
		return "http"
	case check.TCP != "":
		return "tcp"
	case check.GRPC != "":
		return "grpc"
	case check.TTL != "":
		return "ttl"
	default:
		return "script"
	}
}
