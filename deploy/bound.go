package deploy

import (
	"encoding/json"
	"slices"
)

// maxDocument is how long a document may be. Consul takes transactions of 512 KiB
// (txn_max_req_len), in which a document is twice, and in base64 a third longer.
const maxDocument = 180 << 10

// keptWarnings is how many warnings of a document that is too long stay.
const keptWarnings = 10

// shortenings are what a document that is too long goes without, in this order.
// They change d and nothing that it shares. What an undo needs always stays.
var shortenings = []struct {
	what string
	do   func(d *Deployment)
}{
	{"what tests wrote", func(d *Deployment) {
		d.Steps = slices.Clone(d.Steps)
		for i := range d.Steps {
			d.Steps[i].Output = ""
		}
	}},
	{"the course of the requests", func(d *Deployment) {
		if d.Probe != nil {
			short := *d.Probe
			short.Series, d.Probe = nil, &short
		}
	}},
	{"logs of the failure", func(d *Deployment) {
		if d.Evidence != nil {
			short := *d.Evidence
			short.Logs, short.Nginx, d.Evidence = nil, nil, &short
		}
	}},
	{"old warnings", func(d *Deployment) {
		d.Warnings = slices.Clone(d.Warnings[max(0, len(d.Warnings)-keptWarnings):])
	}},
}

// document returns d as it is stored: indented, for the people who read it in
// the Consul UI, and without what would make it too long for Consul.
func (d Deployment) document() ([]byte, error) {
	text, err := json.MarshalIndent(d, "", "  ")
	for _, s := range shortenings {
		if err != nil || len(text) <= maxDocument {
			break
		}
		s.do(&d)
		if !slices.Contains(d.LeftOut, s.what) { // it may have been read back
			d.LeftOut = append(slices.Clip(d.LeftOut), s.what)
		}
		text, err = json.MarshalIndent(d, "", "  ")
	}
	return text, err
}
