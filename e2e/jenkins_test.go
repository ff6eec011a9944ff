package e2e

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bg/internal/jenkins"
)

// allStages are the stages of a build that goes to its end.
var allStages = []string{"Start", "Register", "Pre tests", "Approval", "Switch", "Post tests", "Commit"}

// jenkins runs one of the example's pipelines for this world's service, with bg in
// the path as a Jenkins agent has it.
func (w *world) jenkins(file string, change func(*jenkins.Build)) jenkins.Result {
	w.Helper()
	content := strings.ReplaceAll(string(must(os.ReadFile(filepath.Join(root, "examples/jenkins", file)))), "books-ms", w.service)
	// Not by w.file, which has meanings for words in capitals.
	if err := os.WriteFile(filepath.Join(w.dir, "Jenkinsfile"), []byte(content), 0o600); err != nil {
		w.Fatal(err)
	}
	b := jenkins.Build{
		File: filepath.Join(w.dir, "Jenkinsfile"), Library: filepath.Join(root, "examples/jenkins/vars"), Dir: w.dir,
		Params:      map[string]any{"TAG": "2.0", "IMAGE": stack.Name + ":2.0", "APPROVE": true},
		Variables:   map[string]string{"PATH": filepath.Dir(bg) + ":" + os.Getenv("PATH"), "CONSUL_HTTP_ADDR": stack.Consul, "BUILD_URL": "https://jenkins.example/job/books/42/"},
		Credentials: map[string]string{"consul-token": ""}, // this stack's Consul has no ACLs
	}
	if change != nil {
		change(&b)
	}
	ctx, cancel := context.WithTimeout(w.Context(), 5*time.Minute)
	defer cancel()
	result, err := b.Run(ctx)
	if err != nil {
		w.Fatal(err)
	}
	return result
}

// ended compares what became of a build.
func (w *world) ended(r jenkins.Result, result string, stages []string) {
	w.Helper()
	if r.Result != result || !slices.Equal(r.Stages, stages) {
		w.Errorf("%s after %v instead of %s after %v\n%s", r.Result, r.Stages, result, stages, r.Log)
	}
}

func TestTheJenkinsfileDeploysWithAStageForEachStep(t *testing.T) {
	w := newWorld(t)
	w.deploy("--tag", "1.0")
	w.begin()
	r := w.jenkins("Jenkinsfile", nil)
	w.end()
	w.ended(r, "SUCCESS", allStages)
	w.live("green")
	if document := w.kv("deploy"); !strings.Contains(document, "https://jenkins.example/job/books/42/") || !strings.Contains(document, `"outcome": "done"`) {
		t.Errorf("the document:\n%s", document)
	}
	if page, err := os.ReadFile(filepath.Join(w.dir, "report.html")); err != nil || !strings.Contains(string(page), "posttest") || !slices.Contains(r.Archived, "report.html") {
		t.Errorf("the report: %v, archived %v", err, r.Archived)
	}
}
