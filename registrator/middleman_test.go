package registrator

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
)

// middleman stands between a registrator and a real Consul. It remembers what was
// sent, and can be told to fail.
type middleman struct {
	server *httptest.Server

	mu   sync.Mutex
	sent []sentRequest
	fail func(*http.Request) int // the code to answer with; 0 lets it pass
}

type sentRequest struct {
	method, path string
	body         []byte
}

// record starts a middleman in front of c.
func record(t *testing.T, c *consul) *middleman {
	t.Helper()
	target, err := url.Parse("http://" + c.addr)
	if err != nil {
		t.Fatal(err)
	}
	m := &middleman{}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorLog = log.New(keepDiary(t, "the middleman"), "", 0)
	m.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code := m.note(r); code != 0 {
			http.Error(w, "scripted failure", code)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		m.server.CloseClientConnections() // the request that is held open
		m.server.Close()
	})
	return m
}

func (m *middleman) note(r *http.Request) int {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return http.StatusBadRequest
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent = append(m.sent, sentRequest{r.Method, r.URL.Path, body})
	if m.fail == nil {
		return 0
	}
	return m.fail(r)
}

// failing makes requests to paths that begin so fail with code; 0 ends it.
func (m *middleman) failing(prefix string, code int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = func(r *http.Request) int {
		if strings.HasPrefix(r.URL.Path, prefix) {
			return code
		}
		return 0
	}
}

// bodies returns what was sent to a path, in order.
func (m *middleman) bodies(method, path string) [][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var bodies [][]byte
	for _, s := range m.sent {
		if s.method == method && s.path == path {
			bodies = append(bodies, s.body)
		}
	}
	return bodies
}

// count returns how many registrations contained text.
func (m *middleman) count(text string) int {
	n := 0
	for _, body := range m.bodies(http.MethodPut, "/v1/agent/service/register") {
		if bytes.Contains(body, []byte(text)) {
			n++
		}
	}
	return n
}

func (m *middleman) uri() string { return "consul://" + strings.TrimPrefix(m.server.URL, "http://") }

func writeFile(name string, data []byte) error { return os.WriteFile(name, data, 0o644) }
