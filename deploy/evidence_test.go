package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bg/color"
	"bg/integration"
)

// answering is a test of a service that answers something else than it should.
type answering struct{}

func (answering) Name() string { return "GET /books" }

func (answering) Run(context.Context, integration.Target, io.Writer) error {
	return &integration.AnswerError{URL: "http://proxy.invalid/books", Status: "500 Internal Server Error", Want: "200 to 299", Body: "no database"}
}

func TestAFailureKeepsWhatWasThereBeforeItIsUndone(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	d.Settings.Post = []integration.Test{answering{}}
	var kept *Evidence
	w.script["restore blue"] = func(context.Context) error {
		kept = w.journal().Evidence //nolint:contextcheck // it is in Consul before anything is undone, and read by the test
		return nil
	}
	_, err := d.Deploy(t.Context(), w.request())
	if err == nil {
		t.Fatal("the deployment did not fail")
	}
	want := &Evidence{
		Answer: &Answer{From: "http://proxy.invalid/books", Status: "500 Internal Server Error", Want: "200 to 299", Body: "no database"},
		Nginx:  []string{"2026/11/21 01:02:03 [error] 7#7: *1 connect() failed"},
		Logs:   []ContainerLog{{Container: w.service + "-green", Lines: []string{"a line"}}},
	}
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Errorf("before the undo (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, w.journal().Evidence); diff != "" {
		t.Errorf("at the end (-want +got):\n%s", diff)
	}
	if !slices.ContainsFunc(w.events, func(e Event) bool { return e.Kind == Log && cmp.Equal(e.Evidence, want, cmpopts.EquateEmpty()) }) {
		t.Errorf("nobody is told: %+v", w.events)
	}
}

func TestAnInstanceThatIsNeverReadyLeavesItsAnswerAsEvidence(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	d.Engine.(*scriptedEngine).answer = http.NotFoundHandler()
	d.Settings.Health.Timeout = time.Second
	if _, err := d.Deploy(t.Context(), w.request()); err == nil {
		t.Fatal("the deployment did not fail")
	}
	answer := w.journal().Evidence.Answer
	if answer == nil || answer.Status != "404 Not Found" || answer.Want != "200 to 399" || answer.Body != "404 page not found" || !strings.HasSuffix(answer.From, "/ping") {
		t.Errorf("%+v", answer)
	}
}

func TestEvidenceThatCannotBeReadIsSaidAndNothingElseIsLost(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	w.failing("posttest", errScript)
	w.failing("read nginx's log", errScript)
	if _, err := d.Deploy(t.Context(), w.request()); err == nil {
		t.Fatal("the deployment did not fail")
	}
	e := w.journal().Evidence
	if len(e.Logs) != 1 || e.Answer != nil || !slices.Equal(e.Missing, []string{"nginx's log: " + errScript.Error()}) {
		t.Errorf("%+v", e)
	}
	w.serving(d, color.Blue)
}

// repeated returns n different lines.
func repeated(n int, text string) []string {
	list := make([]string, 0, n)
	for i := range n {
		list = append(list, fmt.Sprintf("%d %s", i, text))
	}
	return list
}

func TestEvidenceTakesAtMost64KiBOfTheDocumentAndKeepsTheNewestLines(t *testing.T) {
	steering := strings.Repeat("\x1b<&>", 50) // a byte of it takes six in JSON
	for name, e := range map[string]Evidence{
		"long logs":      {Logs: []ContainerLog{{"a", repeated(200, strings.Repeat("x", 2000))}, {"b", repeated(200, steering)}, {"c", repeated(3, "short")}}},
		"everything":     {Nginx: repeated(500, steering), Missing: repeated(500, steering), Logs: []ContainerLog{{"a", repeated(200, steering)}}, Checks: slices.Repeat([]FailingCheck{{Output: steering + steering}}, 100)},
		"one long line":  {Logs: []ContainerLog{{"a", []string{strings.Repeat("\x01", 1<<20) + "the end"}}}},
		"many instances": {Logs: slices.Repeat([]ContainerLog{{"a", repeated(200, "some line")}}, 50)},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range e.Logs {
				e.Logs[i].Lines = slices.Clone(e.Logs[i].Lines)
			}
			newest := e.Logs[0].Lines[len(e.Logs[0].Lines)-1]
			document, err := Deployment{Evidence: ptr(e.cut())}.document()
			if err != nil {
				t.Fatal(err)
			}
			without, err := Deployment{}.document()
			if err != nil {
				t.Fatal(err)
			}
			if taken := len(document) - len(without); taken > maxEvidence {
				t.Errorf("it takes %d bytes", taken)
			}
			kept := e.cut().Logs[0].Lines
			if last := kept[len(kept)-1]; !strings.HasSuffix(newest, last) || last == "" {
				t.Errorf("the newest line is lost: %.50q", last)
			}
		})
	}
	few := Evidence{Nginx: repeated(3, "a"), Logs: []ContainerLog{{"a", repeated(200, "a usual line of a log")}}}
	if diff := cmp.Diff(few, few.cut()); diff != "" {
		t.Errorf("what has room was cut: %s", diff)
	}
}

func TestTheTextOfEvidenceCannotSteerATerminal(t *testing.T) {
	text := Evidence{Answer: &Answer{Body: "\x1b[2J"}, Logs: []ContainerLog{{"a", append(repeated(30, "line"), "\x1b]0;title\a\tend")}}}.Text()
	if strings.ContainsAny(text, "\x1b\a") || !strings.Contains(text, "a, the last 20 of 31 lines:\n") || strings.Contains(text, "  5 line") || !strings.Contains(text, "\tend") {
		t.Errorf("%q", text)
	}
}

func TestTheEvidenceOfEarlierVersionsIsStillRead(t *testing.T) {
	var d Deployment
	if err := json.Unmarshal([]byte(`{"evidence": "books-ms-green:\npanic\n"}`), &d); err != nil {
		t.Fatal(err)
	}
	want := &Evidence{Logs: []ContainerLog{{Lines: []string{"books-ms-green:", "panic"}}}}
	if diff := cmp.Diff(want, d.Evidence); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func ptr[T any](v T) *T { return &v }
