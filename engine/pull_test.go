package engine

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/cli/cli/config/types"
	"github.com/docker/docker/api/types/image"

	"bg/hint"
)

// docker returns the Engine of this machine, and what it warned of.
func docker(t *testing.T) (*Engine, *strings.Builder) {
	t.Helper()
	var log strings.Builder
	e, err := Open(t.Context(), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatalf("this test needs Docker: %v", err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e, &log
}

// remove removes an image at the end of the test.
func remove(t *testing.T, e *Engine, ref string) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if _, err := e.docker.ImageRemove(ctx, ref, image.RemoveOptions{Force: true}); err != nil && !gone(err) {
			t.Error(err)
		}
	})
}

// present reports whether the Engine has ref.
func present(t *testing.T, e *Engine, ref string) bool {
	t.Helper()
	_, err := e.docker.ImageInspect(t.Context(), ref)
	if err != nil && !gone(err) {
		t.Fatal(err)
	}
	return err == nil
}

// images is an image registry with one image, which has a layer of one file.
type images struct {
	*httptest.Server
	user, password string // that it asks for, "" for nobody

	mu    sync.Mutex
	asked []string
	blobs map[string][]byte
	index []byte // the manifest of every name and tag
}

func newImages(t *testing.T) *images {
	t.Helper()
	r := &images{blobs: map[string][]byte{}}
	// One that no other run has, so that the Engine does not know its layer.
	r.layer(t, strings.NewReader(strconv.FormatInt(time.Now().UnixNano(), 10)))
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// layer makes content the one file of the image.
func (r *images) layer(t *testing.T, content interface {
	io.Reader
	Len() int
}) {
	t.Helper()
	var plain, zipped bytes.Buffer
	archive := tar.NewWriter(&plain)
	check(t, archive.WriteHeader(&tar.Header{Name: "made", Mode: 0o644, Size: int64(content.Len())}))
	_, err := io.Copy(archive, content)
	check(t, err)
	check(t, archive.Close())
	writer := gzip.NewWriter(&zipped)
	_, err = writer.Write(plain.Bytes())
	check(t, err)
	check(t, writer.Close())

	config := encode(t, map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest(plain.Bytes())}},
	})
	r.index = encode(t, map[string]any{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": r.blob("application/vnd.docker.container.image.v1+json", config),
		"layers": []any{r.blob("application/vnd.docker.image.rootfs.diff.tar.gzip", zipped.Bytes())},
	})
}

const manifestType = "application/vnd.docker.distribution.manifest.v2+json"

func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

func encode(t *testing.T, value any) []byte {
	t.Helper()
	data, err := json.Marshal(value)
	check(t, err)
	return data
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// blob keeps data and returns how a manifest refers to it.
func (r *images) blob(kind string, data []byte) map[string]any {
	r.blobs[digest(data)] = data
	return map[string]any{"mediaType": kind, "size": len(data), "digest": digest(data)}
}

// ref returns the image's name.
func (r *images) ref() string { return r.Listener.Addr().String() + "/bg-pull-test:1" }

// requests returns how often the registry was asked.
func (r *images) requests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.asked)
}

// ServeHTTP is the part of the registry's API that a pull needs.
func (r *images) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	r.asked = append(r.asked, q.URL.Path)
	r.mu.Unlock()
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if user, password, _ := q.BasicAuth(); r.user != "" && (user != r.user || password != r.password) {
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	_, last, _ := strings.Cut(strings.TrimPrefix(q.URL.Path, "/v2/bg-pull-test/"), "/")
	data, kind := r.blobs[last], "application/octet-stream"
	switch {
	case q.URL.Path == "/v2/":
		return
	case strings.HasSuffix(q.URL.Path, "/manifests/1") || last == digest(r.index):
		data, kind = r.index, manifestType
	case data == nil:
		http.NotFound(w, q)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.Header().Set("Docker-Content-Digest", digest(data))
	if q.Method != http.MethodHead {
		_, _ = w.Write(data) // a reader that went away asks again
	}
}

func TestAnImageIsPulledAsThePolicySays(t *testing.T) {
	tests := []struct {
		policy Pull
		asks   int // times that a registry is asked: first, and when the image is there
		again  bool
	}{
		{policy: PullAlways, asks: 1, again: true},
		{policy: PullMissing, asks: 1},
		{policy: PullNever},
	}
	for _, tt := range tests {
		t.Run(string(tt.policy), func(t *testing.T) {
			e, log := docker(t)
			registry := newImages(t)
			remove(t, e, registry.ref())
			err := e.Pull(t.Context(), registry.ref(), "", tt.policy)
			first := registry.requests()
			if (first > 0) != (tt.asks > 0) || present(t, e, registry.ref()) != (tt.asks > 0) {
				t.Fatalf("%d requests: %v", first, err)
			}
			if tt.asks == 0 {
				if err == nil || !strings.Contains(err.Error(), "not on this Engine") || !strings.Contains(hint.Of(err), "compose.pull") {
					t.Errorf("%v (hint: %s)", err, hint.Of(err))
				}
				return
			}
			check(t, err)
			check(t, e.Pull(t.Context(), registry.ref(), "", tt.policy))
			if again := registry.requests() > first; again != tt.again || log.Len() > 0 {
				t.Errorf("asked again: %t; warnings: %s", again, log.String())
			}
		})
	}
}

func TestALocalImageIsUsedWhenItsRegistryDoesNotAnswer(t *testing.T) {
	e, log := docker(t)
	registry := newImages(t)
	remove(t, e, registry.ref())
	check(t, e.Pull(t.Context(), registry.ref(), "", PullAlways))
	registry.Close()
	check(t, e.Pull(t.Context(), registry.ref(), "", PullAlways))
	if !strings.Contains(log.String(), "the local one is used") {
		t.Errorf("warnings: %q", log.String())
	}
}

func TestAnImageThatWasNeverInARegistryIsNotAskedFor(t *testing.T) {
	e, _ := docker(t)
	registry := newImages(t)
	ref := registry.ref()
	remove(t, e, ref)
	// An archive without a file is an image.
	stream, err := e.docker.ImageImport(t.Context(), image.ImportSource{Source: bytes.NewReader(make([]byte, 1024)), SourceName: "-"}, ref, image.ImportOptions{})
	check(t, err)
	_, err = io.Copy(io.Discard, stream)
	check(t, err)
	check(t, stream.Close())
	for _, policy := range []Pull{PullAlways, PullMissing, PullNever} {
		t.Run(string(policy), func(t *testing.T) {
			if err := e.Pull(t.Context(), ref, "", policy); err != nil || registry.requests() > 0 {
				t.Errorf("%d requests, %v", registry.requests(), err)
			}
		})
	}
}

func TestAnImageThatCannotBePulledIsNamedWithAHint(t *testing.T) {
	e, _ := docker(t)
	registry := newImages(t)
	other := strings.TrimSuffix(registry.ref(), ":1") + ":2"
	for _, policy := range []Pull{PullAlways, PullMissing} {
		t.Run(string(policy), func(t *testing.T) {
			err := e.Pull(t.Context(), other, "", policy)
			if err == nil || !strings.HasPrefix(err.Error(), "pull "+other+": ") || hint.Of(err) == "" {
				t.Errorf("%v (hint: %s)", err, hint.Of(err))
			}
		})
	}
}

func TestAPrivateRegistryGetsTheCredentialsOfDockersConfiguration(t *testing.T) {
	e, _ := docker(t)
	registry := newImages(t)
	registry.user, registry.password = "ann", "secret"
	remove(t, e, registry.ref())
	if err := e.Pull(t.Context(), registry.ref(), "", PullAlways); err == nil || strings.Contains(err.Error(), "secret") {
		t.Fatalf("without credentials: %v", err)
	}
	host := registry.Listener.Addr().String()
	e.cli.ConfigFile().AuthConfigs[host] = types.AuthConfig{ServerAddress: host, Username: "ann", Password: "secret"}
	if err := e.Pull(t.Context(), registry.ref(), "", PullAlways); err != nil {
		t.Error(err)
	}
}

func TestAnInterruptEndsAPull(t *testing.T) {
	e, _ := docker(t)
	asked, over := make(chan struct{}), make(chan struct{})
	var once sync.Once
	registry := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		once.Do(func() { close(asked) })
		<-over
	}))
	t.Cleanup(registry.Close)
	t.Cleanup(func() { close(over) })
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	if err := e.Pull(ctx, registry.Listener.Addr().String()+"/bg-pull-test:1", "", PullAlways); ctx.Err() == nil || err == nil {
		t.Errorf("%v", err)
	}
}
