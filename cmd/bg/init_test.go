package main

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"

	"bg/scaffold"
)

// within runs bg in dir, with what stands on its standard input.
func within(t *testing.T, dir, input string, args ...string) result {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out, notes strings.Builder
	c := exec.CommandContext(t.Context(), self)
	c.Args, c.Dir, c.Stdin, c.Stdout, c.Stderr = append([]string{"bg"}, args...), dir, strings.NewReader(input), &out, &notes
	c.Env = append(os.Environ(), programVariable+"=yes")
	if err := c.Run(); err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	return result{code: c.ProcessState.ExitCode(), out: out.String(), err: notes.String()}
}

// dockerized is a folder with only a Dockerfile.
func dockerized(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "Books_MS")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\nEXPOSE 3000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// files returns how many files dir has.
func files(t *testing.T, dir string) int {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestInAPipeInitOnlyShowsUnlessItIsToldToWrite(t *testing.T) {
	dir := dockerized(t)
	got := within(t, dir, "y\n", "init")
	if got.code != exitDone || !strings.Contains(got.out, "=== bg.yml") || !strings.Contains(got.out, "service: books-ms") || !strings.Contains(got.err, "--yes writes") {
		t.Errorf("%+v", got)
	}
	if files(t, dir) != 1 {
		t.Error("something was written")
	}
	var list []scaffold.File
	if err := json.Unmarshal([]byte(within(t, dir, "", "init", "-o", "json").out), &list); err != nil || len(list) != 5 || list[3].Name != "bg.yml" {
		t.Errorf("%v: %+v", err, list)
	}
	got = within(t, dir, "", "init", "shop", "--yes")
	if got.code != exitDone || !strings.Contains(got.err, "wrote Jenkinsfile") || files(t, dir) != 6 {
		t.Errorf("%+v", got)
	}
	text, err := os.ReadFile(filepath.Join(dir, "docker-compose.yml"))
	if err != nil || !strings.Contains(string(text), `ports: ["3000"]`) || !strings.Contains(string(text), "SERVICE_NAME: shop-green") {
		t.Errorf("%v: %s", err, text)
	}
	if got = within(t, dir, "", "init", "shop", "--yes"); !strings.Contains(got.out, "bg.yml: how it is deployed (exists, and stays as it is)") || strings.Contains(got.err, "wrote") {
		t.Errorf("%+v", got)
	}
}

// composed is a folder whose Compose file has two services.
func composed(t *testing.T) (dir, file string) {
	t.Helper()
	dir = dockerized(t)
	file = filepath.Join(dir, "compose.yaml")
	if err := os.WriteFile(file, []byte("services:\n  web:\n    image: web\n  db:\n    image: redis # theirs\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, file
}

const withPort = "services:\n  web:\n    ports: [\"3000\"]\n    image: web\n  db:\n    image: redis # theirs\n"

func TestInitColorsTheServiceThatIsNamedOfSeveral(t *testing.T) {
	dir, file := composed(t)
	got := within(t, dir, "web\ny\n", "init", "shop", "--yes")
	if got.code != exitUsage || !strings.Contains(got.err, "compose.yaml has several services: db, web") || !strings.Contains(got.err, "hint: say which one runs in two colors: --service db") || files(t, dir) != 2 {
		t.Errorf("%+v", got)
	}
	if got = within(t, dir, "", "init", "shop", "--yes", "--service", "none"); got.code != exitUsage || !strings.Contains(got.err, "has no service none") {
		t.Errorf("%+v", got)
	}
	got = within(t, dir, "", "init", "shop", "--yes", "--force", "--service", "web")
	if got.code != exitDone || !strings.Contains(got.err, "wrote compose.yaml") || !strings.Contains(got.out, "this line is added to it, and all others stay)\n+ ports: [\"3000\"]") {
		t.Errorf("%+v", got)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != withPort {
		t.Errorf("%v: %s", err, text)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "bg.yml")); err != nil || !strings.Contains(string(text), "compose: { service: web }") {
		t.Errorf("%v: %s", err, text)
	}
	got = within(t, dir, "", "init", "shop", "--yes", "--force", "--service", "web")
	if got.code != exitDone || strings.Contains(got.err, "wrote compose.yaml") || !strings.Contains(got.out, "compose.yaml: what runs the service (exists, and stays as it is)") {
		t.Errorf("%+v", got)
	}
}

func TestOnATerminalInitAsksWhichServiceItIs(t *testing.T) {
	for answer, want := range map[string]int{"web\ny\n": 6, "web\nn\n": 2, "\n": 2, "none\ny\n": 2} {
		dir, _ := composed(t)
		out := answering(t, dir, answer, "init", "shop")
		if !strings.Contains(out, "compose.yaml has several services: db, web. Which one runs in two colors?") {
			t.Errorf("%q: %s", answer, out)
		}
		if got := files(t, dir); got != want {
			t.Errorf("after %q there are %d files instead of %d:\n%s", answer, got, want, out)
		}
	}
}

// answering runs bg in dir with a terminal on which somebody has typed answers, and
// returns what it wrote.
func answering(t *testing.T, dir, answers string, args ...string) string {
	t.Helper()
	terminal, program, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close(); program.Close() })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self)
	c.Args, c.Dir, c.Stdin, c.Env = append([]string{"bg"}, args...), dir, program, append(os.Environ(), programVariable+"=yes")
	if _, err := io.WriteString(terminal, answers); err != nil {
		t.Fatal(err)
	}
	out, err := c.CombinedOutput()
	if err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestInitRefusesWhatCannotStandInItsFiles(t *testing.T) {
	for args, says := range map[string]string{
		"Shop":                        "letters",
		"shop --port 99999":           "--port",
		"shop --path /;drop":          "--path",
		"shop --health-path ping":     "health",
		"shop --image a;b":            "image",
		"shop --proxy-url nginx:8000": "proxy",
		"shop another":                "at most one argument",
		"shop -o xml":                 "table or json",
		"shop --proxy-container a;b":  "proxy",
	} {
		t.Run(args, func(t *testing.T) {
			dir := dockerized(t)
			got := within(t, dir, "", append([]string{"init", "--yes"}, strings.Fields(args)...)...)
			if got.code != exitUsage || !strings.Contains(got.err, says) || files(t, dir) != 1 {
				t.Errorf("%+v", got)
			}
		})
	}
	if got := within(t, t.TempDir(), "", "init", "shop", "--yes"); got.code != exitUsage || !strings.Contains(got.err, "hint:") {
		t.Errorf("%+v", got)
	}
}

func TestOnATerminalInitAsks(t *testing.T) {
	for answer, want := range map[string]int{"y\n": 6, "n\n": 1, "\n": 1} {
		dir := dockerized(t)
		if out := answering(t, dir, answer, "init", "shop"); !strings.Contains(out, "Write these files? [y/N]") {
			t.Errorf("%s", out)
		}
		if got := files(t, dir); got != want {
			t.Errorf("after %q there are %d files instead of %d", answer, got, want)
		}
	}
}
