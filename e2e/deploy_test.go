package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"bg/load"
)

// alternate deploys n times and asks after each that the other color serves.
func alternate(w *world, n int, first string) {
	w.Helper()
	color := first
	for range n {
		w.deploy("--tag", "2.0")
		w.live(color)
		color = map[string]string{"blue": "green", "green": "blue"}[color]
	}
}

func TestDeploymentsAlternateTheColorsAndLoseNothing(t *testing.T) {
	w := newWorld(t)
	w.deploy()
	w.live("blue")
	w.begin()
	alternate(w, 10, "green")
	for _, r := range w.end() {
		if r.Labels["blue"] == 0 || r.Labels["green"] == 0 {
			t.Errorf("%s: both colors should have answered: %v", r.Name, r.Labels)
		}
	}
	want := w.service + "-app-blue-1 running"
	if got := w.containers(); !strings.Contains(got, want) || !strings.Contains(got, w.service+"-app-green-1 exited") {
		t.Errorf("the old color's container has to be stopped and kept: %s", got)
	}
}

func TestRollbackStartsTheKeptContainerAndLosesNothing(t *testing.T) {
	w := newWorld(t)
	w.deploy("--tag", "1.0")
	id := docker(w, "inspect", "-f", "{{.Id}}", w.service+"-app-blue-1")
	w.deploy("--tag", "2.0")
	w.begin()
	w.dir = t.TempDir() // from anywhere on the machine that deployed
	w.code(w.bg("rollback", w.service), 0)
	w.end()
	w.live("blue")
	if now := docker(w, "inspect", "-f", "{{.Id}}", w.service+"-app-blue-1"); now != id {
		t.Errorf("it is another container: %s instead of %s", now, id)
	}
}

func TestRollbackAfterAFailedDeploymentUsesTheImageThatWasLive(t *testing.T) {
	w := newWorld(t)
	w.deploy("--tag", "1.0")
	w.deploy("--tag", "2.0")
	w.env = append(w.env, "FAIL_HEALTH=true")
	w.code(w.bg("deploy", w.service, "--health-timeout", "2s"), 12)
	w.env = w.env[:len(w.env)-1]
	w.code(w.bg("rollback", w.service), 0)
	w.live("blue")
	if _, header, _ := w.get("/ping"); header.Get("X-Version") != "1.0" {
		t.Errorf("version %s serves instead of 1.0", header.Get("X-Version"))
	}
}

func TestRollbackOfAServiceThatWasNeverDeployed(t *testing.T) {
	w := newWorld(t)
	r := w.bg("rollback", w.service)
	w.code(r, 2)
	w.says(r, "nothing to roll back to", "hint:")
}

func TestReplicasAreAllInNginx(t *testing.T) {
	w := newWorld(t)
	w.deploy("--replicas", "3")
	if got := strings.Count(w.containers(), "running"); got != 3 {
		t.Errorf("%d containers run instead of 3", got)
	}
	lines := strings.Fields(w.bg("address", w.service).out)
	file := docker(w, "exec", w.nginx, "cat", "/etc/nginx/upstreams/"+w.service+".conf")
	for _, address := range lines {
		if !strings.Contains(file, "server "+address+";") {
			t.Errorf("%s is not in nginx's upstreams:\n%s", address, file)
		}
	}
	if len(lines) != 3 {
		t.Errorf("bg address prints %d lines instead of 3", len(lines))
	}
}

func TestOneServiceWithoutColorsIsColored(t *testing.T) {
	w := newWorld(t)
	w.file("docker-compose.yml", `services:
  app: { image: "IMAGE:1.0", container_name: SERVICE-one, ports: ["18080:8080"], environment: { SERVICE_NAME: whatever, REDIS_ADDR: "REDIS" } }
`)
	w.deploy()
	w.begin()
	w.deploy("--tag", "2.0")
	w.end()
	if got := w.kv("color"); got != "green" {
		t.Errorf("KV says %q instead of green", got)
	}
	if got := w.containers(); !strings.Contains(got, w.service+"-one-green running") || !strings.Contains(got, w.service+"-one-blue exited") {
		t.Errorf("containers: %s", got)
	}
}

func TestComposeFileInTheOldLayout(t *testing.T) {
	w := newWorld(t)
	w.file("docker-compose.yml", `base:
  image: IMAGE:1.0
  ports:
    - 8080
app-blue:
  extends:
    service: base
  environment:
    - SERVICE_NAME=SERVICE-blue
    - COLOR=blue
    - REDIS_ADDR=db:6379
  links:
    - db:db
app-green:
  extends:
    service: base
  environment:
    - SERVICE_NAME=SERVICE-green
    - COLOR=green
    - REDIS_ADDR=db:6379
  links:
    - db:db
db:
  image: redis:8
  volumes:
    - SERVICE-data:/data
`)
	r := w.deploy()
	if strings.Count(r.report, "old layout") != 1 {
		t.Errorf("one warning about the old layout:\n%s", r.report)
	}
	database := docker(w, "inspect", "-f", "{{.Id}} {{.State.StartedAt}}", w.service+"-db-1")
	w.deploy()
	w.live("green")
	if now := docker(w, "inspect", "-f", "{{.Id}} {{.State.StartedAt}}", w.service+"-db-1"); now != database {
		t.Error("the database was recreated or restarted")
	}
}

func TestIntegrationTestsInAContainerReachTheColorAndTheProxy(t *testing.T) {
	w := newWorld(t)
	w.file("docker-compose.yml", withRedis())
	w.file("docker-compose-dev.yml", `integ:
  image: IMAGE:1.0
  entrypoint: ["/books-ms", "-integ"]
  environment:
    - DOMAIN
`)
	test := "{ compose: { file: docker-compose-dev.yml, service: integ } }, {"
	w.file("bg.yml", strings.NewReplacer("pre:  [ {", "pre: [ "+test, "post: [ {", "post: [ "+test).Replace(settings))
	r := w.deploy()
	w.live("blue")
	if got := strings.Count(r.report, "keeps a book that is posted"); got != 2 {
		t.Errorf("the tests' output is shown %d times instead of twice:\n%s", got, r.report)
	}
	if strings.Contains(w.containers(), "integ") {
		t.Error("the container of the tests is left behind")
	}
}

func TestDryRunPrintsThePlanAndChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.deploy()
	before := w.containers() + w.kv("deploy")
	r := w.bg("deploy", w.service, "--dry-run", "--tag", "2.0")
	w.code(r, 0)
	for _, verb := range []string{"start", "register", "pretest", "switch", "posttest", "commit", "drain", "stop"} {
		if !strings.Contains(r.out, verb) {
			t.Errorf("the plan lacks %s:\n%s", verb, r.out)
		}
	}
	if after := w.containers() + w.kv("deploy"); after != before {
		t.Errorf("something changed: %s", after)
	}
	w.live("blue")
}

func TestColorsArePrintedAsOneWord(t *testing.T) {
	w := newWorld(t)
	for _, step := range []struct{ current, next string }{{"none", "blue"}, {"blue", "green"}, {"green", "blue"}} {
		if r := w.bg("current-color", w.service); r.out != step.current+"\n" || r.report != "" {
			t.Errorf("current-color prints %q and %q", r.out, r.report)
		}
		if r := w.bg("next-color", w.service); r.out != step.next+"\n" || r.report != "" {
			t.Errorf("next-color prints %q and %q", r.out, r.report)
		}
		w.put("color", step.next)
	}
}

func TestJSONIsOneEventPerLineAndTheDocumentIsInKV(t *testing.T) {
	w := newWorld(t)
	r := w.deploy("-o", "json")
	var last struct {
		Event      string
		Deployment struct {
			ID, Outcome string
			Steps       []struct{ Step, Observed, Duration string }
		}
	}
	for line := range strings.Lines(r.out) {
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
	}
	if last.Event != "finished" || last.Deployment.Outcome != "done" || len(last.Deployment.Steps) != 6 {
		t.Errorf("the last event is %+v", last)
	}
	if document := w.kv("deploys/" + last.Deployment.ID); !strings.Contains(document, "\n  \"outcome\": \"done\"") || document != w.kv("deploy") {
		t.Errorf("the document in KV:\n%s", document)
	}
}

func TestPostsAreNotLostWithARealDatabase(t *testing.T) {
	w := newWorld(t)
	w.file("docker-compose.yml", withRedis())
	w.deploy()
	l, err := load.Start(t.Context(), w.url, load.Clients{Name: "POST", Number: 4, Method: "POST", Path: "/api/v1/books", Body: `{"title":"a"}`, KeepAlive: true})
	if err != nil {
		t.Fatal(err)
	}
	alternate(w, 2, "green")
	for _, r := range l.Stop() {
		body, _, err := w.get(fmt.Sprintf("/api/v1/books/%d", r.Sent))
		if err != nil || r.Failed > 0 || !strings.Contains(body, `"title"`) {
			t.Errorf("%d of %d POSTs failed; the book of the last one: %s: %v %v", r.Failed, r.Sent, body, r.Errors, err)
		}
		if body, _, _ := w.get(fmt.Sprintf("/api/v1/books/%d", r.Sent+1)); strings.Contains(body, `"title"`) {
			t.Errorf("a POST was made twice: there is a book more than the %d that were sent", r.Sent)
		}
	}
}

// withRedis is the Compose file of the sample with its database.
func withRedis() string {
	return strings.NewReplacer("REDIS_ADDR: REDIS", "REDIS_ADDR: db:6379",
		"    stop_grace_period: 20s\n", "    stop_grace_period: 20s\n    depends_on: [db]\n").Replace(compose) +
		"  db: { image: \"redis:8\" }\n"
}
