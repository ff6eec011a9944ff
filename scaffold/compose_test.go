package scaffold

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bg/hint"
)

// shopFile has three services. None of its lines may change.
const shopFile = `# what we run
services:
  web:   # the shop
    build: .
    depends_on: [db]   # it waits
  db:
    image: "redis:8"   # not web's
    ports: ["6379:6379"]
  worker: { image: worker }

volumes: {}
`

func TestOfSeveralServicesOneHasToBeChosen(t *testing.T) {
	dir := folder(t, map[string]string{"docker-compose.yml": shopFile})
	_, err := Plan(dir, shop)
	if several, ok := errors.AsType[*SeveralError](err); !ok || !slices.Equal(several.Services, []string{"db", "web", "worker"}) {
		t.Fatalf("%v", err)
	}
	wrong := shop
	wrong.Compose = "wep"
	if _, err := Plan(dir, wrong); !errors.Is(err, ErrFolder) || hint.Of(err) != "it has db, web, worker" {
		t.Errorf("%v", err)
	}
}

func TestWhatTheChosenServiceLacksIsAddedAndNothingElseChanges(t *testing.T) {
	chosen := shop
	chosen.Compose = "web"
	tests := []struct{ name, file, want string }{
		{"in lines of its own", shopFile, strings.Replace(shopFile, "    build: .\n", "    ports: [\"3000\"]\n    build: .\n", 1)},
		{"in braces", "services: {db: {image: x}, web: {image: y}}\n", "services: {db: {image: x}, web: {ports: [\"3000\"], image: y}}\n"},
		{"with an anchor", "services:\n  web: &web\n    image: y\n  other: *web\n", ""},
		{"in the old layout", "db:\n  image: x\nweb:\n  image: y\n", "db:\n  image: x\nweb:\n  ports: [\"3000\"]\n  image: y\n"},
		{"where it has a port", "services:\n  web: { image: y, ports: [80] }\n", "services:\n  web: { image: y, ports: [80] }\n"},
		{"where it needs none", "services:\n  web: { image: y, network_mode: host }\n", "services:\n  web: { image: y, network_mode: host }\n"},
		{"where another one may have it", "services:\n  web: { extends: { file: x.yml, service: y } }\n", "services:\n  web: { extends: { file: x.yml, service: y } }\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := folder(t, map[string]string{"docker-compose.yml": tt.file})
			list, err := Plan(dir, chosen)
			if tt.want == "" {
				if !errors.Is(err, ErrFolder) || hint.Of(err) != `add by hand to web: ports: ["3000"]` {
					t.Errorf("%v: %s", err, hint.Of(err))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Write(dir, list, false); err != nil {
				t.Fatal(err)
			}
			again, err := Plan(dir, chosen)
			if err != nil || again[0].Adds != "" {
				t.Fatalf("%v: it still lacks %s", err, again[0].Adds)
			}
			if _, err := Write(dir, again, true); err != nil { // it stays, forced or not
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "docker-compose.yml")); err != nil || string(got) != tt.want {
				t.Errorf("%v: %s", err, got)
			}
		})
	}
}

func TestAnImageThatIsOnlyBuiltIsNamedInTheSettings(t *testing.T) {
	chosen := shop
	chosen.Compose = "web"
	list, err := Plan(folder(t, map[string]string{"compose.yaml": shopFile}), chosen)
	if err != nil || list[3].Name != "bg.yml" || !strings.Contains(list[3].Content, "compose: { service: web }") || !strings.Contains(list[3].Content, "\nimage: shop\n") {
		t.Errorf("%v %+v", err, list)
	}
	if list = planned(t, folder(t, map[string]string{"compose.yaml": "services: { web: { image: y, ports: [80] } }"})); strings.Contains(list[3].Content, "image:") {
		t.Errorf("%s", list[3].Content)
	}
}

func TestAComposeFileThatSomebodyChangedMeanwhileIsNotWritten(t *testing.T) {
	chosen := shop
	chosen.Compose = "web"
	dir := folder(t, map[string]string{"docker-compose.yml": shopFile})
	list, err := Plan(dir, chosen)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "docker-compose.yml")
	if err := os.WriteFile(file, []byte(shopFile+"# more\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir, list, true); err == nil || !strings.Contains(err.Error(), "changed meanwhile") {
		t.Errorf("%v", err)
	}
	if text, _ := os.ReadFile(file); string(text) != shopFile+"# more\n" {
		t.Errorf("%s", text)
	}
}
