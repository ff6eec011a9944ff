package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"bg/color"
	"bg/hint"
)

// composed is a Compose file's project with the Source of books-ms.
func composed(t *testing.T, content string, change func(*Source)) (*types.Project, Source) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "docker-compose.yml")
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	src := Source{Service: "books-ms", File: file, Project: "books-ms", Catalog: func(c color.Color) string { return "books-ms-" + string(c) }}
	if change != nil {
		change(&src)
	}
	project, err := offline(nil).load(t.Context(), src.File, src.Project)
	if err != nil {
		t.Fatal(err)
	}
	return project, src
}

// colorings are Compose files as people have them, each with a golden text for
// both colors.
var colorings = []struct {
	name, content string
	change        func(*Source)
}{
	{name: "a-service-for-each-color", content: `
services:
  base: { image: "books-ms:1.0", ports: [ "8080" ], labels: { team: books } }
  app-blue: { extends: { service: base }, environment: [ SERVICE_NAME=books-ms-blue ], depends_on: [ db ] }
  app-green: { extends: { service: base }, environment: [ SERVICE_NAME=books-ms-green ], depends_on: [ db ] }
  db: { image: "redis:8" }
`},
	{name: "services-named-as-the-colors", content: `
services:
  blue: { image: "books-ms:1.0" }
  green: { image: "books-ms:1.0" }
`},
	{name: "one-service", content: `
services:
  app: { image: "books-ms:1.0", container_name: books, ports: [ "80:8080", "127.0.0.1:9090:9090" ], environment: { SERVICE_NAME: books, A: b }, labels: { SERVICE_NAME: books, team: books }, depends_on: [ db ] }
  db: { image: "redis:8" }
`},
	{name: "one-service-whose-name-holds-a-color", content: "services: { evergreen: { image: 'books-ms:1.0', environment: { SERVICE_NAME: evergreen } } }\n",
		change: func(s *Source) { s.Pattern = "evergreen" }},
	{name: "a-pattern", content: `
services:
  books-ms-web-blue: { image: "books-ms:1.0" }
  books-ms-web-green: { image: "books-ms:1.0" }
  app: { image: "other:1" }
`, change: func(s *Source) { s.Pattern = "{service}-web-{color}" }},
	{name: "replicas-and-one-of-several-ports", content: `
services:
  app: { image: "books-ms:1.0", ports: [ "8080", "9090" ], deploy: { replicas: 2 } }
`, change: func(s *Source) { s.Replicas, s.Port = 3, 8080 }},
	{name: "an-image-of-the-request", content: `
services:
  app: { build: ".", image: "books-ms:1.0", pull_policy: build }
`, change: func(s *Source) { s.Image, s.Tag = "registry.example:5000/team/books-ms:1.0", "2.0" }},
	{name: "keys-with-a-prefix", content: "services: { app: { image: 'books-ms:1.0' } }\n", change: func(s *Source) { s.Prefix = "team/" }},
}

func TestAComposeServiceIsColored(t *testing.T) {
	for _, tt := range colorings {
		t.Run(tt.name, func(t *testing.T) {
			project, src := composed(t, tt.content, tt.change)
			var text strings.Builder
			// Both of one project: coloring changes nothing for the other.
			for _, c := range []color.Color{color.Blue, color.Green} {
				got, name, err := colored(project, src, c)
				if err != nil {
					t.Fatal(err)
				}
				only, err := got.WithSelectedServices([]string{name}, types.IgnoreDependencies)
				if err != nil {
					t.Fatal(err)
				}
				yaml, err := only.MarshalYAML()
				if err != nil {
					t.Fatal(err)
				}
				text.WriteString("# " + c.String() + " is " + name + "\n" + string(yaml))
				if label := got.Services[name].CustomLabels["com.docker.compose.service"]; label != name {
					t.Errorf("its containers are labelled %s", label)
				}
			}
			golden(t, "colored/"+tt.name, text.String())
		})
	}
}

func TestAComposeFileThatDoesNotFitIsRefusedWithAHint(t *testing.T) {
	tests := []struct {
		name, content, says, hint string
		change                    func(*Source)
	}{
		{
			name: "no service of a color", content: "services: { web: { image: a }, db: { image: b } }\n",
			says: "compose file: no service app-blue, blue, books-ms-blue, app, books-ms; it has db, web", hint: "set compose.service in bg.yml",
		},
		{
			name: "not the service that was asked for", content: "services: { app-blue: { image: a } }\n", change: func(s *Source) { s.Pattern = "web-{color}" },
			says: "compose file: no service web-blue; it has app-blue", hint: "set compose.service in bg.yml",
		},
		{
			name: "another name in the environment", content: "services: { app-blue: { image: a, environment: { SERVICE_NAME: books } } }\n",
			says: `compose file: service app-blue: SERVICE_NAME is "books", and the templates and bg look for "books-ms-blue"`,
			hint: "change it there, or set catalog in bg.yml",
		},
		{
			name: "another name in a label", content: "services: { app-blue: { image: a, environment: { SERVICE_NAME: books-ms-blue }, labels: { SERVICE_NAME: books } } }\n",
			says: `compose file: service app-blue: SERVICE_NAME is "books", and the templates and bg look for "books-ms-blue"`,
			hint: "change it there, or set catalog in bg.yml",
		},
		{
			name: "another name for the port", content: "services: { app-blue: { image: a, environment: { SERVICE_8080_NAME: books } } }\n", change: func(s *Source) { s.Port = 8080 },
			says: `compose file: service app-blue: SERVICE_8080_NAME is "books", and the templates and bg look for "books-ms-blue"`,
			hint: "change it there, or set catalog in bg.yml",
		},
		{
			name: "one container name for replicas", content: "services: { app: { image: a, container_name: books } }\n", change: func(s *Source) { s.Replicas = 2 },
			says: "compose file: service app-blue: container_name allows one container, and there are several replicas",
		},
		{
			name: "only a build", content: "services: { app: { build: . } }\n",
			says: "compose file: service app-blue: no image", hint: "bg runs images, it does not build them: set image in the Compose file, or --image",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			project, src := composed(t, tt.content, tt.change)
			_, _, err := colored(project, src, color.Blue)
			if !errors.Is(err, ErrConfig) || err.Error() != tt.says || hint.Of(err) != tt.hint {
				t.Errorf("%v (hint: %s)", err, hint.Of(err))
			}
		})
	}
}

func TestTheImageOfARequestReplacesThatOfTheFile(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("ab", 32)
	tests := []struct{ name, file, image, tag, want string }{
		{name: "as the file says", file: "books-ms:1.0", want: "books-ms:1.0"},
		{name: "another tag", file: "books-ms:1.0", tag: "2.0", want: "books-ms:2.0"},
		{name: "a tag where there was none", file: "books-ms", tag: "2.0", want: "books-ms:2.0"},
		{name: "another image", file: "books-ms:1.0", image: "books:3", want: "books:3"},
		{name: "another image and tag", file: "books-ms:1.0", image: "books:3", tag: "4", want: "books:4"},
		{name: "an image where there was none", image: "books:3", want: "books:3"},
		{name: "a registry with a port", file: "registry.example:5000/team/books-ms:1.0", tag: "2.0", want: "registry.example:5000/team/books-ms:2.0"},
		{name: "a registry with a port and no tag", file: "registry.example:5000/books-ms", tag: "2.0", want: "registry.example:5000/books-ms:2.0"},
		{name: "a digest gives way to a tag", file: "books-ms:1.0" + digest, tag: "2.0", want: "books-ms:2.0"},
		{name: "a digest stays without one", file: "books-ms" + digest, want: "books-ms" + digest},
		{name: "an image by its digest", file: "books-ms:1.0", image: "books-ms" + digest, want: "books-ms" + digest},
		{name: "an image by its id", file: "books-ms:1.0", image: digest[1:], want: digest[1:]},
		{name: "Docker Hub", file: "docker.io/library/redis:8", tag: "9", want: "redis:9"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := types.ServiceConfig{Image: tt.file, Build: &types.BuildConfig{Context: "."}, PullPolicy: "build"}
			if err := override(&s, Source{Image: tt.image, Tag: tt.tag}); err != nil {
				t.Fatal(err)
			}
			if s.Image != tt.want || s.Build != nil || s.PullPolicy != "" {
				t.Errorf("image %s, build %v, pull %s", s.Image, s.Build, s.PullPolicy)
			}
		})
	}
}

func TestATagThatCannotBeOneIsRefused(t *testing.T) {
	tests := []struct{ name, image, tag, says string }{
		{"the tag", "books-ms:1.0", "a b", `tag "a b": `},
		{"the image", "Books:1.0", "2.0", `image "Books:1.0": `},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := types.ServiceConfig{Image: tt.image}
			if err := override(&s, Source{Tag: tt.tag}); err == nil || !strings.HasPrefix(err.Error(), tt.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAComposeFileIsReadOnceForAllThatADeploymentDoes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "docker-compose.yml")
	e := offline(nil)
	if _, err := e.load(t.Context(), file, "books-ms"); !errors.Is(err, ErrConfig) {
		t.Fatalf("a file that is absent: %v", err)
	}
	for _, image := range []string{"books-ms:1.0", "books-ms:2.0"} {
		content := "services: { app: { image: " + image + ", ports: [\"8080\"] } }"
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		src := Source{Service: "books-ms", File: file, Project: "books-ms", Catalog: func(c color.Color) string { return "books-ms-" + string(c) }}
		if got, err := e.Image(t.Context(), src, color.Blue); err != nil || got != "books-ms:1.0" {
			t.Errorf("the image is %q, %v", got, err)
		}
	}
}
