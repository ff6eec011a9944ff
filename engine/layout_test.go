package engine

import (
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares got with the golden text of that name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestTheOldLayoutIsReadAsTodays(t *testing.T) {
	files, err := filepath.Glob("testdata/layout/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v: %v", files, err)
	}
	t.Setenv("LOGS", "/var/log/app")
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yml")
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			upgraded, old, err := upgrade(content)
			if err != nil || !old {
				t.Fatalf("old layout: %t, %v", old, err)
			}
			golden(t, "layout/"+name, string(upgraded))
			again, old, err := upgrade(upgraded)
			if err != nil || old || string(again) != string(upgraded) {
				t.Errorf("it is not today's layout: %v\n%s", err, again)
			}
			if _, err := offline(nil).load(t.Context(), file, "books-ms"); err != nil {
				t.Errorf("Compose does not take it: %v", err)
			}
		})
	}
}

func TestTodaysLayoutIsLeftAsItIs(t *testing.T) {
	tests := []struct{ name, content string }{
		{"services", "services:\n  app: { image: app }\n"},
		{"comments and anchors", "# why\nx-base: &base { image: app }\nservices:\n  app: *base\n"},
		{"a version", "version: '2'\nservices: { app: { image: app } }\n"},
		{"only an include", "include: [ other.yml ]\n"},
		{"networks and no services", "networks: { front: {} }\n"},
		{"a service that is called build", "services:\n  build: { image: builder }\n  app: { build: . }\n"},
		{"a service that is called image", "services:\n  image: { build: . }\n"},
		{"a service that is called extends", "services:\n  extends: { image: app }\n"},
		{"nothing", ""},
		{"only a comment", "# nothing\n"},
		{"an empty map", "{}\n"},
		{"a key that is no service", "app: { ports: [ 80 ] }\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, old, err := upgrade([]byte(tt.content))
			if err != nil || old || string(got) != tt.content {
				t.Errorf("old layout: %t, %v\n%s", old, err, got)
			}
		})
	}
}

func TestGarbageIsAMistakeInTheComposeFile(t *testing.T) {
	for name, content := range map[string]string{
		"a list": "- app\n- db\n", "a word": "app\n", "a brace that is not closed": "services: {\n", "bytes": "\x00\xff\xfe", "a tab": "services:\n\tapp:\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := upgrade([]byte(content)); !errors.Is(err, ErrConfig) {
				t.Errorf("%v", err)
			}
		})
	}
}

// offline is an Engine that reads Compose files and asks no Docker.
func offline(log *strings.Builder) *Engine {
	if log == nil {
		return &Engine{log: slog.New(slog.DiscardHandler)}
	}
	return &Engine{log: slog.New(slog.NewTextHandler(log, nil))}
}

func TestTheOldLayoutIsWarnedOfOnce(t *testing.T) {
	t.Setenv("LOGS", "/var/log/app")
	var log strings.Builder
	e := offline(&log)
	for range 3 {
		if _, err := e.load(t.Context(), "testdata/layout/volumes.yml", "books-ms"); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Count(log.String(), "old layout"); got != 1 {
		t.Errorf("%d warnings: %s", got, log.String())
	}
}
