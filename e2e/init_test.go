package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// transcriptVariable makes the test write what it saw into docs/first-deploy.md.
const transcriptVariable = "BG_TRANSCRIPT"

func TestFromAFolderWithADockerfileToAFirstDeployment(t *testing.T) {
	w := newWorld(t)
	w.dir = t.TempDir()
	for _, name := range []string{"Dockerfile", "bin/books-ms"} {
		text := must(os.ReadFile(filepath.Join(sample, name)))
		if name == "Dockerfile" { // the sample's database, as this run has it
			text = append(text, "ENV REDIS_ADDR="+stack.Redis+"\n"...)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(w.dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(w.dir, name), text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.env = append(w.env, "BG_PROXY_CONTAINER="+w.nginx, "BG_PROXY_URL="+w.url)
	var said strings.Builder
	step := func(code int, words ...string) {
		t.Helper()
		r := w.bg(words...)
		w.code(r, code)
		fmt.Fprintf(&said, "$ bg %s\n%s%s\n", strings.Join(words, " "), r.report, r.out)
	}
	step(0, "init", w.service, "--yes")
	docker(t, "build", "-q", "-t", w.service+":1", w.dir)
	fmt.Fprintf(&said, "$ docker build -q -t %s:1 .\n\n", w.service)
	step(0, "doctor", w.service, "--tag", "1")
	step(2, "plan", w.service, "--tag", "1", "--detailed-exitcode")
	step(0, "deploy", w.service, "--tag", "1")
	w.answers("blue")
	step(0, "history", w.service)
	step(0, "deploy", w.service, "--tag", "1")
	w.answers("green")
	step(0, "rollback", w.service)
	w.answers("blue")
	if os.Getenv(transcriptVariable) != "" {
		writeTranscript(w, said.String())
	}
}

func TestFromAComposeFileWithSeveralServicesToAFirstDeployment(t *testing.T) {
	w := newWorld(t)
	w.dir = t.TempDir()
	const web = "  web:\n    image: IMAGE:1.0\n    environment: { REDIS_ADDR: REDIS } # as ever\n"
	const rest = "  batch:\n    image: IMAGE:1.0\n    command: [\"-check\"]\n"
	w.file("docker-compose.yml", "services:\n"+web+rest)
	w.env = append(w.env, "BG_PROXY_CONTAINER="+w.nginx, "BG_PROXY_URL="+w.url)
	r := w.bg("init", w.service, "--yes")
	w.code(r, 2)
	w.says(r, "docker-compose.yml has several services: batch, web", "--service")
	w.code(w.bg("init", w.service, "--yes", "--service", "web"), 0)
	w.code(w.bg("doctor", w.service, "--no-trial"), 0)
	w.deploy()
	w.answers("blue")
	w.deploy("--tag", "2.0")
	w.answers("green")
	if got := w.containers(); strings.Contains(got, "batch") || !strings.Contains(got, "web-green-1 running") {
		t.Errorf("containers: %s", got)
	}
	text := string(must(os.ReadFile(filepath.Join(w.dir, "docker-compose.yml"))))
	want := strings.Replace("services:\n"+web+rest, "  web:\n", "  web:\n    ports: [\"8080\"]\n", 1)
	if want = strings.NewReplacer("IMAGE", stack.Name, "REDIS }", stack.Redis+" }").Replace(want); text != want {
		t.Errorf("the Compose file is\n%s\ninstead of\n%s", text, want)
	}
}

// answers compares the color in KV with the one that nginx names: a container of
// this folder does not know its color.
func (w *world) answers(want string) {
	w.Helper()
	_, header, err := w.get("/ping")
	if got := header.Get("X-BG-Color"); err != nil || got != want || strings.TrimSpace(w.kv("color")) != want {
		w.Errorf("%q answers, and KV says %q, instead of %s (%v)", got, w.kv("color"), want, err)
	}
}

// writeTranscript puts what the commands printed into docs/first-deploy.md, with
// the names that a reader has instead of this run's.
func writeTranscript(w *world, said string) {
	w.Helper()
	said = strings.NewReplacer(w.service, "books-ms", strings.ReplaceAll(w.service, "-", "_"), "books_ms", w.nginx, "nginx", w.url, "http://localhost:8000", stack.Consul, "127.0.0.1:8500", w.dir, "/srv/books-ms").Replace(said)
	said = regexp.MustCompile(`[ \t]+\n`).ReplaceAllString(said, "\n")
	file := filepath.Join(root, "docs", "first-deploy.md")
	text := string(must(os.ReadFile(file)))
	head, _, found := strings.Cut(text, "```\n")
	if !found {
		w.Fatalf("%s has no place for the transcript", file)
	}
	if err := os.WriteFile(file, []byte(head+"```\n"+strings.TrimSpace(said)+"\n```\n"), 0o644); err != nil {
		w.Fatal(err)
	}
}
