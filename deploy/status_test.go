package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"bg/color"
	"bg/hint"
	"bg/proxy"
	"bg/registry"
)

// at is the moment of the looks of these tests.
var at = time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC)

// standings are services as they may be found, beyond what a repair mends.
var standings = []struct {
	name   string
	change func(*Standing)
}{
	{"as it should be", func(*Standing) {}},
	{"a deployment runs", func(s *Standing) {
		s.Newest = killedIn(Pretest, color.Blue).Deployment
		s.Holder = &registry.Holder{User: "jenkins", Host: "ci-1", PID: 4711, Deployment: killed, Step: "pretest", Since: at.Add(-time.Minute)}
	}},
	{"a deployment is paused", func(s *Standing) {
		s.Newest = killedIn(Pretest, color.Blue).Deployment
		since := at.Add(-48 * time.Hour)
		s.Newest.Outcome, s.Newest.Paused = Paused, &since
	}},
	{"a deployment is paused and exposed", func(s *Standing) {
		s.Newest = killedIn(Pretest, color.Blue).Deployment
		since := at.Add(-48 * time.Hour)
		s.Newest.Steps[len(s.Newest.Steps)-1].Duration = "1s"
		s.Newest.Steps = append(s.Newest.Steps, Record{Step: Expose, Color: color.Green, Duration: "1s"})
		s.Newest.Outcome, s.Newest.Paused, s.Newest.Preview = Paused, &since, "curl -H 'X-BG-Preview: green' http://proxy/ping"
	}},
	{"a deployment was killed", func(s *Standing) { s.Newest = killedIn(Posttest, color.Blue).Deployment }},
	{"a deployment was killed after its commit", func(s *Standing) {
		d := killedIn(Drain, color.Blue)
		s.Newest, s.Recorded, s.Observation = d.Deployment, d.Deployment, d.Observation
	}},
	{"an undo failed", func(s *Standing) {
		s.Newest = killedIn(Posttest, color.Blue).Deployment
		s.Newest.Outcome, s.Newest.Reason = UndoFailed, "switch: nginx is not there"
	}},
	{"a check fails, and old workers are left", func(s *Standing) {
		s.Instances[color.Blue][0].Checks = []registry.Check{{Name: "http", Status: "critical", Output: "503"}}
		s.Proxy.Leaving = []int{17, 18}
	}},
	{"nginx cannot be reached", func(s *Standing) {
		s.Answer = proxy.Answer{URL: "http://proxy"}
		s.Unseen = []Unseen{{Part: "nginx", Why: "nginx cannot be reached", Hint: "docker start nginx"}}
	}},
}

// standing is a service of which everything is as it should be, until changed.
func standing(change func(*Standing)) Standing {
	s := Standing{Damage: damaged(func(*Damage) {}), Now: at}
	s.Recorded.By, s.Recorded.Image = Who{User: "ann", Host: "laptop"}, "books-ms:1.0"
	s.Newest = s.Recorded
	change(&s)
	return s
}

func TestTheStatusSaysHowAServiceStands(t *testing.T) {
	var all strings.Builder
	for _, tt := range standings {
		fmt.Fprintf(&all, "%s\n%s\n", tt.name, MakeStatus("books-ms", standing(tt.change)).Text())
	}
	golden(t, "status", all.String())
}

func TestTheStatusNamesEachDisagreementWithWhatMendsIt(t *testing.T) {
	var all strings.Builder
	for _, tt := range damages {
		status := MakeStatus("books-ms", Standing{Damage: damaged(tt.change), Now: at})
		fmt.Fprintf(&all, "%s: %s\n", tt.name, status.State())
		for _, p := range status.Problems {
			fmt.Fprintf(&all, "  %s -> %s\n", p.What, p.Mend)
			if p.Mend == "" {
				t.Errorf("%s: nothing mends it", tt.name)
			}
		}
	}
	golden(t, "status-problems", all.String())
}

func TestAStatusTellsWhatIsThereWhenAPartDoesNotAnswer(t *testing.T) {
	w, d := deployed(t)
	w.failing("observe nginx", hint.Wrap(proxy.ErrUnreachable, "docker start nginx"))
	w.put("color", "purple")
	status := d.Status(t.Context(), w.service, registry.NewJournal(w.consul, ""))
	if len(status.Unseen) != 2 || status.Unseen[0].Part != "Consul KV" || status.Unseen[1].Part != "nginx" || status.Unseen[1].Hint == "" {
		t.Errorf("unseen: %+v", status.Unseen)
	}
	if len(status.Colors[1].Containers) != 1 || status.State() != "not all seen" {
		t.Errorf("seen: %+v", status)
	}
}

func TestAStatusIsTakenOfRealDocumentsAndLocks(t *testing.T) {
	w, d := deployed(t)
	journal := registry.NewJournal(w.consul, "")
	good := d.Status(t.Context(), w.service, journal)
	if good.State() != "good" || good.Live != color.Green || good.Deployment != w.journal().ID || good.By == nil || good.Since == nil {
		t.Errorf("%s", good.Text())
	}
	w.script["pretest"] = func(ctx context.Context) error {
		running := d.Status(ctx, w.service, journal)
		if running.State() != "running" || running.Holder == nil || running.Holder.Step != "pretest" || len(running.Problems) > 0 {
			return errors.New(running.Text())
		}
		return nil
	}
	if _, err := d.Deploy(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
	dead := w.kill(d, "posttest")
	after := d.Status(t.Context(), w.service, journal)
	if after.State() != "interrupted" || after.Open.ID != dead.ID || len(after.Problems) != 1 || !strings.Contains(after.Problems[0].Mend, "bg abort") {
		t.Errorf("%s", after.Text())
	}
}

func TestFromConsulAloneAStatusSaysWhatItDidNotSee(t *testing.T) {
	w, d := deployed(t)
	status, err := ConsulStatus(t.Context(), d, w.service, registry.NewJournal(w.consul, ""), errScript)
	if err != nil || status.Live != color.Green || len(status.Unseen) != 1 || len(status.Problems) > 0 || len(status.Colors[1].Instances) != 1 {
		t.Errorf("%+v, %v", status, err)
	}
}

func TestTheVersionOfAnImage(t *testing.T) {
	for image, want := range map[string]string{"books-ms:1.0": "1.0", "registry:5000/books-ms": "registry:5000/books-ms", "a/b@sha256:12": "12", "": ""} {
		if got := (Status{Image: image}).Version(); got != want {
			t.Errorf("%q: %q", image, got)
		}
	}
}
