package proxy

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// reloadedNginx is an nginx that somebody else told to reload: old is a worker of
// before, which goes on accepting until its title was read often enough.
type reloadedNginx struct {
	slowNginx
	looks int
	old   func(looks int) string // the title of the old worker, "" for none
}

func (r *reloadedNginx) Processes(context.Context) ([]string, error) {
	r.looks++
	list := []string{"1 0 " + masterTitle}
	if title := r.old(r.looks); title != "" {
		list = append(list, "10 1 "+title)
	}
	if r.reloads > 0 {
		return append(list, "11 1 "+leavingTitle, "12 1 "+workerTitle), nil
	}
	return append(list, "11 1 "+workerTitle), nil
}

func (r *reloadedNginx) Run(context.Context, []string, []byte) (stdout, stderr []byte, err error) {
	return []byte("# configuration file /etc/nginx/nginx.conf:\n# configuration file /up:\n"), nil, nil
}

func TestAnswersCountOnlyWhenNoReloadIsUnderWay(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		old      func(looks int) string
		reloaded bool
		waits    []int // the workers that a drain waits for
	}{
		"all is quiet":             {func(int) string { return "" }, false, nil},
		"an old worker is leaving": {func(int) string { return leavingTitle }, false, []int{10}},
		"an old worker accepts still": {func(looks int) string {
			if looks == 1 {
				return workerTitle
			}
			return leavingTitle
		}, true, []int{10, 11}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answers := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Color", "blue") }))
			t.Cleanup(answers.Close)
			host := &reloadedNginx{slowNginx: slowNginx{file: "blue"}, old: tt.old}
			n := New(Config{Service: "books-ms", Upstreams: Managed{Path: "/up"}, URL: answers.URL, ProbeHeader: "X-Color", ReloadTimeout: 9 * time.Second}, host, CatalogConfig{}, slog.New(slog.DiscardHandler))
			change, err := n.Apply(t.Context(), Files{Color: "blue", Upstreams: File{Path: "/up", Data: []byte("blue")}})
			if err != nil {
				t.Fatal(err)
			}
			if change.Reloaded != tt.reloaded || host.reloads > 0 != tt.reloaded || !slices.Equal(change.OldWorkers, tt.waits) {
				t.Errorf("reloaded: %t, waits for %v; %s", change.Reloaded, change.OldWorkers, strings.TrimSpace(change.String()))
			}
		})
	}
}
