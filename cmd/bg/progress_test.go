package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"bg/color"
	"bg/deploy"
	"bg/load"
)

// began is when the deployments of these tests began.
var began = time.Date(2026, 11, 21, 1, 2, 3, 456_000_000, time.UTC)

// after is an event that many milliseconds later.
func after(ms int, e deploy.Event) deploy.Event {
	e.Time = began.Add(time.Duration(ms) * time.Millisecond)
	return e
}

// record is a deployment that ended.
func record(outcome deploy.Outcome) *deploy.Deployment {
	ended := began.Add(3214 * time.Millisecond)
	return &deploy.Deployment{
		ID: "20261121-010203-7f3a", Service: "books-ms", From: color.Blue, To: color.Green, Image: "books-ms:2.0",
		By: deploy.Who{User: "jenkins", Host: "ci-1", PID: 11}, Started: began, Ended: &ended, Outcome: outcome,
		Steps: []deploy.Record{{Step: deploy.Start, Color: color.Green, Started: began, Duration: "204ms", Observed: "started books-ms-app-green-1"}},
	}
}

// story is a deployment that fails after the switch and is undone, with every
// kind of event.
func story() []deploy.Event {
	plan := deploy.Plan{Service: "books-ms", From: color.Blue, To: color.Green, Image: "books-ms:2.0", Steps: []deploy.Step{
		{Verb: deploy.Start, Color: color.Green, Cause: "blue is live, so green is free"},
		{Verb: deploy.Register, Color: color.Green, Cause: "requests may only go to the very containers that were started"},
	}}
	failure := deploy.Evidence{
		Answer: &deploy.Answer{From: "http://localhost:8000/ping", Status: "502 Bad Gateway", Want: "200", Body: "no"},
		Checks: []deploy.FailingCheck{{Of: "books-ms-green at 172.17.0.1:32768", Name: "Service 'books-ms-green' check", Status: "critical", Output: "connection refused"}},
		Nginx:  []string{"2026/11/21 01:02:03 [error] 7#7: *1 connect() failed"},
		Logs:   []deploy.ContainerLog{{Container: "books-ms-app-green-1", Lines: append(slices.Repeat([]string{"a line"}, 30), "the last \x1b[2J line")}},
	}
	return []deploy.Event{
		after(0, deploy.Event{Kind: deploy.Waiting, Message: "another deployment holds books-ms: ann@ci-1"}),
		after(10, deploy.Event{Kind: deploy.Planned, Plan: &plan}),
		after(11, deploy.Event{Kind: deploy.Begin, Step: deploy.Start, Color: color.Green, Message: "blue is live, so green is free"}),
		after(215, deploy.Event{Kind: deploy.End, Step: deploy.Start, Color: color.Green, Message: "started books-ms-app-green-1", Seconds: 0.204}),
		after(216, deploy.Event{Kind: deploy.Waiting, Step: deploy.Register, Color: color.Green, Message: "health of books-ms-app-green-1"}),
		after(900, deploy.Event{Kind: deploy.Fail, Step: deploy.Posttest, Color: color.Green, Message: "exit status 4", Seconds: 0.5}),
		after(901, deploy.Event{Kind: deploy.Log, Evidence: &failure}),
		after(902, deploy.Event{Kind: deploy.Undoing, Step: deploy.Switch, Color: color.Green}),
		after(1000, deploy.Event{Kind: deploy.Undone, Step: deploy.Switch, Color: color.Green, Message: "wrote 2 files", Seconds: 0.098}),
		after(1001, deploy.Event{Kind: deploy.Warning, Message: "old nginx workers are still there"}),
		after(3213, deploy.Event{Kind: deploy.Probed, Message: "0 of 64 probes failed"}),
		after(3214, deploy.Event{Kind: deploy.Finished, Deployment: record(deploy.Failed)}),
	}
}

func TestProgressInAPipeIsAPlainLineForEachEvent(t *testing.T) {
	var out, notes strings.Builder
	r := newReporter(streams{Out: &out, Err: &notes}, "text")
	for _, e := range story() {
		r.report(e)
	}
	fmt.Fprintln(r, "what a test writes")
	r.done()
	if out.Len() > 0 {
		t.Errorf("standard output: %s", out.String())
	}
	if strings.Contains(notes.String(), "\x1b") || strings.Contains(notes.String(), "\r") {
		t.Error("it is drawn for a terminal")
	}
	golden(t, "progress-plain", notes.String())
}

func TestProgressAsJSONIsAnObjectInEachLine(t *testing.T) {
	var out, notes strings.Builder
	r := newReporter(streams{Out: &out, Err: &notes}, "json")
	for _, e := range story() {
		r.report(e)
	}
	fmt.Fprintln(r, "what a test writes")
	r.done()
	if notes.String() != "what a test writes\n" {
		t.Errorf("standard error: %s", notes.String())
	}
	golden(t, "progress-json", out.String())
}

func TestTheVerdictSaysWhichColorServesAndWhatBecameOfTheDeployment(t *testing.T) {
	var text strings.Builder
	for _, outcome := range []deploy.Outcome{deploy.Done, deploy.Failed, deploy.Interrupted, deploy.UndoFailed} {
		fmt.Fprintln(&text, verdict(*record(outcome)))
	}
	golden(t, "verdicts", text.String())
}

func TestADeploymentThatIsDoneLeavesItsVerdictToStandardOutput(t *testing.T) {
	var notes strings.Builder
	newReporter(streams{Out: io.Discard, Err: &notes}, "text").report(after(0, deploy.Event{Kind: deploy.Finished, Deployment: record(deploy.Done)}))
	if notes.Len() > 0 {
		t.Errorf("said: %s", notes.String())
	}
}

func TestTheTailIsTheLastLines(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"more lines", "a\nb\nc\n", "b\nc"},
		{"as many", "a\nb", "a\nb"},
		{"fewer", "a", "a"},
		{"none", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tail(tt.text, 2); got != tt.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestTheDemoEndsWithTablesOfStepsAndRequests(t *testing.T) {
	var out strings.Builder
	demoTables(&out, []*deploy.Deployment{record(deploy.Done)}, []load.Result{
		{Name: "keep-alive", Sent: 10_412, Failed: 0, Slowest: 87 * time.Millisecond, Labels: map[string]int{"blue": 6_000, "green": 4_412}},
		{Name: "slow (700 ms)", Sent: 230, Failed: 1, Slowest: 702_345 * time.Microsecond, Labels: map[string]int{"blue": 100, "green": 129}},
	})
	golden(t, "demo-tables", out.String())
}
