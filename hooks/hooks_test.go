package hooks

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bg/color"
	"bg/deploy"
	"bg/integration"
)

// step is the switch of deployment.
var step = deploy.Step{Verb: deploy.Switch, Color: color.Green}

func deployment(outcome deploy.Outcome) deploy.Deployment {
	return deploy.Deployment{
		ID: "20261121-010203-7f3a", Service: "books-ms", From: color.Blue, To: color.Green, Image: "books-ms:2.0",
		By: deploy.Who{User: "jenkins", Host: "ci-1", Build: "https://ci.example/42"}, Outcome: outcome,
	}
}

// sh is a hook that runs a text of the shell.
func sh(text string, on ...string) Hook {
	return Hook{On: on, Timeout: time.Minute, Action: Command{integration.Command{Args: []string{"sh", "-c", text}, Grace: time.Second}}}
}

func TestAHookIsCalledOnItsMomentsOnly(t *testing.T) {
	var out strings.Builder
	h := &Hooks{Output: &out, List: []Hook{
		sh("echo one $BG_HOOK", "before switch", "failed"),
		sh("echo each $BG_HOOK", "before"),
		sh("echo end $BG_HOOK", "end"),
		sh("echo never $BG_HOOK", "after switch", "done"),
	}}
	for _, at := range []deploy.Verb{deploy.Switch, deploy.Commit} {
		if ignored, err := h.Step(t.Context(), deploy.Before, deploy.Step{Verb: at}, deployment(deploy.Running)); err != nil || len(ignored) > 0 {
			t.Fatal(ignored, err)
		}
	}
	if failed := h.End(t.Context(), deployment(deploy.Failed)); len(failed) > 0 {
		t.Fatal(failed)
	}
	want := "one before switch\neach before switch\neach before commit\none failed\nend failed\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestACommandLearnsOfTheDeploymentByVariables(t *testing.T) {
	var out strings.Builder
	h := &Hooks{Output: &out, List: []Hook{sh(`echo "$BG_HOOK|$BG_STEP|$BG_SERVICE|$BG_DEPLOY|$BG_FROM|$BG_TO|$BG_COLOR|$BG_IMAGE|$BG_OUTCOME|$BG_REASON"`, "after", "end")}}
	if _, err := h.Step(t.Context(), deploy.After, deploy.Step{Verb: deploy.Stop, Color: color.Blue}, deployment(deploy.Running)); err != nil {
		t.Fatal(err)
	}
	failed := deployment(deploy.Failed)
	failed.Reason = "posttest: no"
	h.End(t.Context(), failed)
	want := "after stop|stop|books-ms|20261121-010203-7f3a|blue|green|blue|books-ms:2.0|running|\n" +
		"failed||books-ms|20261121-010203-7f3a|blue|green|green|books-ms:2.0|failed|posttest: no\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOnlyARequiredHookFailsTheStepAndEndsTheHooksOfIt(t *testing.T) {
	var out strings.Builder
	required := sh("exit 3", "before")
	required.Required = true
	h := &Hooks{Output: &out, List: []Hook{sh("exit 2", "before"), required, sh("echo too far", "before")}}
	ignored, err := h.Step(t.Context(), deploy.Before, step, deployment(deploy.Running))
	if len(ignored) != 1 || !strings.Contains(ignored[0].Error(), "exit status 2") {
		t.Errorf("ignored: %v", ignored)
	}
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || out.Len() > 0 {
		t.Errorf("%v, written: %s", err, out.String())
	}
}

func TestEachHookOfTheEndIsCalledWhateverTheOthersDo(t *testing.T) {
	var out strings.Builder
	h := &Hooks{Output: &out, List: []Hook{sh("exit 2", "end"), sh("echo here", "end")}}
	if failed := h.End(t.Context(), deployment(deploy.Done)); len(failed) != 1 || out.String() != "here\n" {
		t.Errorf("%v, written: %s", failed, out.String())
	}
}

func TestAHookThatTakesTooLongIsEnded(t *testing.T) {
	slow := sh("sleep 600", "before")
	slow.Timeout, slow.Required = 50*time.Millisecond, true
	h := &Hooks{Output: io.Discard, List: []Hook{slow}}
	if _, err := h.Step(t.Context(), deploy.Before, step, deployment(deploy.Running)); err == nil || !strings.Contains(err.Error(), "not done after 50ms") {
		t.Errorf("%v", err)
	}
}

func TestAnInterruptEndsAHookAndFailsTheStep(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(deploy.ErrInterrupted)
	h := &Hooks{Output: io.Discard, List: []Hook{sh("sleep 600", "before")}}
	if _, err := h.Step(ctx, deploy.Before, step, deployment(deploy.Running)); err == nil {
		t.Error("the deployment goes on")
	}
}

// posted is what a server got.
type posted struct {
	header http.Header
	body   string
}

// receiver is a server that answers with status and hands on what it got.
func receiver(t *testing.T, status int) (string, chan posted) {
	t.Helper()
	got := make(chan posted, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost {
			t.Errorf("%s: %v", r.Method, err)
		}
		got <- posted{r.Header, string(body)}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "no_service") // the client may be gone
	}))
	t.Cleanup(server.Close)
	return server.URL + "/services/SECRET", got
}

func TestAWebhookPostsATextThatSlackTakes(t *testing.T) {
	url, got := receiver(t, http.StatusOK)
	d := deployment(deploy.Failed)
	d.Reason = `posttest: "<b>" & more`
	err := Webhook{URL: url, Client: http.DefaultClient}.Run(t.Context(), Call{Moment: "failed", Deployment: d}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	request := <-got
	var body map[string]string
	if err := json.Unmarshal([]byte(request.body), &body); err != nil || request.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%v: %+v", err, request)
	}
	want := map[string]string{"text": "books-ms stays blue: books-ms:2.0 failed and was undone (deployment 20261121-010203-7f3a by jenkins@ci-1)\n" +
		"posttest: \"&lt;b&gt;\" &amp; more\nhttps://ci.example/42"}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAWebhookForPeopleSaysWhatHappens(t *testing.T) {
	tests := []struct {
		call Call
		want string
	}{
		{Call{Moment: "before switch", Step: step, Deployment: deployment(deploy.Running)}, "books-ms: before switch of green, books-ms:2.0 (deployment"},
		{Call{Moment: "done", Deployment: deployment(deploy.Done)}, "books-ms is green now: books-ms:2.0 (deployment"},
		{Call{Moment: "undo failed", Deployment: deployment(deploy.UndoFailed)}, "books-ms needs somebody to look"},
		{Call{Moment: "interrupted", Deployment: deployment(deploy.Interrupted)}, "books-ms stays blue: books-ms:2.0 interrupted and was undone"},
		{Call{Moment: "paused", Deployment: deployment("paused")}, "books-ms: books-ms:2.0 is paused"},
	}
	for _, tt := range tests {
		t.Run(tt.call.Moment, func(t *testing.T) {
			if got := tt.call.Text(); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestAWebhookCanPostTheWholeCallWithHeaders(t *testing.T) {
	url, got := receiver(t, http.StatusNoContent)
	w := Webhook{URL: url, JSON: true, Header: http.Header{"X-Token": {"a"}}, Client: http.DefaultClient}
	if err := w.Run(t.Context(), Call{Moment: "before switch", Step: step, Deployment: deployment(deploy.Running)}, io.Discard); err != nil {
		t.Fatal(err)
	}
	request := <-got
	var body struct {
		Moment, Step, Color string
		Deployment          deploy.Deployment
	}
	if err := json.Unmarshal([]byte(request.body), &body); err != nil || request.header.Get("X-Token") != "a" {
		t.Fatalf("%v: %+v", err, request)
	}
	if body.Moment != "before switch" || body.Step != "switch" || body.Color != "green" || body.Deployment.ID != deployment("").ID {
		t.Errorf("%+v", body)
	}
}

func TestAWebhookThatFailsDoesNotShowItsAddress(t *testing.T) {
	refused, got := receiver(t, http.StatusNotFound)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for name, url := range map[string]string{"refused": refused, "nobody there": gone.URL + "/services/SECRET"} {
		t.Run(name, func(t *testing.T) {
			hook := Hook{On: []string{"end"}, Timeout: time.Minute, Action: Webhook{URL: url, Client: http.DefaultClient}}
			err := errors.Join((&Hooks{List: []Hook{hook}}).End(t.Context(), deployment(deploy.Done))...)
			if err == nil || strings.Contains(err.Error(), "SECRET") || !strings.Contains(err.Error(), "webhook at 127.0.0.1") {
				t.Errorf("%v", err)
			}
		})
	}
	if request := <-got; request.body == "" {
		t.Error("nothing was posted")
	}
}
