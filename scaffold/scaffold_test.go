package scaffold

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

var shop = Service{Name: "shop-ms", Image: "shop", Port: 3000, Health: "/healthz", Path: "/shop/", Proxy: "nginx", URL: "http://localhost:8000"}

// folder makes a folder with files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// planned is Plan without an error.
func planned(t *testing.T, dir string) []File {
	t.Helper()
	list, err := Plan(dir, shop)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestEveryFileOfAFirstDeploymentIsMadeOfTheServicesName(t *testing.T) {
	var text strings.Builder
	for _, f := range planned(t, folder(t, map[string]string{"Dockerfile": "FROM scratch"})) {
		if f.Exists || f.Why == "" {
			t.Errorf("%+v", f)
		}
		text.WriteString("=== " + f.Name + "\n" + f.Content)
	}
	const golden = "testdata/shop.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		t.Error(diff)
	}
}

func TestWhatExistsStaysUnlessItIsForced(t *testing.T) {
	dir := folder(t, map[string]string{"Dockerfile": "FROM scratch", "bg.yml": "mine"})
	list := planned(t, dir)
	written, err := Write(dir, list, false)
	if err != nil || len(written) != 4 || slices.Contains(written, "bg.yml") {
		t.Errorf("%v %v", written, err)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "bg.yml")); string(text) != "mine" {
		t.Errorf("it was written over: %s", text)
	}
	if written, err := Write(dir, list, true); err != nil || len(written) != 5 {
		t.Errorf("%v %v", written, err)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "bg.yml")); !strings.Contains(string(text), "service: shop-ms") {
		t.Errorf("it was not written over: %s", text)
	}
}

func TestTheOneServiceOfAnExistingComposeFileIsColored(t *testing.T) {
	tests := []struct{ name, file, want string }{
		{"one service of another name", "services: { web: { image: web } }", "compose: { service: web }"},
		{"one that bg finds", "services: { app: { image: web } }", ""},
		{"several of which bg finds one", "services: { shop-ms: { image: web }, db: { image: redis } }", ""},
		{"two colors", "services: { shop-ms-blue: { image: web }, shop-ms-green: { image: web }, db: { image: redis } }", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list := planned(t, folder(t, map[string]string{"compose.yml": tt.file}))
			if list[0].Name != "compose.yml" || !list[0].Exists || !list[0].Stays {
				t.Errorf("%+v", list[0])
			}
			got := list[3].Content
			if list[3].Name != "bg.yml" || strings.Contains(got, "compose:") != (tt.want != "") || !strings.Contains(got, tt.want) {
				t.Errorf("%s", got)
			}
		})
	}
}

func TestAFolderOfNoServiceGetsNothing(t *testing.T) {
	if _, err := Plan(t.TempDir(), shop); !errors.Is(err, ErrFolder) {
		t.Errorf("%v", err)
	}
	if _, err := Plan(folder(t, map[string]string{"compose.yml": "services: [}"}), shop); !errors.Is(err, ErrFolder) {
		t.Errorf("%v", err)
	}
}

func TestThePortIsTheOneThatTheDockerfileExposes(t *testing.T) {
	for text, want := range map[string]int{"FROM x\nEXPOSE 3000/tcp 4000\n": 3000, "FROM x\n": 8080, "FROM x\nexpose   80": 80, "# EXPOSE 9": 8080} {
		if got := Port(folder(t, map[string]string{"Dockerfile": text}), 8080); got != want {
			t.Errorf("%q: %d instead of %d", text, got, want)
		}
	}
}
