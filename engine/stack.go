package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/pkg/jsonmessage"
)

// Stack is a Compose project whose file, and the files its configs name, are in
// memory: nothing of it has to be on the disk of the Engine.
type Stack struct {
	engine  *Engine
	project *types.Project
}

// LoadStack reads the Compose file name of fsys. Its configs are handed to the
// containers as content.
func (e *Engine) LoadStack(ctx context.Context, fsys fs.FS, name string, env ...string) (*Stack, error) {
	content, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	project, err := e.parse(ctx, types.ConfigFile{Filename: name, Content: content}, "", env...)
	if err != nil {
		return nil, err
	}
	for key, config := range project.Configs {
		if config.File == "" {
			continue
		}
		inside, err := relative(project.WorkingDir, config.File)
		if err != nil {
			return nil, err
		}
		data, err := fs.ReadFile(fsys, inside)
		if err != nil {
			return nil, fmt.Errorf("%w: config %s: %w", ErrConfig, key, err)
		}
		config.File, config.Content = "", string(data)
		project.Configs[key] = config
	}
	return &Stack{engine: e, project: project}, nil
}

// Images returns the images of the stack by the service that runs them.
func (s *Stack) Images() map[string]string {
	images := map[string]string{}
	for name, service := range s.project.Services {
		images[name] = service.Image
	}
	return images
}

// Up creates what is missing or differs, starts the stack and returns when its
// containers run.
func (s *Stack) Up(ctx context.Context) error {
	for name, service := range s.project.Services {
		service.Build, service.PullPolicy = nil, types.PullPolicyNever // the images are here by now
		s.project.Services[name] = service
	}
	err := s.engine.compose.Up(ctx, s.project, api.UpOptions{
		Create: api.CreateOptions{Recreate: api.RecreateDiverged, RecreateDependencies: api.RecreateDiverged, IgnoreOrphans: true, Inherit: true, QuietPull: true},
		Start:  api.StartOptions{Project: s.project},
	})
	if err != nil {
		return fmt.Errorf("start the stack: %w", reach(err))
	}
	return nil
}

// Down stops and removes the stack's containers and networks, and its volumes
// when volumes is set.
func (s *Stack) Down(ctx context.Context, volumes bool) error {
	if err := s.engine.compose.Down(ctx, s.project.Name, api.DownOptions{Project: s.project, Volumes: volumes}); err != nil {
		return fmt.Errorf("end the stack: %w", reach(err))
	}
	return nil
}

// Containers returns the stack's containers of one service.
func (s *Stack) Containers(ctx context.Context, service string) ([]Container, error) {
	return s.engine.list(ctx, s.project.Name, service)
}

// Name returns the Compose project's name.
func (s *Stack) Name() string { return s.project.Name }

// HasImage reports whether the Engine has ref.
func (e *Engine) HasImage(ctx context.Context, ref string) (bool, error) {
	_, err := e.docker.ImageInspect(ctx, ref)
	if gone(err) {
		return false, nil
	}
	return err == nil, reach(err)
}

// ImageLabel returns the value of an image's label, "" without image or label.
func (e *Engine) ImageLabel(ctx context.Context, ref, label string) (string, error) {
	info, err := e.docker.ImageInspect(ctx, ref)
	switch {
	case gone(err):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("inspect image %s: %w", ref, reach(err))
	case info.Config == nil:
		return "", nil
	}
	return info.Config.Labels[label], nil
}

// File is one file of an image's build context.
type File struct {
	Name string
	Mode int64
	Data []byte
}

// Build builds an image from files, one of which is the Dockerfile.
func (e *Engine) Build(ctx context.Context, tag string, labels map[string]string, files ...File) error {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, f := range files {
		header := &tar.Header{Name: f.Name, Mode: f.Mode, Size: int64(len(f.Data)), ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(header); err != nil {
			return fmt.Errorf("build %s: %w", tag, err)
		}
		if _, err := w.Write(f.Data); err != nil {
			return fmt.Errorf("build %s: %w", tag, err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("build %s: %w", tag, err)
	}
	answer, err := e.docker.ImageBuild(ctx, &archive, build.ImageBuildOptions{Tags: []string{tag}, Labels: labels, Remove: true, ForceRemove: true})
	if err != nil {
		return fmt.Errorf("build %s: %w", tag, reach(err))
	}
	defer answer.Body.Close()
	if err := jsonmessage.DisplayJSONMessagesStream(answer.Body, io.Discard, 0, false, nil); err != nil {
		return fmt.Errorf("build %s: %w", tag, err)
	}
	return nil
}

// relative returns name below dir as fs.FS wants it.
func relative(dir, name string) (string, error) {
	if !path.IsAbs(name) {
		return path.Clean(name), nil
	}
	if len(name) > len(dir) && name[:len(dir)+1] == dir+"/" {
		return name[len(dir)+1:], nil
	}
	return "", fmt.Errorf("%w: %s is outside of the stack", ErrConfig, name)
}

// PublishedPort returns the host's port that a container's port is published
// on, 0 when it is not.
func (c Container) PublishedPort(port int) int {
	for _, p := range c.Ports {
		if p.Container == port && p.Protocol == "tcp" {
			return p.Host
		}
	}
	return 0
}
