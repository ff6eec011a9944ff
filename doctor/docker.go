package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"bg/color"
	"bg/engine"
	"bg/registry"
)

// oldestAPI is the Engine API of Docker 20.10, the oldest that bg is tested with.
const oldestAPI = "1.41"

// Engine is what bg asks Docker about itself and about the Compose file.
type Engine interface {
	Facts(ctx context.Context) (engine.Facts, error)
	Published(ctx context.Context, src engine.Source, c color.Color) ([]engine.Port, error)
	Version(ctx context.Context, ref string, policy engine.Pull) (engine.Version, error)
	Image(ctx context.Context, src engine.Source, c color.Color) (string, error)
	Mounts(ctx context.Context, name string) ([]string, error)
	Trial(ctx context.Context, like, name string) (engine.Container, func(context.Context) error, error)
}

// Catalog waits for registrations.
type Catalog interface {
	Wait(ctx context.Context, name string, look func([]registry.Instance) bool) error
}

// DockerChecks look at the Engine.
func DockerChecks(e Engine) []Check {
	return []Check{{Area: "Docker", What: "Engine", Look: func(ctx context.Context) []Finding {
		facts, err := e.Facts(ctx)
		if err != nil {
			return []Finding{failure("Engine", err, "start Docker, or point DOCKER_HOST at it")}
		}
		api := pass("API", "%s (Docker %s)", facts.API, facts.Version)
		if older(facts.API, oldestAPI) {
			api = Finding{What: "API", Status: Failure, Detail: facts.API, Mend: "bg needs Docker 20.10 or newer (API " + oldestAPI + ")"}
		}
		return []Finding{api, clock("Docker's", facts.Ahead)}
	}}}
}

// ServiceChecks look at what the Compose file says of a service's colors.
func ServiceChecks(e Engine, src engine.Source) []Check {
	return []Check{
		{Area: "service", What: "ports", Look: func(ctx context.Context) []Finding { return []Finding{ports(ctx, e, src)} }},
		{Area: "service", What: "image", Look: func(ctx context.Context) []Finding { return []Finding{picture(ctx, e, src)} }},
	}
}

// ports looks at whether both colors can be there at the same time, and whether
// it is clear which of their ports serves.
func ports(ctx context.Context, e Engine, src engine.Source) Finding {
	var of [2][]engine.Port
	for i, c := range []color.Color{color.Blue, color.Green} {
		var err error
		if of[i], err = e.Published(ctx, src, c); err != nil {
			return failure("compose file", err, "see docker compose config")
		}
	}
	taken := slices.IndexFunc(of[0], func(p engine.Port) bool {
		return p.Host != 0 && slices.ContainsFunc(of[1], func(q engine.Port) bool { return p.Host == q.Host && p.Protocol == q.Protocol })
	})
	switch {
	case len(of[0]) == 0 || len(of[1]) == 0:
		return warning("ports", `publish the port that serves, such as ports: ["8080"], unless Registrator runs with -internal`, "a color publishes no port")
	case taken >= 0:
		return Finding{What: "ports", Status: Failure, Detail: fmt.Sprintf("both colors publish the port %d, so only one can run", of[0][taken].Host), Mend: fmt.Sprintf(`let Docker choose: ports: ["%d"]`, of[0][taken].Container)}
	case len(of[0]) > 1 && src.Port == 0:
		return warning("ports", "set compose.port in bg.yml", "several are published: Registrator then adds the port to the service's name")
	}
	return pass("ports", "container port %d, of the host one that Docker chooses", of[0][0].Container)
}

// picture looks at whether the image can be had.
func picture(ctx context.Context, e Engine, src engine.Source) Finding {
	ref, err := e.Image(ctx, src, color.Blue)
	if err != nil {
		return failure("compose file", err, "see docker compose config")
	}
	version, err := e.Version(ctx, ref, src.Pull)
	switch {
	case err != nil:
		return failure("image", err, "build or push "+ref+", or name another with --image or --tag")
	case version.Pull && src.Pull == engine.PullNever:
		return Finding{What: "image", Status: Failure, Detail: ref + " is not here, and compose.pull is never", Mend: "docker pull " + ref}
	}
	return pass("image", "%s", version)
}

// removal is the time that a busy Docker has to remove the trial.
const removal = 20 * time.Second

// RegistratorCheck starts a container from the image of the container like and
// looks at how it is registered under name.
func RegistratorCheck(e Engine, catalog Catalog, like, name string, patience time.Duration) Check {
	return Check{Area: "Registrator", What: "registration", Look: func(ctx context.Context) (found []Finding) {
		trial, remove, err := e.Trial(ctx, like, name)
		if remove != nil {
			defer func() {
				// The trial is removed also when its time is over.
				after, cancel := context.WithTimeout(context.WithoutCancel(ctx), removal)
				defer cancel()
				if err := remove(after); err != nil {
					found = append(found, failure("trial", err, "docker rm -f "+name))
				}
			}()
		}
		if err != nil {
			return []Finding{warning("registration", "start nginx, whose image is tried", "a trial cannot be started: %v", err)}
		}
		return registered(ctx, catalog, trial, patience)
	}}
}

// registered waits for the registration of trial and looks at its address.
func registered(ctx context.Context, catalog Catalog, trial engine.Container, patience time.Duration) []Finding {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not registered within %s", patience))
	defer cancel()
	started, at := time.Now(), registry.Instance{}
	err := catalog.Wait(ctx, trial.Name, func(list []registry.Instance) bool {
		if len(list) > 0 {
			at = list[0]
		}
		return len(list) > 0
	})
	if err != nil {
		return []Finding{failure("presence", fmt.Errorf("a container with a published port and SERVICE_NAME was %w", err), "start Registrator with access to this Docker and this Consul: bg registrator, or bg stack up")}
	}
	found := []Finding{pass("presence", "%s, a trial, was registered after %s", trial.Name, time.Since(started).Round(time.Millisecond))}
	return append(found, address(trial, at))
}

// address judges under which address Registrator registers a container.
func address(trial engine.Container, at registry.Instance) Finding {
	own := slices.Contains(trial.Addresses, at.Address)
	published := slices.ContainsFunc(trial.Ports, func(p engine.Port) bool { return p.Host != 0 && p.Host == at.Port })
	inside := slices.ContainsFunc(trial.Ports, func(p engine.Port) bool { return p.Container == at.Port })
	switch {
	case own && published && !inside:
		return Finding{
			What: "addresses", Status: Failure, Detail: at.HostPort() + " is the container's address with the host's port, which reaches nothing",
			Mend: "start Registrator with -ip ADDRESS (of this host), or with -internal",
		}
	case own:
		return pass("addresses", "of containers (-internal), such as %s: nginx and bg have to be in their network", at.HostPort())
	case published && (strings.HasPrefix(at.Address, "127.") || at.Address == "localhost"):
		return warning("addresses", "start Registrator with -ip ADDRESS that containers reach", "%s is this host's loopback, which an nginx in a container cannot reach", at.HostPort())
	case published:
		return pass("addresses", "of this host, such as %s", at.HostPort())
	}
	return Finding{What: "addresses", Status: Failure, Detail: at.HostPort() + " is no port of the trial", Mend: "is another Registrator using the same Consul for another Docker?"}
}
