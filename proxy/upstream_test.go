package proxy

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUpstreamsListsTheServersThatTakeRequests(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		src  string
		want []upstream
	}{
		"the book's form": {
			"upstream books-ms {\n    \n    server 10.0.0.1:32768;\n    \n}\n",
			[]upstream{{name: "books-ms", line: 1, servers: []string{"10.0.0.1:32768"}}},
		},
		"parameters and comments": {
			"upstream a { # server 9.9.9.9;\n least_conn; keepalive 8; server 10.0.0.1:1 weight=2 max_fails=0; server 10.0.0.2 backup; }",
			[]upstream{{name: "a", line: 1, servers: []string{"10.0.0.1:1", "10.0.0.2:80"}}},
		},
		"a server that is down takes none": {
			"upstream a { server 10.0.0.1:1 down; }", []upstream{{name: "a", line: 1}},
		},
		"two upstreams, an IPv6 address, a name, a socket": {
			"upstream a { server [2001:DB8::1]:80; }\nupstream \"b\" { server Books.Local:8080; server unix:/run/b.sock; }",
			[]upstream{
				{name: "a", line: 1, servers: []string{"[2001:db8::1]:80"}},
				{name: "b", line: 2, servers: []string{"books.local:8080", "unix:/run/b.sock"}},
			},
		},
		"a server block is none": {
			"server { listen 80; location / { proxy_pass http://a; } }\nupstream a {}\nserver { server_name x; }",
			[]upstream{{name: "a", line: 2}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := upstreams([]byte(test.src))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(upstream{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCheckUpstreamsRefusesAListThatIsNotTheDeployments(t *testing.T) {
	t.Parallel()
	const two = "upstream a { server 10.0.0.1:1; server 10.0.0.2:2; }"
	const previewed = "upstream a { server 10.0.0.1:1; } upstream bg-preview-a { server 10.0.0.2:2; }"
	tests := map[string]struct {
		src          string
		want, forbid []string
		preview      []string
		err          error
		names        string // in the error's text
	}{
		"all there":              {src: two, want: []string{"10.0.0.1:1", "10.0.0.2:2"}},
		"another spelling":       {src: "upstream a { server [::1]:1; }", want: []string{"[0:0::1]:1"}},
		"one is missing":         {src: two, want: []string{"10.0.0.1:1", "10.0.0.3:3"}, err: ErrForeign, names: "10.0.0.3:3"},
		"a ghost":                {src: two, want: []string{"10.0.0.1:1"}, forbid: []string{"10.0.0.2:2", "10.0.0.9:9"}, err: ErrForeign, names: "10.0.0.2:2"},
		"an empty block":         {src: "upstream a { server 10.0.0.1:1; } upstream b { }", err: ErrEmpty, names: "upstream b"},
		"no block":               {src: "# nothing", err: ErrEmpty, names: "no upstream block"},
		"no nginx file":          {src: "upstream a { server", err: ErrTemplate, names: "line 1"},
		"wanted, yet only down":  {src: "upstream a { server 10.0.0.1:1 down; server 10.0.0.2:2; }", want: []string{"10.0.0.1:1"}, err: ErrForeign},
		"a preview":              {src: previewed, want: []string{"10.0.0.1:1"}, forbid: []string{"10.0.0.2:2"}, preview: []string{"10.0.0.2:2"}},
		"a preview for all":      {src: "upstream a { server 10.0.0.1:1; server 10.0.0.2:2; }" + previewed, forbid: []string{"10.0.0.2:2"}, preview: []string{"10.0.0.2:2"}, err: ErrForeign, names: "names 10.0.0.2:2"},
		"no preview":             {src: two, preview: []string{"10.0.0.2:2"}, err: ErrForeign, names: "bg-preview-a"},
		"a preview of others":    {src: previewed, want: []string{"10.0.0.1:1"}, preview: []string{"10.0.0.3:3"}, err: ErrForeign, names: "[10.0.0.2:2] instead of [10.0.0.3:3]"},
		"an unwanted preview":    {src: previewed, want: []string{"10.0.0.1:1"}, err: ErrForeign, names: "instead of []"},
		"live only in a preview": {src: previewed, want: []string{"10.0.0.2:2"}, preview: []string{"10.0.0.2:2"}, err: ErrForeign, names: "lacks 10.0.0.2:2"},
		"several missing, named": {src: two, want: []string{"10.1.0.1:1", "10.1.0.2:2"}, err: ErrForeign, names: "10.1.0.1:1, 10.1.0.2:2"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := checkUpstreams("a.ctmpl", []byte(test.src), RenderInput{Want: test.want, Forbid: test.forbid, Preview: Preview{Want: test.preview}}, "bg-preview-a")
			if !errors.Is(err, test.err) {
				t.Fatalf("got %v, want %v", err, test.err)
			}
			if err != nil && !strings.Contains(err.Error(), test.names) {
				t.Errorf("%q does not name %q", err, test.names)
			}
		})
	}
}
