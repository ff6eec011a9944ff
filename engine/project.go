package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/distribution/reference"
	"github.com/docker/compose/v5/pkg/api"

	"bg/color"
	"bg/hint"
)

// The labels and the variable by which a container tells whose it is. The
// variable arrives in Consul as the service's meta "bg_deploy", because
// Registrator turns every SERVICE_X that it does not know into meta.
const (
	LabelService    = "bg.service"
	LabelColor      = "bg.color"
	LabelDeployment = "bg.deployment"
	LabelPrefix     = "bg.prefix" // of the service's keys in Consul, where they have one
	DeploymentVar   = "SERVICE_BG_DEPLOY"
)

// Source says where the colors of a service are described.
type Source struct {
	Service string // the service, such as books-ms
	Prefix  string // before its keys in Consul KV; "" or ends with a slash
	File    string // the Compose file
	Project string // the Compose project's name
	Pattern string // the Compose service of a color, such as app-{color}; "" detects it
	Catalog func(color.Color) string
	Port    int    // the container port that serves; 0 when only one is published
	Image   string // overrides the Compose file's image
	Tag     string // overrides only its tag
	// Replicas is the number of containers of a color, 0 as the file says.
	Replicas int
	Pull     Pull
	Pulling  func(Pulling) // told how far a pull is; nil tells nobody
}

// Pull says when an image is pulled before it is started.
type Pull string

// The ways to pull. Always falls back to a local image that no registry has.
const (
	PullAlways  Pull = "always"
	PullMissing Pull = "missing"
	PullNever   Pull = "never"
)

// reading says which Compose file is read, for which project.
type reading struct{ file, project string }

// load returns a Compose file, in today's layout or the old one, with its .env,
// env_files, extends and includes. It reads the file once: a deployment runs what
// it planned to run, also when somebody edits that meanwhile. What it returns is
// everybody's, and is not changed.
func (e *Engine) load(ctx context.Context, file, project string) (*types.Project, error) {
	key := reading{file, project}
	read, _ := e.projects.LoadOrStore(key, sync.OnceValues(func() (*types.Project, error) {
		return e.read(ctx, file, project)
	}))
	p, err := read.(func() (*types.Project, error))()
	if err != nil {
		e.projects.Delete(key)
	}
	return p, err
}

// read is load, anew and with more variables.
func (e *Engine) read(ctx context.Context, file, project string, env ...string) (*types.Project, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	content, old, err := upgrade(content)
	if err != nil {
		return nil, err
	}
	if _, warned := e.warned.LoadOrStore(file, true); old && !warned {
		e.log.Warn("compose file has the old layout without services: it is read as today's", "file", file)
	}
	return e.parse(ctx, types.ConfigFile{Filename: file, Content: content}, project, env...)
}

// parse makes a project of one Compose file's content.
func (e *Engine) parse(ctx context.Context, file types.ConfigFile, name string, env ...string) (*types.Project, error) {
	dir, err := filepath.Abs(filepath.Dir(file.Filename))
	if err != nil {
		return nil, err
	}
	// What bg sets comes first: cli keeps the first value of a variable.
	options, err := cli.NewProjectOptions([]string{file.Filename},
		cli.WithWorkingDirectory(dir), cli.WithEnv(env), cli.WithOsEnv, cli.WithEnvFiles(), cli.WithDotEnv)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrConfig, file.Filename, err)
	}
	details := types.ConfigDetails{WorkingDir: dir, ConfigFiles: []types.ConfigFile{file}, Environment: options.Environment}
	project, err := loader.LoadWithContext(ctx, details, func(o *loader.Options) {
		if name != "" { // else the file names itself
			o.SetProjectName(loader.NormalizeProjectName(name), true)
		}
		o.Profiles = strings.Split(options.Environment["COMPOSE_PROFILES"], ",")
	})
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrConfig, file.Filename, err)
	}
	for name, s := range project.Services {
		s.CustomLabels = map[string]string{
			api.ProjectLabel: project.Name, api.ServiceLabel: name, api.VersionLabel: api.ComposeVersion,
			api.WorkingDirLabel: project.WorkingDir, api.ConfigFilesLabel: file.Filename, api.OneoffLabel: "False",
		}
		project.Services[name] = s
	}
	return project, nil
}

// serviceName returns the Compose service that runs c in project: from pattern,
// or the first of the usual names that exists. It is single when its name holds
// no color, so that both colors are made of it.
func serviceName(project *types.Project, pattern, service string, c color.Color) (name string, single bool, err error) {
	patterns := []string{pattern}
	if pattern == "" {
		patterns = []string{"app-{color}", "{color}", service + "-{color}", "app", service}
	}
	var tried []string
	for _, p := range patterns {
		name := strings.NewReplacer("{color}", string(c), "{service}", service).Replace(p)
		if _, ok := project.Services[name]; ok {
			return name, !strings.Contains(p, "{color}"), nil
		}
		tried = append(tried, name)
	}
	return "", false, hint.Wrap(fmt.Errorf("%w: no service %s; it has %s", ErrConfig, strings.Join(tried, ", "),
		strings.Join(slices.Sorted(maps.Keys(project.Services)), ", ")), "set compose.service in bg.yml")
}

// colored returns a copy of project in which exactly one Compose service runs c,
// and that service's name. A single service that knows no colors is colored.
func colored(project *types.Project, src Source, c color.Color) (*types.Project, string, error) {
	name, single, err := serviceName(project, src.Pattern, src.Service, c)
	if err != nil {
		return nil, "", err
	}
	project, err = project.WithServicesTransform(func(_ string, s types.ServiceConfig) (types.ServiceConfig, error) { return s, nil })
	if err != nil {
		return nil, "", err
	}
	s := project.Services[name]
	if single {
		delete(project.Services, name)
		name = name + "-" + string(c)
		uncolor(&s, c)
		s.Name = name
		s.CustomLabels[api.ServiceLabel] = name
	}
	if err := adapt(&s, src, c); err != nil {
		return nil, "", fmt.Errorf("%w: service %s: %w", ErrConfig, name, err)
	}
	project.Services[name] = s
	return project, name, nil
}

// uncolor removes from s what two colors cannot have at the same time: one
// container name and fixed published ports.
func uncolor(s *types.ServiceConfig, c color.Color) {
	if s.ContainerName != "" {
		s.ContainerName += "-" + string(c)
	}
	for i := range s.Ports {
		s.Ports[i].Published = ""
	}
	delete(s.Environment, "SERVICE_NAME")
	delete(s.Labels, "SERVICE_NAME")
}

// adapt makes s the service that runs color c: its image, number, labels and
// the name under which Registrator registers it.
func adapt(s *types.ServiceConfig, src Source, c color.Color) error {
	if err := override(s, src); err != nil {
		return err
	}
	variable := "SERVICE_NAME"
	if src.Port != 0 {
		variable = "SERVICE_" + strconv.Itoa(src.Port) + "_NAME"
	}
	want := src.Catalog(c)
	if got := registeredName(s, variable); got != "" && got != want {
		return hint.Wrap(fmt.Errorf("%s is %q, and the templates and bg look for %q", variable, got, want),
			"change it there, or set catalog in bg.yml")
	}
	if s.Environment == nil {
		s.Environment = types.MappingWithEquals{}
	}
	s.Environment[variable] = &want
	s.Labels = s.Labels.Add(LabelService, src.Service).Add(LabelColor, string(c))
	if src.Prefix != "" {
		s.Labels = s.Labels.Add(LabelPrefix, src.Prefix)
	}
	if src.Replicas > 0 {
		s.Scale = &src.Replicas
	}
	if s.GetScale() > 1 && s.ContainerName != "" {
		return errors.New("container_name allows one container, and there are several replicas")
	}
	return nil
}

// registeredName returns the name that Registrator reads for variable: labels
// win over the environment.
func registeredName(s *types.ServiceConfig, variable string) string {
	if v, ok := s.Labels[variable]; ok {
		return v
	}
	if v := s.Environment[variable]; v != nil {
		return *v
	}
	return ""
}

// override puts the image or tag of the request in the place of the file's.
func override(s *types.ServiceConfig, src Source) error {
	image := s.Image
	if src.Image != "" {
		image = src.Image
	}
	if src.Tag != "" {
		named, err := reference.ParseNormalizedNamed(image)
		if err != nil {
			return fmt.Errorf("image %q: %w", image, err)
		}
		tagged, err := reference.WithTag(reference.TrimNamed(named), src.Tag)
		if err != nil {
			return fmt.Errorf("tag %q: %w", src.Tag, err)
		}
		image = reference.FamiliarString(tagged)
	}
	if image == "" {
		return hint.Wrap(errors.New("no image"), "bg runs images, it does not build them: set image in the Compose file, or --image")
	}
	s.Image = image
	s.Build = nil
	s.PullPolicy = "" // bg has pulled already, as it was asked to.
	return nil
}
