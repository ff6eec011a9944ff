package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bg/color"
	"bg/probe"
	"bg/registry"
)

// long returns a document's parts, each of n bytes.
func long(outputs, series, logs, warnings, before int) Deployment {
	d := Deployment{ID: "20260101-000000-0000", From: color.Blue, To: color.Green, Probe: &probe.Report{Sent: 5}, Evidence: &Evidence{Missing: []string{"a"}}}
	for range outputs / maxOutput {
		d.Steps = append(d.Steps, Record{Step: Pretest, Color: color.Green, Observed: "passed", Output: strings.Repeat("o", maxOutput)})
	}
	d.Probe.Series = make([]probe.Slot, series)
	d.Evidence.Logs = []ContainerLog{{Container: "c", Lines: []string{strings.Repeat("l", logs)}}}
	for i := range warnings {
		d.Warnings = append(d.Warnings, fmt.Sprintf("%d: %s", i, strings.Repeat("w", 1<<10)))
	}
	d.Before = &NginxFiles{Upstreams: NginxFile{Path: "/etc/nginx/up.conf", Text: strings.Repeat("b", before)}}
	return d
}

func TestADocumentGoesWithoutWhatIsNotNeededBeforeItIsTooLongForConsul(t *testing.T) {
	const much = 200 << 10
	tests := map[string]struct {
		d    Deployment
		left []string
	}{
		"short":            {long(maxOutput, 9, 9, 9, 9), nil},
		"tests wrote much": {long(much, 9, 9, 9, 9), []string{"what tests wrote"}},
		"many requests":    {long(maxOutput, much, 9, 9, 9), []string{"what tests wrote", "the course of the requests"}},
		"long logs":        {long(maxOutput, 9, much, 9, 9), []string{"what tests wrote", "the course of the requests", "logs of the failure"}},
		"many warnings":    {long(0, 0, 9, 300, 9), []string{"what tests wrote", "the course of the requests", "logs of the failure", "old warnings"}},
		"large nginx files, and all of it": {long(much, much, much, 300, 100<<10),
			[]string{"what tests wrote", "the course of the requests", "logs of the failure", "old warnings"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			before := must(json.Marshal(tt.d))(t)
			text := must(tt.d.document())(t)
			var kept Deployment
			if err := json.Unmarshal(text, &kept); err != nil || len(text) > maxDocument {
				t.Fatalf("%d bytes, %v", len(text), err)
			}
			if diff := cmp.Diff(tt.left, kept.LeftOut); diff != "" {
				t.Errorf("left out (-want +got):\n%s", diff)
			}
			if !cmp.Equal(kept.Before, tt.d.Before) || len(kept.Steps) != len(tt.d.Steps) || kept.Probe.Sent != 5 || len(kept.Evidence.Missing) != 1 {
				t.Error("something that is needed is gone")
			}
			if n := len(kept.Warnings); n > 0 && kept.Warnings[n-1] != tt.d.Warnings[len(tt.d.Warnings)-1] {
				t.Errorf("the newest warning is gone: %.20s", kept.Warnings[n-1])
			}
			if after := must(json.Marshal(tt.d))(t); !slices.Equal(before, after) {
				t.Error("the deployment itself was changed")
			}
		})
	}
}

func TestConsulTakesTheLongestDocumentAndRefusesALongerOneAsSuch(t *testing.T) {
	w, d := newWorld(t, color.Blue)
	_, lock := must2(d.Locker.Acquire(t.Context(), d.Journal.LockKey(w.service), w.request().holder("x"), 0, nil))(t)
	defer d.release(t.Context(), lock)
	if err := d.Journal.Save(t.Context(), lock, w.service, "x", make([]byte, maxDocument)); err != nil {
		t.Error(err)
	}
	err := d.Journal.Save(t.Context(), lock, w.service, "x", make([]byte, 3*maxDocument))
	if err == nil || errors.Is(err, registry.ErrUnreachable) || !strings.Contains(err.Error(), "too large") {
		t.Errorf("%v", err)
	}
}
