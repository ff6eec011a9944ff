// Package jenkins runs Jenkinsfiles in tests, without a Jenkins: a small harness in
// Groovy has the words of the pipeline language that the examples use, and runs
// `sh` for real.
package jenkins

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed harness.groovy
var harness []byte

// Build is a Jenkinsfile and what it is run with.
type Build struct {
	File        string            `json:"file"`
	Library     string            `json:"library,omitempty"` // the folder vars of a shared library
	Dir         string            `json:"dir"`               // the workspace
	Params      map[string]any    `json:"params,omitempty"`
	Variables   map[string]string `json:"variables,omitempty"`   // env
	Credentials map[string]string `json:"credentials,omitempty"` // from id to secret
	Reject      bool              `json:"reject,omitempty"`      // the person who is asked says no
	// AbortStage is where somebody aborts the build while a script of it runs, as
	// soon as the file AbortMarker is there.
	AbortStage  string `json:"abortStage,omitempty"`
	AbortMarker string `json:"abortMarker,omitempty"`
}

// Result is what became of a build.
type Result struct {
	Result   string   `json:"result"` // SUCCESS, FAILURE or ABORTED
	Reason   string   `json:"reason"`
	Stages   []string `json:"stages"` // those that ran
	Archived []string `json:"archived"`
	Log      string   `json:"-"`
}

// Run runs the build. Its error says that there was none, such as without Groovy;
// a build that fails is a Result.
func (b Build) Run(ctx context.Context) (Result, error) {
	dir, err := os.MkdirTemp("", "bg-jenkins-")
	if err != nil {
		return Result{}, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a folder of temporary files
	into := filepath.Join(dir, "result.json")
	order, err := json.Marshal(struct {
		Build
		Into string `json:"into"`
	}{b, into})
	if err != nil {
		return Result{}, err
	}
	for name, content := range map[string][]byte{"harness.groovy": harness, "order.json": order} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return Result{}, err
		}
	}
	var log bytes.Buffer
	groovy := exec.CommandContext(ctx, "groovy", filepath.Join(dir, "harness.groovy"), filepath.Join(dir, "order.json"))
	groovy.Stdout, groovy.Stderr = &log, &log
	if err := groovy.Run(); err != nil {
		return Result{Log: log.String()}, fmt.Errorf("run %s by Groovy (make groovy): %w\n%s", b.File, err, log.String())
	}
	result := Result{}
	written, err := os.ReadFile(into)
	if err == nil {
		err = json.Unmarshal(written, &result)
	}
	result.Log = log.String()
	return result, err
}
