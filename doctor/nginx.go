package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"

	"bg/color"
	"bg/hint"
	"bg/proxy"
)

// Nginx is what bg asks the nginx in front of a service.
type Nginx interface {
	Observe(ctx context.Context) (proxy.State, error)
	Render(ctx context.Context, input proxy.RenderInput) (proxy.Files, error)
	Prove(ctx context.Context, files proxy.Files) error
}

// Front says where nginx is and which files of it bg writes.
type Front struct {
	Container string // "" for an nginx on this machine
	URL       string // "" when nothing may be asked through nginx
	Header    string // of an answer, that names the color
	Path      string // that is asked
	Files     []string
	Service   bool // the files of a service are looked at too
}

// NginxChecks look at nginx. Planned are addresses that stand for the instances
// of a color.
func NginxChecks(n Nginx, e Engine, front Front, planned []string) []Check {
	checks := []Check{{Area: "nginx", What: "nginx", Look: func(ctx context.Context) []Finding { return state(ctx, n) }}}
	if front.Container != "" {
		checks = append(checks, Check{Area: "nginx", What: "mounts", Look: func(ctx context.Context) []Finding { return mounts(ctx, e, front) }})
	}
	if front.URL != "" {
		checks = append(checks, Check{Area: "nginx", What: "answers", Look: func(ctx context.Context) []Finding { return []Finding{answers(ctx, front)} }})
	}
	if front.Service {
		checks = append(checks, Check{Area: "nginx", What: "templates", Look: func(ctx context.Context) []Finding { return templates(ctx, n, planned) }})
	}
	return checks
}

// state looks at nginx's version and directives.
func state(ctx context.Context, n Nginx) []Finding {
	seen, err := n.Observe(ctx)
	if err != nil {
		return []Finding{failure("configuration", err, "run nginx -t")}
	}
	found := []Finding{pass("configuration", "nginx %s, %d workers", seen.Version, len(seen.Workers))}
	for _, w := range seen.Warnings {
		found = append(found, warning("directives", "templates/nginx.conf of bg is a complete example", "%s", w))
	}
	if len(seen.Warnings) == 0 {
		found = append(found, pass("directives", "reloads lose no request, and old workers end in time"))
	}
	return found
}

// mounts looks at whether bg's files can be replaced and survive the container.
func mounts(ctx context.Context, e Engine, front Front) []Finding {
	list, err := e.Mounts(ctx, front.Container)
	if err != nil {
		return []Finding{failure("mounts", err, "start nginx (bg stack up does), or set proxy.container")}
	}
	var found []Finding
	for _, file := range front.Files {
		dir := path.Dir(file)
		switch {
		case slices.Contains(list, file):
			found = append(found, Finding{What: "mounts", Status: Failure, Detail: file + " is mounted by itself, so it cannot be replaced", Mend: "mount its directory " + dir})
		case !covered(dir, list):
			found = append(found, warning("mounts", "mount a volume at "+dir, "%s is in the container only: the routes are gone with it", dir))
		default:
			found = append(found, pass("mounts", "%s is a mounted directory", dir))
		}
	}
	return found
}

// covered reports whether dir, or a directory above it, is one of mounts.
func covered(dir string, mounts []string) bool {
	for ; dir != "/" && dir != "."; dir = path.Dir(dir) {
		if slices.Contains(mounts, dir) {
			return true
		}
	}
	return false
}

// answers asks once through nginx.
func answers(ctx context.Context, front Front) Finding {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, front.URL+front.Path, http.NoBody)
	if err != nil {
		return failure("answers", err, "correct proxy.url in bg.yml")
	}
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return failure("answers", fmt.Errorf("GET %s: %w", request.URL, err), "set proxy.url to where this machine reaches nginx")
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<20)); err != nil {
		return failure("answers", fmt.Errorf("GET %s: %w", request.URL, err), "look at nginx's log")
	}
	named := answer.Header.Get(front.Header)
	switch {
	case named != "":
		return pass("answers", "GET %s: %s by %s", request.URL, answer.Status, named)
	case answer.StatusCode == http.StatusNotFound || !front.Service:
		return pass("answers", "GET %s: %s, as before a first deployment", request.URL, answer.Status)
	}
	return warning("answers", "add_header "+front.Header+" … always; as in templates/ of bg, so that a switch can be confirmed",
		"GET %s: %s without the header %s", request.URL, answer.Status, front.Header)
}

// templates renders both colors' files and has nginx try them in a copy of its
// configuration.
func templates(ctx context.Context, n Nginx, planned []string) []Finding {
	var found []Finding
	for _, c := range []color.Color{color.Blue, color.Green} {
		files, err := n.Render(ctx, proxy.RenderInput{Color: c, Want: planned, Planned: planned})
		if err == nil {
			err = n.Prove(ctx, files)
		}
		switch {
		case errors.Is(err, proxy.ErrUnreachable):
			found = append(found, warning("templates", hint.Of(err), "%s: nginx is not there to try them", c))
		case err != nil:
			found = append(found, failure("templates", fmt.Errorf("%s: %w", c, err), "correct the template; bg plan shows what comes of it"))
		default:
			found = append(found, pass("templates", "%s: rendered against the catalog, nginx takes them", c))
		}
	}
	return found
}
