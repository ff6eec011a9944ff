package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"bg/internal/jenkins"
)

func TestTheSharedLibraryDeploysInALine(t *testing.T) {
	w := newWorld(t)
	w.deploy("--tag", "1.0")
	w.begin()
	w.ended(w.jenkins("Jenkinsfile.library", nil), "SUCCESS", allStages)
	w.end()
	w.live("green")
}

func TestABuildWhoseTestsFailLeavesNothingBehind(t *testing.T) {
	tests := []struct {
		name, file, from, to string
		stages               []string
	}{
		{"pre tests", "Jenkinsfile", "pre:  [ {", "pre: [ { run: exit 3 }, {", allStages[:3]},
		{"post tests", "Jenkinsfile", "post: [ {", "post: [ { run: exit 3 }, {", allStages[:6]},
		{"post tests in the library", "Jenkinsfile.library", "post: [ {", "post: [ { run: exit 3 }, {", allStages[:6]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.deploy("--tag", "1.0")
			w.file("bg.yml", strings.ReplaceAll(settings, tt.from, tt.to))
			w.begin()
			w.ended(w.jenkins(tt.file, nil), "FAILURE", tt.stages)
			w.end()
			w.live("blue")
			w.nothingLeft()
		})
	}
}

func TestABuildThatIsAbortedLeavesNothingBehind(t *testing.T) {
	tests := []struct {
		name, file string
		change     func(*world) func(*jenkins.Build)
		stages     []string
	}{
		{"by the person who is asked", "Jenkinsfile", func(*world) func(*jenkins.Build) {
			return func(b *jenkins.Build) { b.Reject = true }
		}, allStages[:4]},
		{"by the person who is asked, in the library", "Jenkinsfile.library", func(*world) func(*jenkins.Build) {
			return func(b *jenkins.Build) { b.Reject = true }
		}, allStages[:4]},
		{"while a step runs", "Jenkinsfile", func(w *world) func(*jenkins.Build) {
			w.file("bg.yml", strings.ReplaceAll(settings, "post: [ {", "post: [ { run: touch testing; sleep 600 }, {"))
			return func(b *jenkins.Build) {
				b.AbortStage, b.AbortMarker = "Post tests", filepath.Join(w.dir, "testing")
			}
		}, allStages[:6]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.deploy("--tag", "1.0")
			change := tt.change(w)
			w.begin()
			w.ended(w.jenkins(tt.file, change), "ABORTED", tt.stages)
			w.end()
			w.live("blue")
			w.nothingLeft()
		})
	}
}

func TestABuildDoesNotTouchWhatAnotherOneHasPaused(t *testing.T) {
	w := newWorld(t)
	w.deploy("--tag", "1.0")
	w.deploy("--tag", "2.0", "--until", "pretest")
	before := w.kv("deploy")
	w.ended(w.jenkins("Jenkinsfile", nil), "FAILURE", allStages[:1])
	if after := w.kv("deploy"); after != before {
		t.Errorf("the other deployment was changed:\n%s", after)
	}
	w.code(w.bg("abort", w.service), 0)
	w.nothingLeft()
}
