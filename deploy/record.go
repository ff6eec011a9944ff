package deploy

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"bg/color"
)

// Outcome is how a deployment stands.
type Outcome string

// The outcomes. Failed and Interrupted deployments have been undone.
const (
	Running     Outcome = "running"
	Done        Outcome = "done"
	Failed      Outcome = "failed"
	Interrupted Outcome = "interrupted"
	UndoFailed  Outcome = "undo failed"
)

// maxEvidence is how many bytes of a failing container's log are kept.
const maxEvidence = 64 << 10

// maxOutput is how many bytes of the output of a step's tests are kept.
const maxOutput = 16 << 10

// Who says on whose behalf a deployment runs.
type Who struct {
	User  string `json:"user"`
	Host  string `json:"host"`
	PID   int    `json:"pid"`
	Build string `json:"build,omitempty"` // the URL of the CI build
}

// Deployment is the document of one deployment, as it is kept in Consul KV.
type Deployment struct {
	ID       string      `json:"id"`
	Service  string      `json:"service"`
	From     color.Color `json:"from"`
	To       color.Color `json:"to"`
	Image    string      `json:"image"`
	ImageID  string      `json:"image_id,omitempty"`
	Restart  string      `json:"restarted,omitempty"` // the deployment whose containers were started again
	Rollback bool        `json:"rollback,omitempty"`
	By       Who         `json:"by"`
	Config   string      `json:"config,omitempty"` // the folder or file that described the service
	Started  time.Time   `json:"started"`
	Ended    *time.Time  `json:"ended,omitempty"`
	Outcome  Outcome     `json:"outcome"`
	Reason   string      `json:"reason,omitempty"`
	Steps    []Record    `json:"steps"`
	Undo     []Record    `json:"undo,omitempty"`
	Warnings []string    `json:"warnings,omitempty"`
	Evidence string      `json:"evidence,omitempty"` // the end of the new containers' logs, after a failure
}

// Record is one step as it went. A step without an end was begun, and what came
// of it is not known.
type Record struct {
	Step     Verb        `json:"step"`
	Color    color.Color `json:"color"`
	Cause    string      `json:"cause,omitempty"`
	Started  time.Time   `json:"started"`
	Duration string      `json:"duration,omitempty"` // such as 1.204s
	Observed string      `json:"observed,omitempty"`
	Output   string      `json:"output,omitempty"` // the end of what tests wrote
	Error    string      `json:"error,omitempty"`
}

// Origin returns the id of the deployment that created the containers which
// this one made live.
func (d Deployment) Origin() string {
	if d.Restart != "" {
		return d.Restart
	}
	return d.ID
}

// FolderOf returns the folder that the deployment of a stored document was made
// from, "" when there is no document or when that was on another host.
func FolderOf(document []byte, host string) string {
	var d Deployment
	if json.Unmarshal(document, &d) != nil || d.By.Host != host {
		return ""
	}
	return d.Config
}

// document returns d as it is stored: indented, for the people who read it in
// the Consul UI.
func (d Deployment) document() ([]byte, error) { return json.MarshalIndent(d, "", "  ") }

// newID returns an id that sorts by time and is readable in a listing.
func newID(now time.Time) string {
	random := make([]byte, 2)
	_, _ = rand.Read(random) // never fails, says crypto/rand
	return now.UTC().Format("20060102-150405-") + hex.EncodeToString(random)
}

// seconds rounds a duration to what a reader wants to see.
func seconds(d time.Duration) string { return d.Round(time.Millisecond).String() }

// last returns the end of text, at most limit bytes of it.
func last(text string, limit int) string {
	if len(text) > limit {
		text = text[len(text)-limit:]
	}
	return strings.ToValidUTF8(text, "?")
}
