package deploy

import (
	"time"

	"bg/color"
)

// Kind says what an Event is about.
type Kind string

// The kinds of events.
const (
	Planned  Kind = "planned"  // Plan is set
	Begin    Kind = "begin"    // a step begins
	Waiting  Kind = "waiting"  // a step waits for Message
	Pulling  Kind = "pulling"  // an image is pulled; Pull is set
	End      Kind = "end"      // a step is done; Message is what was observed
	Fail     Kind = "fail"     // a step failed with Message
	Undoing  Kind = "undoing"  // the undo of a step begins
	Undone   Kind = "undone"   // the undo of a step is done
	Warning  Kind = "warning"  // something that a person should know
	Log      Kind = "log"      // Evidence is set: what is kept of a failure
	Probed   Kind = "probed"   // Message tells what clients saw
	Finished Kind = "finished" // the deployment is over; Deployment is set
)

// Event is one thing that happened in a deployment. Its JSON form is one line
// of the output of -o json.
type Event struct {
	Time       time.Time     `json:"time"`
	Kind       Kind          `json:"event"`
	Step       Verb          `json:"step,omitempty"`
	Color      color.Color   `json:"color,omitempty"`
	Message    string        `json:"message,omitempty"`
	Duration   time.Duration `json:"-"`
	Seconds    float64       `json:"seconds,omitempty"`
	Evidence   *Evidence     `json:"evidence,omitempty"`
	Plan       *Plan         `json:"plan,omitempty"`
	Deployment *Deployment   `json:"deployment,omitempty"`
	Pull       *Pull         `json:"pull,omitempty"`
}

// Pull is how far the pull of an image is, in bytes. Total grows while the layers
// become known.
type Pull struct {
	Image string `json:"image"`
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
}
