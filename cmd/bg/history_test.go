package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"bg/color"
	"bg/deploy"
	"bg/probe"
)

// remembered are deployments of one service as they went, the newest first.
func remembered(service string) []deploy.Deployment {
	at := time.Date(2026, 11, 21, 1, 2, 3, 0, time.UTC)
	after := func(d time.Duration) *time.Time { t := at.Add(d); return &t }
	who := deploy.Who{User: "jenkins", Host: "ci", PID: 7, Build: "http://ci/job/7"}
	return []deploy.Deployment{
		{
			ID: "20261121-030000-aaaa", Service: service, From: color.Green, To: color.Blue, Image: "sha256:4f1c2b3a4d5e6f708192a3b4c5d6e7f8", By: who,
			Started: at.Add(2 * time.Hour), Outcome: deploy.Running,
			Steps: []deploy.Record{{Step: deploy.Start, Color: color.Blue, Cause: "green is live", Started: at.Add(2 * time.Hour)}},
		},
		{
			ID: "20261121-020000-bbbb", Service: service, From: color.Blue, To: color.Green, Image: "books-ms:2.0", ImageID: "sha256:2222", Digest: "r/books-ms@sha256:dddd",
			By: who, Config: "/srv/books-ms", Started: at.Add(time.Hour), Ended: after(time.Hour + 2345*time.Millisecond), Outcome: deploy.Failed,
			Reason: "pretest: exit status 3\nmore of it", Warnings: []string{"keepalive_min_timeout is not set"},
			Evidence: &deploy.Evidence{Logs: []deploy.ContainerLog{{Container: "books-ms-green", Lines: []string{"a panic"}}}},
			Probe:    &probe.Report{Path: "/ping", Rate: 20, Sent: 412},
			Steps: []deploy.Record{
				{Step: deploy.Start, Color: color.Green, Started: at.Add(time.Hour), Duration: "1.204s", Observed: "started books-ms-green"},
				{Step: deploy.Pretest, Color: color.Green, Started: at.Add(time.Hour + 2*time.Second), Duration: "300ms", Error: "exit status 3", Output: "broken here\n"},
			},
			Undo: []deploy.Record{{Step: deploy.Start, Color: color.Green, Started: at.Add(time.Hour + 3*time.Second), Duration: "150ms", Observed: "removed books-ms-green"}},
		},
		{
			ID: "20261121-010203-cccc", Service: service, From: color.Green, To: color.Blue, Image: "books-ms:1.0", Rollback: true, Restart: "20261121-000000-0000",
			By: who, Started: at, Ended: after(95 * time.Second), Outcome: deploy.Done, WarmUntil: after(10 * time.Minute),
			Steps: []deploy.Record{{Step: deploy.Switch, Color: color.Blue, Started: at, Duration: "170ms", Observed: "4 new workers"}},
		},
	}
}

// recorded puts the remembered deployments into the tests' Consul.
func recorded(t *testing.T) string {
	t.Helper()
	service := "books-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	for _, d := range remembered(service) {
		document, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		put(t, service+"/deploys/"+d.ID, string(document))
	}
	return service
}

func TestHistoryListsDeploymentsTheNewestFirst(t *testing.T) {
	var out strings.Builder
	if err := listDeployments(&out, remembered("books-ms"), time.Date(2026, 11, 21, 3, 2, 13, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	golden(t, "history", out.String())
}

func TestHistoryShowsOneDeploymentWhole(t *testing.T) {
	for i, name := range []string{"running", "failed", "done"} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			if err := showDeployment(&out, remembered("books-ms")[i], time.Date(2026, 11, 21, 3, 2, 13, 0, time.UTC)); err != nil {
				t.Fatal(err)
			}
			golden(t, "history-"+name, out.String())
		})
	}
}

func TestHistoryAnswersFromConsul(t *testing.T) {
	service := recorded(t)
	tests := []struct {
		name, args string
		code       int
		says       string
	}{
		{"a table", service, exitDone, "20261121-020000-bbbb  2026-11-21T02:02:03Z  2.35s"},
		{"only the newest", service + " -n 1", exitDone, "20261121-030000-aaaa"},
		{"one of them by the beginning of its id", service + " 20261121-02", exitDone, "FAILED: exit status 3"},
		{"one of them by the end of its id", service + " bbbb", exitDone, "FAILED: exit status 3"},
		{"one that does not exist", service + " 2019", exitUsage, "no such deployment"},
		{"a beginning that fits several", service + " 20261121", exitUsage, "begin or end with 20261121: 20261121-030000-aaaa, 20261121-020000-bbbb, 20261121-010203-cccc"},
		{"a service that was never deployed", "never-" + service, exitDone, "never deployed"},
		{"no service", "", exitUsage, "history takes the service"},
		{"a format that does not exist", service + " -o xml", exitUsage, "table or json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := command(t, nil, append([]string{"history"}, strings.Fields(tt.args)...)...)
			if got.code != tt.code || !strings.Contains(got.out+got.err, tt.says) {
				t.Errorf("%+v", got)
			}
			if tt.name == "only the newest" && strings.Count(got.out, "\n") != 2 {
				t.Errorf("more than one is listed: %s", got.out)
			}
		})
	}
}

func TestHistoryAsJSONIsWhatConsulHas(t *testing.T) {
	service := recorded(t)
	var list []deploy.Deployment
	if err := json.Unmarshal([]byte(command(t, nil, "history", service, "-o", "json").out), &list); err != nil || len(list) != 3 || list[0].ID != "20261121-030000-aaaa" {
		t.Errorf("%v: %+v", err, list)
	}
	var one deploy.Deployment
	if err := json.Unmarshal([]byte(command(t, nil, "history", service, "20261121-020000-bbbb", "-o", "json").out), &one); err != nil || one.Reason != list[1].Reason {
		t.Errorf("%v: %+v", err, one)
	}
}

func TestADocumentThatIsNoneIsNamed(t *testing.T) {
	service := recorded(t)
	put(t, service+"/deploys/zzz", "not json")
	got := command(t, nil, "history", service)
	if got.code != exitUnexpected || !strings.Contains(got.err, "hint: look at "+service+"/deploys/") {
		t.Errorf("%+v", got)
	}
}
