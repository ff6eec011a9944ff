package deploy

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"bg/color"
	"bg/probe"
)

// Outcome is how a deployment stands.
type Outcome string

// The outcomes. Failed, Interrupted and Aborted deployments have been undone.
const (
	Running     Outcome = "running"
	Paused      Outcome = "paused" // it keeps the service until it is resumed or aborted
	Done        Outcome = "done"
	Failed      Outcome = "failed"
	Interrupted Outcome = "interrupted"
	UndoFailed  Outcome = "undo failed"
	Aborted     Outcome = "aborted"
)

// maxOutput is how many bytes of the output of a step's tests are kept.
const maxOutput = 16 << 10

// Who says on whose behalf a deployment runs.
type Who struct {
	User  string `json:"user"`
	Host  string `json:"host"`
	PID   int    `json:"pid"`
	Build string `json:"build,omitempty"` // the URL of the CI build
}

// Resumption says who went on with a deployment that was paused or interrupted.
type Resumption struct {
	By Who       `json:"by"`
	At time.Time `json:"at"`
}

// Deployment is the document of one deployment, as it is kept in Consul KV.
type Deployment struct {
	ID         string       `json:"id"`
	Service    string       `json:"service"`
	From       color.Color  `json:"from"`
	To         color.Color  `json:"to"`
	Image      string       `json:"image"`
	Pin        string       `json:"pin,omitempty"` // the exact image that was asked for, by id or digest
	ImageID    string       `json:"image_id,omitempty"`
	Digest     string       `json:"digest,omitempty"`    // by which a registry has the image, "" when none has
	Restart    string       `json:"restarted,omitempty"` // the deployment whose containers were started again
	Kept       bool         `json:"kept,omitempty"`      // its containers are kept ones, of an earlier deployment
	Warm       bool         `json:"warm,omitempty"`      // they ran when it began
	Containers []string     `json:"containers,omitempty"`
	Addresses  []string     `json:"addresses,omitempty"` // where they were registered last
	Rollback   bool         `json:"rollback,omitempty"`
	By         Who          `json:"by"`
	Resumed    []Resumption `json:"resumed,omitempty"`
	Config     string       `json:"config,omitempty"` // the folder or file that described the service
	Started    time.Time    `json:"started"`
	Paused     *time.Time   `json:"paused,omitempty"`    // since when it is paused
	Committed  *time.Time   `json:"committed,omitempty"` // since when its color is live
	Ended      *time.Time   `json:"ended,omitempty"`
	Outcome    Outcome      `json:"outcome"`
	Left       Verb         `json:"left,omitempty"` // the step after the commit that failed, which a resume takes again
	Reason     string       `json:"reason,omitempty"`
	Steps      []Record     `json:"steps"`
	Undo       []Record     `json:"undo,omitempty"`
	Warnings   []string     `json:"warnings,omitempty"`
	// LeftOut names what the stored document goes without, to fit into Consul.
	LeftOut []string `json:"left_out,omitempty"`
	// WarmUntil says until when the containers of From are left running, out of
	// nginx, so that a rollback is only a switch.
	WarmUntil *time.Time `json:"warm_until,omitempty"`
	// Evidence is what was there when it failed, nil when it did not.
	Evidence *Evidence `json:"evidence,omitempty"`
	// Probe is what a client saw all the while, nil when nothing was asked.
	Probe *probe.Report `json:"probe,omitempty"`
	// Preview is the command that reaches the color that is held through nginx, ""
	// when nothing does.
	Preview string `json:"preview,omitempty"`
	// Before is what nginx's files were before the switch. It is written before
	// they are changed, so that any process on any host can undo that.
	Before *NginxFiles `json:"nginx_before,omitempty"`
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

// Live reports whether the deployment's color has become the live one.
func (d Deployment) Live() bool { return d.Committed != nil || d.Outcome == Done }

// Open reports whether something of the deployment is left to finish or to undo.
func (d Deployment) Open() bool {
	switch d.Outcome {
	case Running, Paused, UndoFailed:
		return true
	case Done:
		return d.Ended == nil || d.Left != "" // killed, or failed, between the commit and the end
	default:
		return false
	}
}

// last returns the last record of verb on color c, nil when it was never begun:
// of a step that was taken again, that one counts.
func (d Deployment) last(verb Verb, c color.Color) *Record {
	for i := len(d.Steps) - 1; i >= 0; i-- {
		if d.Steps[i].Step == verb && d.Steps[i].Color == c {
			return &d.Steps[i]
		}
	}
	return nil
}

// begun reports whether a step on the new color was begun.
func (d Deployment) begun(verb Verb) bool { return d.last(verb, d.To) != nil }

// switching reports whether a switch was begun, to the new color, of all requests
// or of those that ask for it, or, when nginx had to leave that first, to the old
// one. Nobody knows what nginx reads then.
func (d Deployment) switching() bool {
	return d.begun(Switch) || d.begun(Expose) || d.last(Switch, d.From) != nil
}

// did reports whether a step on the new color is known to be done.
func (d Deployment) did(verb Verb) bool {
	r := d.last(verb, d.To)
	return r != nil && r.Duration != "" && r.Error == ""
}

// At returns the step that the deployment is in, was ended in, or is paused after,
// "" before the first one.
func (d Deployment) At() Verb {
	if len(d.Steps) == 0 {
		return ""
	}
	last := d.Steps[len(d.Steps)-1].Step
	if last == Expose && d.Outcome == Paused {
		return d.done() // what was paused after, and then exposed
	}
	return last
}

// doing says in a word or two what is being done.
func (d Deployment) doing() string {
	if n := len(d.Undo); n > 0 {
		return "undo " + string(d.Undo[n-1].Step)
	}
	return string(d.At())
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

// idTime is the part of an id that says when, in Go's notation.
const idTime = "20060102-150405"

// newID returns an id that sorts by time, and after newest also when the clock
// is behind that of whoever made newest: the oldest documents are deleted, and
// the newest must not be one of them.
func newID(now time.Time, newest string) string {
	if len(newest) >= len(idTime) {
		if before, err := time.Parse(idTime, newest[:len(idTime)]); err == nil && !now.Truncate(time.Second).After(before) {
			now = before.Add(time.Second)
		}
	}
	random := make([]byte, 2)
	_, _ = rand.Read(random) // never fails, says crypto/rand
	return now.UTC().Format(idTime+"-") + hex.EncodeToString(random)
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
