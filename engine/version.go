package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/docker/cli/cli/command"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/docker/compose/v5/pkg/compose"

	"bg/color"
)

// Version is the exact image that a reference means.
type Version struct {
	Ref    string `json:"ref"`
	ID     string `json:"id,omitempty"`     // on this Engine, "" when it is not there
	Digest string `json:"digest,omitempty"` // in a registry, "" when it never was in one
	// Pull says that a deployment pulls it first.
	Pull bool `json:"pull,omitempty"`
}

// Same reports whether both are surely one image.
func (v Version) Same(other Version) bool {
	return v.ID != "" && v.ID == other.ID || v.Digest != "" && digestOf(v.Digest) == digestOf(other.Digest)
}

// String returns what a person compares: the reference, with its id or digest.
func (v Version) String() string {
	switch {
	case v.Pull:
		return fmt.Sprintf("%s (%s, to be pulled)", v.Ref, digestOf(v.Digest))
	case v.ID != "" && v.ID != v.Ref:
		return fmt.Sprintf("%s (%s)", v.Ref, v.ID)
	}
	return v.Ref
}

// digestOf returns the digest in a reference that ends with one.
func digestOf(ref string) string { return ref[strings.LastIndex(ref, "@")+1:] }

// Version returns what ref would mean to a deployment that pulls as policy says:
// what a registry has by now, or else what is here. Nothing is pulled.
func (e *Engine) Version(ctx context.Context, ref string, policy Pull) (Version, error) {
	v := Version{Ref: ref}
	local, err := e.docker.ImageInspect(ctx, ref)
	here := err == nil
	if err != nil && !gone(err) {
		return v, fmt.Errorf("inspect image %s: %w", ref, reach(err))
	}
	if here {
		v.ID = local.ID
		v.Digest = slices.Concat(local.RepoDigests, []string{""})[0]
		if exact(ref) || policy != PullAlways || v.Digest == "" {
			return v, nil
		}
	}
	newest, err := e.digestInRegistry(ctx, ref)
	switch {
	case err != nil && here:
		e.log.Warn("the registry does not answer: the local image is compared", "image", ref, "error", err)
		return v, nil
	case err != nil:
		return v, err
	case here && slices.ContainsFunc(local.RepoDigests, func(d string) bool { return digestOf(d) == newest }):
		return v, nil
	}
	return Version{Ref: ref, Digest: newest, Pull: true}, nil
}

// digestInRegistry asks the registry of ref which image it has under that name.
func (e *Engine) digestInRegistry(ctx context.Context, ref string) (string, error) {
	auth, err := command.RetrieveAuthTokenFromImage(e.cli.ConfigFile(), ref)
	if err != nil {
		return "", fmt.Errorf("ask for image %s: %w", ref, err)
	}
	answer, err := e.docker.DistributionInspect(ctx, ref, auth)
	if err != nil {
		return "", fmt.Errorf("ask the registry for image %s: %w", ref, reach(err))
	}
	return answer.Descriptor.Digest.String(), nil
}

// Shape returns how many containers a deployment of c starts, and the port of
// theirs that is registered, 0 when the Compose file does not say.
func (e *Engine) Shape(ctx context.Context, src Source, c color.Color) (replicas, port int, err error) {
	project, name, err := e.colored(ctx, src, c)
	if err != nil {
		return 0, 0, err
	}
	s := project.Services[name]
	if port = src.Port; port == 0 && len(s.Ports) > 0 {
		port = int(s.Ports[0].Target)
	}
	return s.GetScale(), port, nil
}

// Described reports whether the Compose file of src still describes container k
// of color c, apart from its image.
func (e *Engine) Described(ctx context.Context, src Source, c color.Color, k Container) (bool, error) {
	project, name, err := e.colored(ctx, src, c)
	if err != nil {
		return false, err
	}
	s := project.Services[name]
	s.Image = k.Image
	mark(&s, k.Deployment)
	hash, err := compose.ServiceHash(s)
	if err != nil {
		return false, fmt.Errorf("compare service %s: %w", name, err)
	}
	info, err := e.docker.ContainerInspect(ctx, k.ID)
	if err != nil {
		return false, fmt.Errorf("inspect container %s: %w", k.Name, reach(err))
	}
	return info.Config.Labels[api.ConfigHashLabel] == hash, nil
}
