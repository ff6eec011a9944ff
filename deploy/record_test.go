package deploy

import (
	"encoding/json"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bg/color"
)

// record is a deployment in which everything is set.
func record() Deployment {
	// A zone of its own shows that what is stored is UTC.
	started := time.Date(2026, 11, 21, 1, 2, 3, 456_000_000, time.UTC)
	ended := started.Add(3*time.Second + 210*time.Millisecond)
	return Deployment{
		ID: deployment, Service: "books-ms", From: color.Blue, To: color.Green, Image: "books-ms:2.0", ImageID: "sha256:2222",
		Restart: "20261120-000000-0001", Rollback: true,
		By:      Who{User: "jenkins", Host: "ci-1", PID: 4711, Build: "https://ci.example/job/books-ms/12/"},
		Config:  "/srv/books-ms",
		Started: started, Ended: &ended, Outcome: UndoFailed, Reason: "posttest: exit status 4; and undoing it: switch: nginx refuses",
		Steps: []Record{
			{Step: Start, Color: color.Green, Cause: "its containers were kept", Started: started, Duration: "1.204s", Observed: "started books-ms-green"},
			{Step: Posttest, Color: color.Green, Started: started.Add(2 * time.Second), Duration: "1s", Output: "GET /books: 500\n", Error: "exit status 4"},
		},
		Undo:     []Record{{Step: Switch, Color: color.Green, Started: started.Add(3 * time.Second), Duration: "12ms", Error: "nginx refuses"}},
		Warnings: []string{"the journal could not be finished"},
		Kept:     true, Containers: []string{"0123456789ab"}, Addresses: []string{"10.0.0.1:32002"},
		Resumed: []Resumption{{By: Who{User: "ann", Host: "laptop", PID: 12}, At: started.Add(time.Second)}},
		Paused:  &started, Committed: &ended,
		Before: &NginxFiles{
			Upstreams: NginxFile{Path: "/etc/nginx/upstreams/books-ms.conf", Text: "upstream books-ms { server 10.0.0.1:32001; }\n"},
			Includes:  NginxFile{Path: "/etc/nginx/includes/books-ms.conf", Absent: true},
			Servers:   []string{"10.0.0.1:32001"},
		},
		Evidence: &Evidence{
			Answer: &Answer{From: "http://localhost:8000/books", Status: "500 Internal Server Error", Want: "200", Body: "no database"},
			Checks: []FailingCheck{{Of: "books-ms-green at 172.17.0.1:32768", Name: "Service 'books-ms-green' check", Status: "critical", Output: "connection refused"}},
			Nginx:  []string{"2026/11/21 01:02:03 [error] 7#7: *1 connect() failed"},
			Logs:   []ContainerLog{{Container: "books-ms-green", Lines: []string{"panic: no database"}}},
		},
	}
}

func TestTheRecordIsReadableInTheConsulUI(t *testing.T) {
	document, err := record().document()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "record", string(document)+"\n")
	var back Deployment
	if err := json.Unmarshal(document, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(record(), back); diff != "" {
		t.Errorf("read again (-written +read):\n%s", diff)
	}
}

func TestAShortRecordLeavesOutWhatIsNotKnown(t *testing.T) {
	document, err := Deployment{ID: deployment, Service: "books-ms", To: color.Blue, Outcome: Running, Started: record().Started}.document()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "record-short", string(document)+"\n")
}

func TestIDsSortByTimeAndAreUTC(t *testing.T) {
	moment := time.Date(2026, 11, 21, 3, 2, 3, 0, time.FixedZone("east", 2*60*60))
	id, later := newID(moment, ""), newID(moment.Add(time.Second), "")
	if !regexp.MustCompile(`^20261121-010203-[0-9a-f]{4}$`).MatchString(id) || later <= id {
		t.Errorf("%s, then %s", id, later)
	}
}

func TestAnIDSortsAfterTheNewestOneAlsoWhenTheClockIsBehind(t *testing.T) {
	now := time.Date(2026, 11, 21, 1, 2, 3, 0, time.UTC)
	for _, newest := range []string{newID(now, ""), newID(now.Add(time.Hour), ""), "20301231-235959-ffff"} {
		if id := newID(now, newest); id <= newest {
			t.Errorf("%s is not after %s", id, newest)
		}
	}
	for _, newest := range []string{"", "by hand", "20250101-000000-ffff"} {
		if id := newID(now, newest); id[:15] != "20261121-010203" {
			t.Errorf("%s after %q", id, newest)
		}
	}
}

func TestTheOriginIsTheDeploymentThatCreatedTheContainers(t *testing.T) {
	created, again := Deployment{ID: "1"}, Deployment{ID: "2", Restart: "1"}
	if created.Origin() != "1" || again.Origin() != "1" {
		t.Errorf("%s, %s", created.Origin(), again.Origin())
	}
}
