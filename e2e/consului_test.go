package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bg/internal/browser"
	"bg/internal/stacktest"
)

// picturesVariable names the folder for the pictures of the documentation. Without it
// they are taken all the same, and go away with the test.
const picturesVariable = "BG_SCREENSHOTS"

// waits is a pre-integration test that lasts until somebody makes the file go.
const waits = `service: SERVICE
tests:
  pre:  [ { run: [ sh, -c, "until [ -e go ]; do sleep 0.1; done" ], timeout: 10m } ]
  post: [ { http: { path: /ping } } ]
proxy: { container: NGINX, url: "URL" }
health: { timeout: 60s }
`

// consulUI is a person who looks at a service in the Consul UI.
type consulUI struct {
	*world
	page     *browser.Page
	pictures string
}

func lookAtConsul(w *world) *consulUI {
	w.Helper()
	pictures := os.Getenv(picturesVariable)
	if pictures == "" {
		pictures = w.TempDir()
	}
	return &consulUI{world: w, page: browser.Open(w), pictures: pictures}
}

// find starts at the UI's first page and follows links, each found by the end of its
// address or by a part of it.
func (u *consulUI) find(links ...string) {
	u.Helper()
	u.page.Visit("http://" + u.site.Consul + "/ui/")
	for _, link := range links {
		u.page.Click(link)
	}
}

func (u *consulUI) shows(picture string, words ...string) {
	u.Helper()
	u.page.Shows(words...)
	u.page.Picture(filepath.Join(u.pictures, picture+".png"))
}

// key finds a key of the service.
func (u *consulUI) key(name string) {
	u.Helper()
	u.find(`a[href$="/kv"]`, `a[href$="/kv/`+u.service+`/"]`, `a[href$="/`+u.service+`/`+name+`/edit"]`)
}

// instance finds the one instance of a service.
func (u *consulUI) instance(name string) {
	u.Helper()
	u.find(`a[href$="/services"]`, `a[href*="/services/`+name+`"]`, `a[href*="/services/`+name+`/instances/"]`)
}

// checked waits until Consul's catalog has a check of the service that says so.
func (u *consulUI) checked(status, part string) {
	u.Helper()
	eventually(u, 5*time.Minute, func() error {
		a := u.consul(http.MethodGet, "health/checks/"+u.service+"-bg", "")
		if !strings.Contains(a.body, `"Status":"`+status+`"`) || !strings.Contains(a.body, part) {
			return fmt.Errorf("the check is not %s with %q: %s", status, part, a.body)
		}
		return nil
	})
}

// TestInABrowserTheConsulUIShowsWhatIsLiveAndHowADeploymentProceeds clicks its way
// through the real UI while deployments succeed and fail.
func TestInABrowserTheConsulUIShowsWhatIsLiveAndHowADeploymentProceeds(t *testing.T) {
	w := newWorldOf(t, &stack)
	w.service = "books-ms-" + stacktest.Random()
	w.startNginx("-v", "/etc/nginx/upstreams", "-v", "/etc/nginx/includes")
	w.files()
	w.deploy("--tag", "1.0")
	u := lookAtConsul(w)

	u.key("color")
	u.shows("kv-color", "Value", "blue")

	// A deployment that waits in its tests: both colors run.
	w.file("bg.yml", waits)
	b := w.start("pretest", "deploy", w.service, "--tag", "2.0")
	u.checked("passing", "running")
	u.key("deploy")
	u.shows("kv-deploy-running", `"outcome": "running"`, `"from": "blue"`, `"to": "green"`, w.service)
	u.find(`a[href$="/services"]`)
	u.shows("services", w.service+"-blue", "live\nversion=1.0", w.service+"-green", "idle\nversion=2.0", w.service+"-bg")
	u.instance(w.service + "-green")
	u.page.Click(`a[href$="/metadata"]`)
	u.shows("service-tags-and-meta", "idle", "version=2.0", "bg_deploy", w.recorded().ID)
	u.instance(w.service + "-bg")
	u.shows("check-running", "Live color and last deployment of "+w.service, "blue is live", "from blue to green: running")

	if err := os.WriteFile(filepath.Join(w.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.Wait(); err != nil {
		t.Fatalf("the deployment: %v", err)
	}
	u.checked("passing", "done")
	u.key("deploy")
	u.shows("kv-deploy-done", `"outcome": "done"`, `"to": "green"`)
	u.key("color")
	u.page.Shows("green")
	u.instance(w.service + "-bg")
	u.shows("check-done", "green is live", "from blue to green: done")

	w.env = append(w.env, "FAIL_HEALTH=true")
	w.code(w.bg("deploy", w.service, "--tag", "1.0", "--health-timeout", "2s"), 12)
	u.checked("warning", "failed")
	u.instance(w.service + "-bg")
	u.shows("check-failed", "green is live", "from green to blue: failed")
}
