package metrics

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"bg/color"
	"bg/deploy"
)

func deployment() deploy.Deployment {
	started := time.Date(2026, 11, 21, 1, 2, 3, 0, time.UTC)
	ended := started.Add(2500 * time.Millisecond)
	return deploy.Deployment{
		Service: "books-ms", Started: started, Ended: &ended, Outcome: deploy.Failed, Warnings: []string{"a"},
		Steps: []deploy.Record{
			{Step: deploy.Drain, Color: color.Green, Duration: "1s"},
			{Step: deploy.Start, Color: color.Green, Duration: "1.25s"},
			{Step: deploy.Drain, Color: color.Green, Duration: "500ms"},
			{Step: deploy.Switch, Color: color.Green},
		},
		Undo: []deploy.Record{{Step: deploy.Start, Color: color.Green, Duration: "210ms"}},
	}
}

const text = `# HELP bg_deployment_duration_seconds How long the newest deployment took.
# TYPE bg_deployment_duration_seconds gauge
bg_deployment_duration_seconds{service="books-ms"} 2.5
# HELP bg_deployment_end_timestamp_seconds When the newest deployment ended.
# TYPE bg_deployment_end_timestamp_seconds gauge
bg_deployment_end_timestamp_seconds{service="books-ms"} 1.7952229255e+09
# HELP bg_deployment_outcome 1 for the outcome of the newest deployment, 0 for the others.
# TYPE bg_deployment_outcome gauge
bg_deployment_outcome{outcome="done",service="books-ms"} 0
bg_deployment_outcome{outcome="failed",service="books-ms"} 1
bg_deployment_outcome{outcome="interrupted",service="books-ms"} 0
bg_deployment_outcome{outcome="undo failed",service="books-ms"} 0
# HELP bg_deployment_start_timestamp_seconds When the newest deployment began.
# TYPE bg_deployment_start_timestamp_seconds gauge
bg_deployment_start_timestamp_seconds{service="books-ms"} 1.795222923e+09
# HELP bg_deployment_step_duration_seconds How long each step of the newest deployment took.
# TYPE bg_deployment_step_duration_seconds gauge
bg_deployment_step_duration_seconds{color="green",service="books-ms",step="drain"} 1.5
bg_deployment_step_duration_seconds{color="green",service="books-ms",step="start"} 1.25
# HELP bg_deployment_undo_duration_seconds How long each step of the undo took.
# TYPE bg_deployment_undo_duration_seconds gauge
bg_deployment_undo_duration_seconds{color="green",service="books-ms",step="start"} 0.21
# HELP bg_deployment_warnings What the newest deployment left for a person to do.
# TYPE bg_deployment_warnings gauge
bg_deployment_warnings{service="books-ms"} 1
`

func TestTheTextFileHasTheNumbersOfTheNewestDeployment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "books-ms.prom")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(file, deployment()); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	others, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(others) != 1 {
		t.Errorf("beside it: %v, %v", others, err)
	}
	// node_exporter is another user.
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestAFolderThatIsMissingIsAnError(t *testing.T) {
	if err := Write(filepath.Join(t.TempDir(), "none", "a.prom"), deployment()); err == nil || !strings.Contains(err.Error(), "write metrics") {
		t.Errorf("%v", err)
	}
}

func TestAPushReplacesTheNumbersOfTheService(t *testing.T) {
	var path, method string
	names := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		path, method = r.URL.Path, r.Method
		decoder := expfmt.NewDecoder(r.Body, expfmt.ResponseFormat(r.Header))
		for {
			var family dto.MetricFamily
			if err := decoder.Decode(&family); err != nil {
				if err != io.EOF { //nolint:errorlint // the decoder returns it as it is
					t.Error(err)
				}
				return
			}
			names[family.GetName()] = true
		}
	}))
	defer server.Close()
	if err := Push(t.Context(), server.URL, http.DefaultClient, deployment()); err != nil {
		t.Fatal(err)
	}
	if method != http.MethodPut || path != "/metrics/job/bg/service/books-ms" || !names["bg_deployment_outcome"] || !names["bg_deployment_step_duration_seconds"] {
		t.Errorf("%s %s %v", method, path, names)
	}
}

func TestAPushgatewayThatRefusesIsNamed(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	if err := Push(t.Context(), server.URL, http.DefaultClient, deployment()); err == nil || !strings.Contains(err.Error(), server.URL) {
		t.Errorf("%v", err)
	}
}
