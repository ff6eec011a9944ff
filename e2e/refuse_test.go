package e2e

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"bg/internal/stacktest"
)

// What is wrong before anything was changed changes nothing.

func TestConsulIsDown(t *testing.T) {
	w := newWorld(t)
	w.env = []string{"CONSUL_HTTP_ADDR=127.0.0.1:" + strconv.Itoa(stacktest.FreePort())}
	refused(w, 4, "no answer from Consul", "hint:")
}

func TestConsulAnswers500(t *testing.T) {
	w := newWorld(t)
	w.env = []string{"CONSUL_HTTP_ADDR=" + answering(t, http.StatusInternalServerError)}
	refused(w, 4, "no answer from Consul", "500")
}

func TestConsulRefusesTheToken(t *testing.T) {
	w := newWorld(t)
	w.env = []string{"CONSUL_HTTP_ADDR=" + answering(t, http.StatusForbidden)}
	refused(w, 4, "the token is refused by Consul", "CONSUL_HTTP_TOKEN")
}

// answering returns the address of a Consul that is broken in one way. A real
// one does not answer 500 on demand.
func answering(t *testing.T, status int) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", status) }))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestGarbageInTheColorKey(t *testing.T) {
	w := newWorld(t)
	w.deploy()
	w.put("color", "teal")
	refused(w, 1, w.service+"/color", `"teal"`, "hint:")
	w.put("color", "blue")
	w.live("blue")
	w.nothingLeft()
}

func TestNoDocker(t *testing.T) {
	w := newWorld(t)
	w.env = append(w.env, "DOCKER_HOST=unix:///nowhere.sock")
	refusedDeploy(w, 4, "Docker Engine cannot be reached", "hint:")
}

func TestNoNginx(t *testing.T) {
	w := newWorld(t)
	refusedDeploy(w, 4, "nginx", "hint:", "--proxy-container", "no-such-nginx")
}

func TestAnUnknownServiceInTheComposeFile(t *testing.T) {
	w := newWorld(t)
	w.settings("compose: { service: \"web-{color}\" }\n")
	refusedDeploy(w, 2, "web-blue", "app-blue", "hint:")
}

func TestAnUnknownKeyInTheConfiguration(t *testing.T) {
	w := newWorld(t)
	w.settings("replica: 2\n")
	refusedDeploy(w, 2, "bg.yml:7:1", "replica", "replicas")
}

func TestAServiceNameThatCouldLeaveItsPlace(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"books; }", "../x", "Books", "a/b", ""} {
		w.code(w.bg("next-color", name), 2)
	}
}

func TestACommandThatDoesNotExist(t *testing.T) {
	w := newWorld(t)
	w.code(w.bg("depoly", w.service), 2)
	w.code(w.bg("deploy"), 2)
	w.code(w.bg("deploy", w.service, "--no-such-flag"), 2)
	w.code(w.bg("deploy", w.service, "-o", "xml"), 2)
}

// refused asks that the color commands and deployments end with code.
func refused(w *world, code int, words ...string) {
	w.Helper()
	r := w.bg("next-color", w.service)
	w.code(r, code)
	w.says(r, words...)
	if r.out != "" {
		w.Errorf("standard output has %q", r.out)
	}
	refusedDeploy(w, code, words...)
}

// refusedDeploy asks that a deployment ends with code and starts no container.
// From the first word with dashes on, words are arguments.
func refusedDeploy(w *world, code int, words ...string) {
	w.Helper()
	args := []string{"deploy", w.service}
	for i, word := range words {
		if strings.HasPrefix(word, "--") {
			words, args = words[:i], append(args, words[i:]...)
			break
		}
	}
	before := w.containers()
	r := w.bg(args...)
	w.code(r, code)
	w.says(r, words...)
	if after := w.containers(); after != before {
		w.Errorf("containers changed: %s", after)
	}
}
