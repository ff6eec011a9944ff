package registrator

import (
	"context"
	"regexp"
	"slices"
	"strings"
)

// The labels that bg gives to the containers of a service's colors. The prefix is
// there only when the service's keys in KV have one.
const (
	labelService    = "bg.service"
	labelColor      = "bg.color"
	labelDeployment = "bg.deployment"
	labelPrefix     = "bg.prefix"
)

// The tags that say whether a color serves, and what begins the one with the
// version. Registrator gives none of them.
const (
	tagLive    = "live"
	tagIdle    = "idle"
	tagVersion = "version="
)

// deployed is what is known of a container that a deployment of bg started.
type deployed struct {
	service string // such as books-ms
	prefix  string // of its keys in KV: "", or ends with a slash
	color   string // blue or green
	version string // its image's tag, or the beginning of its digest
}

// folder is where in KV the service's color and deployments are.
func (d deployed) folder() string { return d.prefix + d.service }

// namePattern is what bg takes for a service, and prefixPattern for a prefix: labels
// can be written by anybody who may start a container.
var (
	namePattern   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$`)
	prefixPattern = regexp.MustCompile(`^([A-Za-z0-9_.-]+/)*$`)
)

// deployedBy reads bg's labels, and returns nil when the container has none.
func deployedBy(c Container) *deployed {
	d := deployed{service: c.Labels[labelService], prefix: c.Labels[labelPrefix], color: c.Labels[labelColor], version: version(c.Image)}
	if c.Labels[labelDeployment] == "" || d.color != "blue" && d.color != "green" ||
		!namePattern.MatchString(d.service) || !prefixPattern.MatchString(d.prefix) {
		return nil
	}
	return &d
}

// version returns the tag of an image's reference, without one the beginning of its
// digest, and without both what Docker takes then.
func version(image string) string {
	image, digest, _ := strings.Cut(image, "@")
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		return image[i+1:]
	}
	if algorithm, sum, ok := strings.Cut(digest, ":"); ok {
		return algorithm + ":" + short(sum)
	}
	return "latest"
}

// tagged returns the tags of s with those that say whether it is live, and its
// version. While that is not known it stays as Consul has it: what it was when this
// registrator started is more likely right than nothing.
func tagged(s Service, state standing, registered []string) []string {
	tags := slices.Clone(s.Tags)
	add := func(tag string) {
		if !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	switch {
	case state.known() && state.live == s.deployed.color:
		add(tagLive)
	case state.known():
		add(tagIdle)
	default:
		for _, tag := range registered {
			if tag == tagLive || tag == tagIdle {
				add(tag)
			}
		}
	}
	add(tagVersion + s.deployed.version)
	return tags
}

// addColors completes what shall be registered with what bg's keys in KV say: tags
// for the instances of its services, and for each service a report.
func (r *Registrator) addColors(ctx context.Context, want *truth, actual map[string]entry) {
	if r.cfg.Plain {
		return
	}
	reports := map[string]Service{}
	folders := map[string]bool{}
	for id, s := range want.services {
		if s.deployed == nil {
			continue
		}
		folders[s.deployed.folder()] = true
		state := r.colors.of(s.deployed.folder())
		s.Tags = tagged(s, state, actual[id].Tags)
		want.services[id] = s
		if report := reportOf(*s.deployed, state, r.host); report != nil {
			reports[report.ID] = *report
		} else if e, ok := actual[reportID(*s.deployed, r.host)]; ok {
			want.kept[e.Mark.Container] = true
		}
	}
	for id, report := range reports {
		want.services[id] = report
	}
	r.colors.follow(ctx, folders)
}
