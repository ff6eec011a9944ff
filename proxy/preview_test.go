package proxy_test

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bg/color"
	"bg/proxy"
)

// previewing are templates with a preview, and BOOKS-MS for the service.
const (
	previewingUpstreams = `upstream BOOKS-MS { {{range service (env "BG_CATALOG")}}server {{.Address}}:{{.Port}};{{end}} }
{{with env "BG_PREVIEW_CATALOG"}}upstream bg-preview-BOOKS-MS { {{range service .}}server {{.Address}}:{{.Port}};{{end}} }{{end}}
map $http_x_bg_preview $chosen { default BOOKS-MS; {{with env "BG_PREVIEW"}}{{.}} bg-preview-BOOKS-MS;{{end}} }
`
	previewingIncludes = `location / { proxy_pass http://$chosen; }`
)

// previewed returns a stand that serves blue, with templates that have a preview.
func previewed(t *testing.T, upstreams, includes string) (s *stand, blue, green backend) {
	t.Helper()
	s = newStand(t)
	blue, green = s.colors(t)
	source := filepath.Join(t.TempDir(), "nginx-upstreams.ctmpl")
	write(t, source, strings.ReplaceAll(upstreams, "BOOKS-MS", s.cfg.Service))
	s.cfg.Upstreams.Source, s.cfg.ConfirmTimeout = source, time.Second
	s.includes(t, includes)
	s.build(t)
	if _, err := s.apply(t, blue); err != nil {
		t.Fatal(err)
	}
	return s, blue, green
}

// expose makes nginx send those to green who ask for it, and all others to blue.
func (s *stand) expose(t *testing.T, blue, green backend) error {
	t.Helper()
	files, err := s.Render(t.Context(), proxy.RenderInput{
		Color: color.Blue, Want: []string{blue.String()}, Forbid: []string{green.String()},
		Preview: proxy.Preview{Color: color.Green, Want: []string{green.String()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Apply(t.Context(), files)
	return err
}

// asking returns who answers a client that asks for green.
func (s *stand) asking(t *testing.T) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set(proxy.PreviewName, "green")
	answer, err := fresh.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	return answer.Header.Get("X-BG-Color")
}

func TestAPreviewIsForThoseWhoAskAndIsNotTakenForALiveColor(t *testing.T) {
	t.Parallel()
	s, blue, green := previewed(t, previewingUpstreams, previewingIncludes)
	l := startLoad(t, s.url)
	if !s.observe(t).Previews {
		t.Error("the templates are not seen to have a preview")
	}
	for range 2 { // the second time there is nothing to write
		if err := s.expose(t, blue, green); err != nil {
			t.Fatal(err)
		}
		if got, all := s.asking(t), ask(t.Context(), fresh, s.url); got != "green" || all != "blue" {
			t.Errorf("who asks reaches %s, all others %s", got, all)
		}
	}
	state := s.observe(t)
	if !slices.Equal(state.Upstreams, []string{blue.String()}) || !slices.Equal(state.Preview, []string{green.String()}) {
		t.Errorf("nginx is seen to send to %v, and who asks to %v", state.Upstreams, state.Preview)
	}
	l.end(t, "blue")
	if _, err := s.apply(t, green); err != nil {
		t.Fatal(err)
	}
	if state := s.observe(t); len(state.Preview) > 0 || !slices.Equal(state.Upstreams, []string{green.String()}) {
		t.Errorf("after the switch: %+v", state)
	}
}

func TestAPreviewThatIsNotSeenIsTakenBack(t *testing.T) {
	misled := strings.Replace(previewingUpstreams, "default BOOKS-MS;", `default {{if env "BG_PREVIEW"}}bg-preview-{{end}}BOOKS-MS;`, 1)
	for name, test := range map[string]struct{ upstreams, includes, says string }{
		"a location that knows none": {previewingUpstreams, `location / { proxy_pass http://BOOKS-MS; }`, "answers with blue, not green"},
		"answers that name no color": {previewingUpstreams, `location / { proxy_pass http://$chosen; proxy_hide_header X-BG-Color; }`, "no X-BG-Color in the answer"},
		"a map that leads all to it": {misled, previewingIncludes, "answers with green, not blue"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, blue, green := previewed(t, test.upstreams, test.includes)
			before := s.sh(t, "cat /etc/nginx/upstreams/* /etc/nginx/includes/*")
			err := s.expose(t, blue, green)
			refused(t, err, proxy.ErrUnconfirmed, "", test.says)
			if after := s.sh(t, "cat /etc/nginx/upstreams/* /etc/nginx/includes/*"); after != before {
				t.Errorf("before\n%s\nafter\n%s", before, after)
			}
		})
	}
}

func TestTemplatesThatDoNotMentionItHaveNoPreview(t *testing.T) {
	t.Parallel()
	s, _, _ := serving(t)
	if s.observe(t).Previews {
		t.Error("they are taken for ones that have it")
	}
}
