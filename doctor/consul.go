package doctor

import (
	"context"
	"strings"

	"bg/color"
	"bg/registry"
)

// oldestConsul is the first version with everything that bg asks of Consul.
const oldestConsul = "1.8"

// Consul is what bg asks Consul about itself and about the token.
type Consul interface {
	Facts(ctx context.Context) (registry.Facts, error)
	Denied(ctx context.Context, rights []registry.Right) (denied []registry.Right, controlled bool, err error)
}

// ConsulChecks look at Consul for services whose keys begin with one of keys
// and which are registered under names.
func ConsulChecks(consul Consul, keys, names []string) []Check {
	return []Check{
		{Area: "Consul", What: "server", Look: func(ctx context.Context) []Finding { return server(ctx, consul) }},
		{Area: "Consul", What: "rights", Look: func(ctx context.Context) []Finding { return []Finding{rights(ctx, consul, keys, names)} }},
	}
}

func server(ctx context.Context, consul Consul) []Finding {
	facts, err := consul.Facts(ctx)
	if err != nil {
		return []Finding{failure("server", err, "start Consul (bg stack up does), or point CONSUL_HTTP_ADDR at it")}
	}
	found := []Finding{pass("server", "answers at %s", facts.Address)}
	if facts.Leader == "" {
		found = append(found, Finding{What: "leader", Status: Failure, Detail: "there is none, so nothing can be written", Mend: "see consul operator raft list-peers, and the servers' logs"})
	} else {
		found = append(found, pass("leader", "%s", facts.Leader))
	}
	switch {
	case facts.Version == "":
		found = append(found, warning("version", "allow the token agent \"\" { policy = \"read\" } to have it looked at", "the token may not read it"))
	case older(facts.Version, oldestConsul):
		found = append(found, Finding{What: "version", Status: Failure, Detail: facts.Version, Mend: "bg needs Consul " + oldestConsul + " or newer"})
	default:
		found = append(found, pass("version", "%s", facts.Version))
	}
	return append(found, clock("Consul's", facts.Ahead))
}

// rights asks for everything that a deployment does in Consul. What a token may
// not see is missing in Consul's answers as if it did not exist, so that a
// deployment would wait for a registration that is long there.
func rights(ctx context.Context, consul Consul, keys, names []string) Finding {
	// A session belongs to the agent's node. When its name may not be read, the
	// right is asked for all nodes.
	facts, err := consul.Facts(ctx)
	if err != nil {
		return failure("rights", err, "start Consul, or point CONSUL_HTTP_ADDR at it")
	}
	wanted := []registry.Right{{Resource: "session", Segment: facts.Node, Access: "write"}, {Resource: "node", Segment: facts.Node, Access: "read"}}
	for _, key := range keys {
		wanted = append(wanted, registry.Right{Resource: "key", Segment: key, Access: "read"}, registry.Right{Resource: "key", Segment: key, Access: "write"})
	}
	for _, name := range names {
		wanted = append(wanted, registry.Right{Resource: "service", Segment: name, Access: "read"})
	}
	denied, controlled, err := consul.Denied(ctx, wanted)
	switch {
	case err != nil:
		return failure("rights", err, "set CONSUL_HTTP_TOKEN")
	case !controlled:
		return pass("rights", "access control is off")
	case len(denied) == 0:
		return pass("rights", "the token may do all that a deployment does")
	}
	var lacks, rules []string
	for _, r := range denied {
		lacks = append(lacks, r.String())
		rules = append(rules, rule(r))
	}
	return Finding{
		What: "rights", Status: Failure, Detail: "the token may not: " + strings.Join(lacks, ", "),
		Mend: "add to its policy: " + strings.Join(rules, " "),
	}
}

// rule is the line of a policy that grants r.
func rule(r registry.Right) string {
	return r.Resource + `_prefix "` + r.Segment + `" { policy = "` + r.Access + `" }`
}

// ColorCheck looks at what Consul says about the service's live color.
func ColorCheck(live func(context.Context) (color.Live, error)) Check {
	return Check{Area: "service", What: "color", Look: func(ctx context.Context) []Finding {
		seen, err := live(ctx)
		switch {
		case err != nil:
			return []Finding{failure("color", err, "read the key in Consul")}
		case seen.Color == color.None:
			return []Finding{pass("color", "never deployed, so blue is next")}
		}
		return []Finding{pass("color", "%s is live", seen.Color)}
	}}
}
