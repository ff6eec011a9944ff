//go:build bench

package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bg/internal/stacktest"
)

// site is an nginx and the services behind it. Its folders are this machine's, so
// that every way to deploy can write there in its own manner.
type site struct {
	testing.TB
	stack *stacktest.Stack
	dir   string
	nginx string // the container
	url   string
}

// newSite makes an nginx beside the stack of the run.
func newSite(t testing.TB) *site {
	t.Helper()
	return newSiteOf(t, &stack)
}

func newSiteOf(t testing.TB, of *stacktest.Stack) *site {
	t.Helper()
	s := &site{TB: t, stack: of, dir: t.TempDir(), nginx: stack.Name + "-" + stacktest.Random()}
	for _, folder := range []string{"upstreams", "includes"} {
		if err := os.Mkdir(filepath.Join(s.dir, folder), 0o755); err != nil { //nolint:gosec // nginx reads it as another user
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { s.docker("rm", "-fv", s.nginx) })
	network := []string{"-p", "127.0.0.1::80"}
	if s.stack.HostPort != "" {
		network = []string{"--network", "host"}
	}
	s.docker(slices.Concat([]string{"run", "-d", "--name", s.nginx, "-l", "SERVICE_IGNORE=true"}, network, []string{
		"-v", filepath.Join(root, "templates/nginx.conf") + ":/etc/nginx/nginx.conf:ro",
		"-v", filepath.Join(s.dir, "upstreams") + ":/etc/nginx/upstreams", "-v", filepath.Join(s.dir, "includes") + ":/etc/nginx/includes", "nginx:1.30",
	})...)
	port := s.stack.HostPort
	if port == "" {
		port = s.docker("inspect", "-f", `{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}`, s.nginx)
	}
	s.url = "http://" + s.stack.Host + ":" + port
	s.eventually(func() error { _, _, err := s.get(s.url + "/"); return err })
	return s
}

// docker runs the docker command.
func (s *site) docker(args ...string) string {
	s.Helper()
	out, err := s.stack.Output("docker", args...)
	if err != nil {
		s.Fatal(err)
	}
	return out
}

// write writes a file that containers may read.
func (s *site) write(name, content string) {
	s.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil { //nolint:gosec // it is for nginx's user, too
		s.Fatal(err)
	}
}

// get asks on a connection of its own: an old one may lead to an old worker.
func (s *site) get(url string) (body string, header http.Header, err error) {
	return s.ask(http.MethodGet, url, "")
}

func (s *site) ask(method, url, body string) (string, http.Header, error) {
	s.Helper()
	request, err := http.NewRequestWithContext(context.WithoutCancel(s.Context()), method, url, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	request.Close = true
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= http.StatusInternalServerError {
		err = fmt.Errorf("%s answers %s: %s", url, answer.Status, text)
	}
	return string(text), answer.Header, err
}

// consul makes one request to Consul's API.
func (s *site) consul(method, path, body string) string {
	s.Helper()
	text, _, err := s.ask(method, "http://"+s.stack.Consul+"/v1/"+path, body)
	if err != nil {
		s.Fatal(err)
	}
	return text
}

// quiet waits until nginx has no workers that are about to end.
func (s *site) quiet() {
	s.Helper()
	s.eventually(func() error {
		if list := s.docker("top", s.nginx); strings.Contains(list, "shutting down") {
			return fmt.Errorf("nginx still has old workers: %s", list)
		}
		return nil
	})
}

// eventually waits until check returns nil.
func (s *site) eventually(check func() error) {
	s.Helper()
	const limit = 3 * time.Minute
	for deadline := time.Now().Add(limit); ; {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("after %s: %v", limit, err)
		}
		time.Sleep(20 * time.Millisecond) // between two looks at something that tells nobody
	}
}
