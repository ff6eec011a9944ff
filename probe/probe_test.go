package probe

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bg/color"
)

// service is a server whose color and status can be changed.
type service struct {
	*httptest.Server
	color  atomic.Value
	status atomic.Int32
	asked  atomic.Int32
}

func serve(t *testing.T) *service {
	t.Helper()
	s := &service{}
	s.color.Store(color.Blue)
	s.status.Store(http.StatusOK)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" || !r.Close {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.Header().Set("X-BG-Color", string(s.color.Load().(color.Color)))
		w.WriteHeader(int(s.status.Load()))
		s.asked.Add(1)
	}))
	t.Cleanup(s.Close)
	return s
}

// more waits for further answers.
func (s *service) more(t *testing.T) {
	t.Helper()
	from, deadline := s.asked.Load(), time.Now().Add(20*time.Second)
	for s.asked.Load() < from+3 {
		if time.Now().After(deadline) {
			t.Fatal("no further request arrives")
		}
		time.Sleep(time.Millisecond) // the server tells nobody
	}
}

func (s *service) watch(t *testing.T) *Watch {
	t.Helper()
	return Start(t.Context(), Config{URL: s.URL + "/", Path: "/health", Header: "X-BG-Color", Rate: 200}, time.Now())
}

func TestASwitchIsSeenAsAClientSeesIt(t *testing.T) {
	s := serve(t)
	w := s.watch(t)
	w.Step("pretest")
	s.more(t)
	w.Step("switch")
	told := time.Now()
	s.more(t)
	s.color.Store(color.Green)
	s.more(t)
	w.Switched(told, color.Blue, color.Green) // afterwards, as a deployment does
	s.more(t)
	r := w.End()
	if r.Failed != 0 || r.Sent < 12 || len(r.Turns) != 1 {
		t.Fatalf("%+v", r)
	}
	turn := r.Turns[0]
	if turn.FirstNew == nil || turn.LastOld == nil || *turn.LastOld <= 0 || *turn.FirstNew <= *turn.LastOld {
		t.Errorf("the switch: %+v", turn)
	}
	steps := map[string]Phase{}
	for _, p := range r.Steps {
		steps[p.Step] = p
	}
	if p := steps["pretest"]; p.Colors[color.Green] != 0 || p.Colors[color.Blue] < 2 || p.Statuses[200] != p.Sent {
		t.Errorf("pretest: %+v", p)
	}
	if p := steps["switch"]; p.Colors[color.Green] < 3 || p.Colors[color.Blue] < 2 || p.Median <= 0 || p.Median > p.P99 || p.P99 > p.Slowest {
		t.Errorf("switch: %+v", p)
	}
	for _, words := range []string{"0 of ", "first green answer ", "last blue answer ", " after the reload"} {
		if !strings.Contains(r.String(), words) {
			t.Errorf("%q lacks %q", r, words)
		}
	}
}

func TestAnAnswerOf500AndNoAnswerAreFailures(t *testing.T) {
	s := serve(t)
	w := s.watch(t)
	w.Step("posttest")
	s.status.Store(http.StatusBadGateway)
	s.more(t)
	s.Close()
	r := w.End()
	if r.Failed == 0 || r.Failed > r.Sent || !strings.Contains(strings.Join(r.Failures, "\n"), "posttest: 502 Bad Gateway") {
		t.Errorf("%+v", r)
	}
}

func TestARequestThatIsNotAnsweredByTheEndHasFailed(t *testing.T) {
	release, arrived := make(chan struct{}), make(chan struct{}, 1000)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	w := Start(t.Context(), Config{URL: server.URL, Path: "/", Rate: 100}, time.Now())
	<-arrived
	if r := w.End(); r.Sent == 0 || r.Failed != r.Sent || !strings.Contains(r.Failures[0], "no answer by the end") {
		t.Errorf("%+v", r)
	}
}

func TestAPathThatTheServiceDoesNotHaveIsSaid(t *testing.T) {
	s := serve(t)
	s.status.Store(http.StatusNotFound)
	w := s.watch(t)
	s.more(t)
	if r := w.End(); r.Failed != 0 || !strings.Contains(r.String(), "every answer was 404") {
		t.Errorf("%s", r)
	}
}

func TestNothingIsAskedWithoutARateOrAURL(t *testing.T) {
	for _, cfg := range []Config{{URL: "http://127.0.0.1:1"}, {Rate: 20}} {
		w := Start(t.Context(), cfg, time.Now())
		w.Step("start")
		w.Switched(time.Now(), color.Blue, color.Green)
		if r := w.End(); w != nil || r != nil {
			t.Errorf("%+v asks: %+v", cfg, r)
		}
	}
}

// record makes a report of n samples, one each 50 ms.
func record(n int) Report {
	since := time.Date(2026, 11, 21, 1, 2, 3, 0, time.UTC)
	r := newRecorder(Config{Path: "/ping", Rate: 20}, since)
	for i := range n {
		s := sample{sent: since.Add(time.Duration(i) * 50 * time.Millisecond), took: time.Millisecond, step: "drain", color: color.Green, status: 200}
		if i%10 == 9 {
			s.color, s.status, s.err = color.None, 0, errors.New("refused")
		}
		r.add(s)
	}
	return r.result()
}

func TestAReportStaysSmallHoweverLongADeploymentTakes(t *testing.T) {
	r := record(100_000)
	document, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if len(document) > 32<<10 || len(r.Failures) != maxFailures {
		t.Errorf("%d bytes, %d failures", len(document), len(r.Failures))
	}
	sent := 0
	for _, s := range r.Series {
		sent += s.Answers() + s.Failed
		if s.Mean != time.Millisecond {
			t.Fatalf("the mean of %+v", s)
		}
	}
	if sent != 100_000 || r.Sent != sent || r.Failed != 10_000 {
		t.Errorf("%d requests in the series, %d sent, %d failed", sent, r.Sent, r.Failed)
	}
}

func TestAReportIsReadAsItWasWritten(t *testing.T) {
	want := record(57)
	document, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Report
	if err := json.Unmarshal(document, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Phase{})); diff != "" {
		t.Errorf("(-written +read):\n%s", diff)
	}
	if !strings.Contains(string(document), `"0s blue=0 green=5 other=0 failed=0 mean=1ms slowest=1ms"`) {
		t.Errorf("a slot is one line: %s", document)
	}
}

func TestTheReportOfAResumedDeploymentHasBothParts(t *testing.T) {
	first, second := record(2_000), record(3_000)
	second.Started = first.Started.Add(time.Hour)
	both := first.Join(&second)
	if both.Sent != 5_000 || both.Failed != 500 || len(both.Series) > maxSlots || both.Series[len(both.Series)-1].At < time.Hour {
		t.Errorf("%+v", both)
	}
	if none := (*Report)(nil); none.Join(&second) != &second || first.Join(nil).Sent != first.Sent {
		t.Error("a missing part takes nothing away")
	}
}
