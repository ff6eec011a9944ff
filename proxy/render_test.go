package proxy_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bg/color"
	"bg/proxy"
)

// shelf is a service with one instance of each color in Consul, and a template.
type shelf struct {
	service string
	cfg     proxy.Config
	input   proxy.RenderInput
}

// newShelf gives the shelf a template in which BOOKS-MS is the service.
func newShelf(t *testing.T, template string) *shelf {
	t.Helper()
	service := unique("books-ms")
	register(t, registration{Name: service + "-blue", ID: service + "-b1", Address: "10.0.0.1", Port: 32001, Tags: []string{"v1", "main"}})
	register(t, registration{Name: service + "-green", ID: service + "-g1", Address: "10.0.0.2", Port: 32002})
	put(t, "/v1/kv/"+service+"/color", "blue")
	put(t, "/v1/kv/"+service+"/limits/body", "8m")
	put(t, "/v1/kv/"+service+"/limits/deep/er", "1")
	source := filepath.Join(t.TempDir(), "upstreams.ctmpl")
	write(t, source, strings.ReplaceAll(template, "BOOKS-MS", service))
	return &shelf{
		service: service,
		cfg:     proxy.Config{Service: service, Upstreams: proxy.Managed{Source: source, Path: "/etc/nginx/upstreams/x.conf"}},
		input:   proxy.RenderInput{Color: color.Green, Want: []string{"10.0.0.2:32002"}, Forbid: []string{"10.0.0.1:32001"}},
	}
}

func (s *shelf) render(t *testing.T) (proxy.Files, error) {
	return proxy.New(s.cfg, nil, proxy.CatalogConfig{Address: consulAddress}, logger(t)).Render(t.Context(), s.input)
}

func TestRenderedFilesAreAsTheGoldenOnes(t *testing.T) {
	t.Parallel()
	templates, err := filepath.Glob("testdata/*.ctmpl")
	if err != nil || len(templates) == 0 {
		t.Fatalf("no templates: %v", err)
	}
	for _, template := range templates {
		t.Run(filepath.Base(template), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(template)
			if err != nil {
				t.Fatal(err)
			}
			s := newShelf(t, string(text))
			files, err := s.render(t)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(string(files.Upstreams.Data), s.service, "BOOKS-MS")
			golden := strings.TrimSuffix(template, ".ctmpl") + ".golden"
			if os.Getenv("UPDATE_GOLDEN") != "" {
				write(t, golden, got)
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestColorKeyIsTheRenderedColorWithAnyPrefix(t *testing.T) {
	t.Parallel()
	for name, prefix := range map[string]string{"plain": "", "with a prefix": "some/where/"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t, `upstream {{key "`+prefix+`BOOKS-MS/color"}} { {{range service (print "BOOKS-MS-" (key "BOOKS-MS/color"))}}server {{.Address}}:{{.Port}}; {{end}}}`)
			s.cfg.ColorKey = prefix + s.service + "/color"
			files, err := s.render(t)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := string(files.Upstreams.Data), "upstream green { server 10.0.0.2:32002; }"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestTemplatesReadConsulThroughASocket(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "http")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(consulAddress)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: httputil.NewSingleHostReverseProxy(to)}
	go func() { _ = server.Serve(l) }() // until it is closed
	t.Cleanup(func() { _ = server.Close() })
	s := newShelf(t, `upstream x { {{range service "BOOKS-MS-green"}}server {{.Address}}:{{.Port}};{{end}} }`)
	if _, err := proxy.New(s.cfg, nil, proxy.CatalogConfig{Address: "unix://" + socket}, logger(t)).Render(t.Context(), s.input); err != nil {
		t.Error(err)
	}
}

func TestIncludesAreCopiedOrRendered(t *testing.T) {
	t.Parallel()
	const text = `location / { proxy_pass http://{{env "BG_CATALOG"}}; }`
	for name, want := range map[string]string{"includes.conf": text, "includes.ctmpl": "location / { proxy_pass http://BOOKS-MS-green; }"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t, `upstream x { {{range service "BOOKS-MS-green"}}server {{.Address}}:{{.Port}};{{end}} }`)
			s.cfg.Includes = proxy.Managed{Source: filepath.Join(t.TempDir(), name), Path: "/etc/nginx/includes/x.conf"}
			write(t, s.cfg.Includes.Source, text)
			files, err := s.render(t)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.ReplaceAll(string(files.Includes.Data), s.service, "BOOKS-MS"); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestRenderRefuses(t *testing.T) {
	t.Setenv("SOME_TOKEN", "s3cr3t")
	tests := map[string]struct {
		template string
		err      error
		says     string
	}{
		"a key that is missing":          {"\n\n{{key \"BOOKS-MS/none\"}}", proxy.ErrTemplate, "upstreams.ctmpl:3: KV key BOOKS-MS/none does not exist"},
		"a key missing in a definition":  {"{{define \"a\"}}\n{{key \"BOOKS-MS/none\"}}{{end}}{{template \"a\"}}", proxy.ErrTemplate, "upstreams.ctmpl:2: KV key BOOKS-MS/none does not exist"},
		"a tree that must not be empty":  {`{{range safeTree "BOOKS-MS/none"}}{{end}}`, proxy.ErrTemplate, "upstreams.ctmpl:1: KV has no key below BOOKS-MS/none"},
		"a template that does not parse": {"a\n{{range service \"x\"}}\n{{.Address}", proxy.ErrTemplate, "upstreams.ctmpl:3: "},
		"a function that there is none":  {"a\n{{nope}}", proxy.ErrTemplate, `upstreams.ctmpl:2: function "nope" not defined`},
		"a malformed service":            {`{{range service "a b"}}{{end}}`, proxy.ErrTemplate, `service "a b" is malformed`},
		"a state that is none":           {`{{range service "a|well"}}{{end}}`, proxy.ErrTemplate, `"well" is no state of a service`},
		"plugin":                         {`{{plugin "id"}}`, proxy.ErrTemplate, "disabled"},
		"writeToFile":                    {`{{"x" | writeToFile "/tmp/bg-x" "root" "root" "0644"}}`, proxy.ErrTemplate, "disabled"},
		"secret":                         {`{{with secret "a"}}{{end}}`, proxy.ErrTemplate, "disabled"},
		"pkiCert":                        {`{{with pkiCert "a"}}{{end}}`, proxy.ErrTemplate, "disabled"},
		"nomadService":                   {`{{range nomadService "a"}}{{end}}`, proxy.ErrTemplate, "disabled"},
		"a credential":                   {`{{env "SOME_TOKEN"}}`, proxy.ErrTemplate, "SOME_TOKEN looks like a credential"},
		"a file elsewhere":               {`{{file "/etc/passwd"}}`, proxy.ErrTemplate, "upstreams.ctmpl:1: "},
		"no instance":                    {`upstream a { {{range service "BOOKS-MS-none" "any"}}server {{.Address}};{{end}} }`, proxy.ErrEmpty, "upstream a in"},
		"nothing":                        {"  \n", proxy.ErrEmpty, "is empty"},
		"nothing rendered":               {"{{if false}}x{{end}}\n", proxy.ErrEmpty, "is empty"},
		"the other color":                {`upstream a { {{range service "BOOKS-MS-blue"}}server {{.Address}}:{{.Port}};{{end}} server 10.0.0.2:32002; }`, proxy.ErrForeign, "names 10.0.0.1:32001"},
		"not all instances":              {`upstream a { server 10.9.9.9; }`, proxy.ErrForeign, "lacks 10.0.0.2:32002"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t, test.template)
			_, err := s.render(t)
			if !errors.Is(err, test.err) {
				t.Fatalf("got %v, want %v", err, test.err)
			}
			if says := strings.ReplaceAll(test.says, "BOOKS-MS", s.service); !strings.Contains(err.Error(), says) {
				t.Errorf("%q does not say %q", err, says)
			}
			if strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("%q tells a secret", err)
			}
		})
	}
}

func TestHostileInstancesNeverReachAFile(t *testing.T) {
	t.Parallel()
	const using = `upstream a { {{range service "BOOKS-MS-green" "any"}}server {{.Address}}:{{.Port}}; # {{.Tags}} {{.ServiceMeta.weight}}
{{end}} }`
	const notUsing = `upstream a { {{range service "BOOKS-MS-green" "any"}}server {{.Address}}:{{.Port}};{{end}} }`
	tests := map[string]struct {
		template string
		hostile  registration
		says     string // "" when it is rendered
	}{
		"an address with a statement": {notUsing, registration{Address: "10.0.0.3:80; } server { listen 81", Port: 1}, "has the address"},
		"an address with a line":      {notUsing, registration{Address: "10.0.0.3\nx", Port: 1}, "has the address"},
		"an address with a space":     {notUsing, registration{Address: "10.0.0.3 backup", Port: 1}, "has the address"},
		"no port":                     {notUsing, registration{Address: "10.0.0.3"}, "has the port 0"},
		"a tag with a statement":      {using, registration{Address: "10.0.0.3", Port: 1, Tags: []string{"a\n} server {"}}, "Tags is"},
		"a meta with a statement":     {using, registration{Address: "10.0.0.3", Port: 1, Meta: map[string]string{"weight": "1;}"}}, "ServiceMeta weight is"},
		"a tag that is not used":      {notUsing, registration{Address: "10.0.0.3", Port: 1, Tags: []string{"rule=Host(`a`) {};"}}, ""},
		"a host name":                 {notUsing, registration{Address: "books_1.local", Port: 65535}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t, test.template)
			test.hostile.Name, test.hostile.ID = s.service+"-green", s.service+"-hostile"
			register(t, test.hostile)
			files, err := s.render(t)
			if test.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, proxy.ErrHostile) {
				t.Fatalf("got %v and %q, want %v", err, files.Upstreams.Data, proxy.ErrHostile)
			}
			for _, says := range []string{test.says, test.hostile.ID} {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("%q does not say %q", err, says)
				}
			}
		})
	}
}

func TestRenderEndsWhenConsulDoesNot(t *testing.T) {
	t.Parallel()
	silent := listen(t, "127.0.0.1:0") // takes connections, and never answers
	s := newShelf(t, `upstream a { {{range service "BOOKS-MS-green"}}server {{.Address}};{{end}} }`)
	s.cfg.RenderTimeout = 100 * time.Millisecond

	n := proxy.New(s.cfg, nil, proxy.CatalogConfig{Address: silent.Addr().String()}, logger(t))
	if _, err := n.Render(t.Context(), s.input); err == nil || !strings.Contains(err.Error(), "no answer from Consul to the templates within 100ms") {
		t.Errorf("silent: got %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted"))
	if _, err := n.Render(ctx, s.input); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("interrupted: got %v", err)
	}
	n = proxy.New(s.cfg, nil, proxy.CatalogConfig{Address: "127.0.0.1:1"}, logger(t))
	if _, err := n.Render(t.Context(), s.input); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("down: got %v", err)
	}
}
