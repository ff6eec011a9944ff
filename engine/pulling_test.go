package engine

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bg/color"
)

const pullMessages = `{"status":"Pulling from books-ms","id":"2.0"}
{"status":"Pulling fs layer","progressDetail":{},"id":"a"}
{"status":"Downloading","progressDetail":{"current":10,"total":100},"id":"a"}
{"status":"Already exists","progressDetail":{},"id":"c"}
{"status":"Downloading","progressDetail":{"current":50,"total":300},"id":"b"}
{"status":"Download complete","progressDetail":{},"id":"a"}
{"status":"Extracting","progressDetail":{"current":7,"total":100},"id":"a"}
{"status":"Status: Downloaded newer image for books-ms:2.0"}
`

func TestAPullTellsHowManyBytesAreThere(t *testing.T) {
	var told []Pulling
	if err := follow(strings.NewReader(pullMessages), "books-ms:2.0", func(p Pulling) { told = append(told, p) }); err != nil {
		t.Fatal(err)
	}
	if first := (Pulling{Image: "books-ms:2.0", Done: 10, Total: 100}); len(told) < 2 || told[0] != first {
		t.Errorf("first: %+v", told)
	}
	if last := told[len(told)-1]; last != (Pulling{Image: "books-ms:2.0", Done: 150, Total: 400}) {
		t.Errorf("last: %+v", last)
	}
}

func TestAPullThatFailsOrBreaksOffIsAnError(t *testing.T) {
	for name, messages := range map[string]string{
		"an error among the messages": `{"errorDetail":{"message":"no space left"},"error":"no space left"}`,
		"half a message":              `{"status":"Downlo`,
	} {
		t.Run(name, func(t *testing.T) {
			if err := follow(strings.NewReader(messages), "a", func(Pulling) {}); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestARealPullIsToldOf(t *testing.T) {
	e, _ := docker(t)
	filler := make([]byte, 3<<20) // that nothing can make smaller
	_, err := rand.Read(filler)
	check(t, err)
	registry := newImages(t)
	registry.layer(t, bytes.NewReader(filler))
	remove(t, e, registry.ref())
	var told []Pulling
	check(t, e.pullWatched(t.Context(), registry.ref(), "", PullAlways, func(p Pulling) { told = append(told, p) }))
	if len(told) == 0 || told[len(told)-1].Done < 3<<20 || told[len(told)-1].Done != told[len(told)-1].Total {
		t.Errorf("told: %+v", told)
	}
}

func TestAColorThatStartsTellsOfThePullOfItsImage(t *testing.T) {
	e, _ := docker(t)
	registry := newImages(t)
	remove(t, e, registry.ref())
	file := filepath.Join(t.TempDir(), "docker-compose.yml")
	check(t, os.WriteFile(file, []byte("services: { app: { image: \""+registry.ref()+"\", network_mode: none } }\n"), 0o600))
	var told []Pulling
	src := Source{
		Service: "pulled", File: file, Project: "bg-pulled", Catalog: func(c color.Color) string { return "pulled-" + string(c) },
		Pull: PullAlways, Pulling: func(p Pulling) { told = append(told, p) },
	}
	// Its image has no command, so that nothing comes of it but the pull.
	if _, err := e.Start(t.Context(), src, color.Blue, "20261121-010203-7f3a"); err == nil || !strings.Contains(err.Error(), "command") {
		t.Errorf("%v", err)
	}
	if len(told) == 0 || told[len(told)-1].Image != registry.ref() {
		t.Errorf("told: %+v", told)
	}
}
