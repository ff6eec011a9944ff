package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/distribution/reference"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
)

// Image is one image on the Engine.
type Image struct {
	ID      string
	Names   []string // its tags, such as books-ms:1.0
	Digests []string // what registries call it, such as books-ms@sha256:…
	UsedBy  []string // ids of the containers that were made from it, running or not
	Size    int64    // bytes, layers that others share included
}

// Owned returns the containers that bg made for the service of src, of both
// colors, running or not, also those that its Compose file knows no more.
func (e *Engine) Owned(ctx context.Context, src Source) ([]Container, error) {
	project, err := e.load(ctx, src.File, src.Project)
	if err != nil {
		return nil, err
	}
	summaries, err := e.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("label", LabelService+"="+src.Service),
		filters.Arg("label", api.ProjectLabel+"="+project.Name),
		filters.Arg("label", LabelDeployment),
	)})
	if err != nil {
		return nil, fmt.Errorf("list containers of %s: %w", src.Service, reach(err))
	}
	list := make([]Container, 0, len(summaries))
	for _, s := range summaries {
		c, err := e.inspect(ctx, s.ID)
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// Images returns all images on the Engine and who uses each.
func (e *Engine) Images(ctx context.Context) ([]Image, error) {
	containers, err := e.docker.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", reach(err))
	}
	users := map[string][]string{}
	for _, c := range containers {
		users[c.ImageID] = append(users[c.ImageID], c.ID)
	}
	summaries, err := e.docker.ImageList(ctx, image.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list images: %w", reach(err))
	}
	list := make([]Image, 0, len(summaries))
	for _, s := range summaries {
		none := func(name string) bool { return name == "<none>:<none>" || name == "<none>@<none>" }
		list = append(list, Image{
			ID: s.ID, UsedBy: users[s.ID], Size: s.Size,
			Names: slices.DeleteFunc(s.RepoTags, none), Digests: slices.DeleteFunc(s.RepoDigests, none),
		})
	}
	return list, nil
}

// RemoveImage removes an image with all of its names. The Engine refuses when a
// container uses it.
func (e *Engine) RemoveImage(ctx context.Context, i Image) error {
	names := i.Names
	if len(names) == 0 {
		names = []string{i.ID}
	}
	for _, name := range names { // the last name takes the image with it
		_, err := e.docker.ImageRemove(ctx, name, image.RemoveOptions{PruneChildren: true})
		if err != nil && !gone(err) {
			return fmt.Errorf("remove image %s: %w", name, reach(err))
		}
	}
	return nil
}

// FullName returns ref the way the Engine lists it: with its tag, and without
// the parts of Docker Hub. What is no name comes back as it is.
func FullName(ref string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ref
	}
	return reference.FamiliarString(reference.TagNameOnly(named))
}

// Repository returns the name in ref, without tag and digest; what is no name
// comes back as it is.
func Repository(ref string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ref
	}
	return reference.FamiliarName(named)
}
