package engine

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli/command"
	"github.com/docker/docker/api/types/image"

	"bg/hint"
)

// Pull makes image present on the Engine, as policy says, with the credentials
// of Docker's configuration. An image that was built here and has never been in
// a registry is not asked for. When a registry does not answer, a local image
// is used with a warning.
func (e *Engine) Pull(ctx context.Context, ref, platform string, policy Pull) error {
	return e.pullWatched(ctx, ref, platform, policy, func(Pulling) {})
}

// pullWatched is Pull, and tells watch how far it is.
func (e *Engine) pullWatched(ctx context.Context, ref, platform string, policy Pull, watch func(Pulling)) error {
	local, err := e.docker.ImageInspect(ctx, ref)
	if exact(ref) && policy == PullAlways {
		policy = PullMissing // no registry has anything newer under that name
	}
	switch {
	case err != nil && !gone(err):
		return fmt.Errorf("inspect image %s: %w", ref, reach(err))
	case err == nil && (policy != PullAlways || len(local.RepoDigests) == 0):
		return nil
	case err != nil && policy == PullNever:
		return hint.Wrap(fmt.Errorf("image %s: not on this Engine", ref), "pull it, build it, or set compose.pull in bg.yml")
	}
	pullErr := e.pull(ctx, ref, platform, watch)
	if pullErr != nil && err == nil && ctx.Err() == nil {
		e.log.Warn("image cannot be pulled: the local one is used", "image", ref, "error", pullErr)
		return nil
	}
	return hint.Wrap(pullErr, "check the image's name and tag, `docker login`, and that the registry answers")
}

// exact reports whether ref means one image for ever: by its id or its digest.
func exact(ref string) bool {
	return strings.HasPrefix(ref, "sha256:") || strings.Contains(ref, "@sha256:")
}

// Digest returns the reference with a digest, such as books-ms@sha256:…, by
// which a registry has image, "" when no registry is known to have it.
func (e *Engine) Digest(ctx context.Context, image string) (string, error) {
	info, err := e.docker.ImageInspect(ctx, image)
	if err != nil && !gone(err) {
		return "", fmt.Errorf("inspect image %s: %w", image, reach(err))
	}
	if len(info.RepoDigests) == 0 {
		return "", nil
	}
	return info.RepoDigests[0], nil
}

// pull pulls ref and waits until it is there.
func (e *Engine) pull(ctx context.Context, ref, platform string, watch func(Pulling)) error {
	auth, err := command.RetrieveAuthTokenFromImage(e.cli.ConfigFile(), ref)
	if err != nil {
		return fmt.Errorf("pull %s: %w", ref, err)
	}
	stream, err := e.docker.ImagePull(ctx, ref, image.PullOptions{RegistryAuth: auth, Platform: platform})
	if err != nil {
		return fmt.Errorf("pull %s: %w", ref, reach(err))
	}
	defer stream.Close()
	if err := follow(stream, ref, watch); err != nil {
		return fmt.Errorf("pull %s: %w", ref, err)
	}
	return nil
}

// gone reports whether err says that what was asked for does not exist.
func gone(err error) bool { return errdefs.IsNotFound(err) }
