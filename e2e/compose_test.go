package e2e

import (
	"strings"
	"testing"
)

// whole uses what people's Compose files use beyond images and ports.
const whole = `services:
  base:
    image: IMAGE:1.0
    ports: ["8080"]
    env_file: [app.env]
    environment: { REDIS_ADDR: "db:6379" }
    secrets: [token]
    volumes: ["SERVICE-files:/files"]
    networks: [inner]
    healthcheck: { test: [CMD, /books-ms, -check], interval: 1s, start_period: 30s }
    depends_on: { db: { condition: service_healthy } }
  app-blue:
    extends: base
    environment: { SERVICE_NAME: SERVICE-blue, COLOR: blue }
  app-green:
    extends: base
    environment: { SERVICE_NAME: SERVICE-green, COLOR: green }
  db:
    image: redis:8
    networks: [inner]
    healthcheck: { test: [CMD, redis-cli, ping], interval: 1s, start_period: 30s }
networks: { inner: {} }
volumes: { SERVICE-files: { name: SERVICE-files } }
secrets: { token: { file: token.txt } }
`

func TestWhatAComposeFileSaysHoldsForBothColors(t *testing.T) {
	w := newWorld(t)
	w.file("docker-compose.yml", whole)
	w.file("app.env", "FROM_THE_FILE=yes\n")
	w.file("token.txt", "sesame")
	w.deploy()
	database := docker(w, "inspect", "-f", "{{.Id}} {{.State.StartedAt}}", w.service+"-db-1")
	w.deploy("--tag", "2.0")
	w.live("green")
	for _, color := range []string{"blue", "green"} {
		got := docker(w, "inspect", "-f",
			"{{.Config.Env}} {{range .Mounts}}{{.Source}}={{.Destination}} {{end}} {{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}} {{.State.Health.Status}}",
			w.service+"-app-"+color+"-1")
		for _, want := range []string{"FROM_THE_FILE=yes", "token.txt=/run/secrets/token", "/_data=/files", w.service + "_inner", map[string]string{"blue": "", "green": "healthy"}[color]} {
			if !strings.Contains(got, want) {
				t.Errorf("%s lacks %q: %s", color, want, got)
			}
		}
	}
	if now := docker(w, "inspect", "-f", "{{.Id}} {{.State.StartedAt}}", w.service+"-db-1"); now != database {
		t.Error("the database was recreated or restarted")
	}
}

func TestADependencyThatIsMissingIsStarted(t *testing.T) {
	w := newWorld(t)
	w.file("docker-compose.yml", withRedis())
	w.deploy()
	docker(w, "rm", "-f", w.service+"-db-1")
	w.deploy("--tag", "2.0")
	w.live("green")
	if got := w.containers(); !strings.Contains(got, w.service+"-db-1 running") {
		t.Errorf("the database was not started again: %s", got)
	}
}
