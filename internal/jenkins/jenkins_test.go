package jenkins

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// build runs a Jenkinsfile of the test in a workspace of its own.
func build(t *testing.T, file string, change func(*Build)) (Result, string) {
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(dir, "Jenkinsfile")
	if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	b := Build{File: name, Dir: dir, Credentials: map[string]string{"token": "secret"}}
	if change != nil {
		change(&b)
	}
	result, err := b.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return result, dir
}

const file = `pipeline {
    agent any
    parameters { string(name: 'TAG', defaultValue: '1.0', description: '') }
    environment { TOKEN = credentials('token') }
    stages {
        stage('One') { steps { sh 'echo "$TOKEN $TAG" > one' } }
        stage('Never') {
            when { expression { params.TAG == '9' } }
            steps { sh 'touch never' }
        }
        stage('Ask') { steps { input message: 'go?' } }
        stage('Two') { steps {
            script { env.SAID = sh(returnStdout: true, script: 'echo hello').trim() }
            sh 'touch started; echo "$SAID" > two; if [ "$TAG" = slow ]; then sleep 600; fi; [ "$TAG" != bad ]'
        } }
    }
    post {
        success { sh 'touch success' }
        aborted { sh 'touch aborted' }
        failure { sh 'touch failure' }
        unsuccessful { sh 'touch unsuccessful' }
        always { sh 'touch always'; archiveArtifacts artifacts: 'two', allowEmptyArchive: true }
    }
}
`

func TestADeclarativePipelineRunsAsInJenkins(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Build)
		result string
		files  string
		stages string
	}{
		{"success", nil, "SUCCESS", "always one started success two", "One Ask Two"},
		{"a script that fails", func(b *Build) { b.Params = map[string]any{"TAG": "bad"} }, "FAILURE", "always failure one started two unsuccessful", "One Ask Two"},
		{"a person who says no", func(b *Build) { b.Reject = true }, "ABORTED", "aborted always one unsuccessful", "One Ask"},
		{"a build that is aborted", func(b *Build) {
			b.Params, b.AbortStage, b.AbortMarker = map[string]any{"TAG": "slow"}, "Two", filepath.Join(b.Dir, "started")
		}, "ABORTED", "aborted always one started two unsuccessful", "One Ask Two"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, dir := build(t, file, tt.change)
			var files []string
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if e.Name() != "Jenkinsfile" {
					files = append(files, e.Name())
				}
			}
			slices.Sort(files)
			if got.Result != tt.result || strings.Join(files, " ") != tt.files || strings.Join(got.Stages, " ") != tt.stages {
				t.Errorf("%s, files %v, stages %v\n%s", got.Result, files, got.Stages, got.Log)
			}
			// Variables and credentials reach the shell.
			if one, err := os.ReadFile(filepath.Join(dir, "one")); err != nil || !strings.HasPrefix(string(one), "secret ") {
				t.Errorf("one: %q, %v", one, err)
			}
		})
	}
}

func TestAFileThatIsNoPipelineIsAFailure(t *testing.T) {
	got, _ := build(t, "pipeline { stages { stage('A') { steps { nonsense 1 } } } }", nil)
	if got.Result != "FAILURE" || !strings.Contains(got.Reason, "nonsense") {
		t.Errorf("%+v", got)
	}
}
