package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestHelpShowsExamplesAndEveryFlag(t *testing.T) {
	tests := []struct{ name, args string }{
		{"help", "--help"},
		{"help-deploy", "deploy --help"},
		{"help-next-color", "next-color --help"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := command(t, nil, strings.Fields(tt.args)...)
			if got.code != exitDone || got.err != "" {
				t.Errorf("code %d: %s", got.code, got.err)
			}
			golden(t, tt.name, got.out)
		})
	}
}

func TestHelpIsTheSameHoweverItIsAskedFor(t *testing.T) {
	want := command(t, nil, "deploy", "--help").out
	for _, args := range []string{"deploy -h", "help deploy", "deploy books-ms --help"} {
		t.Run(args, func(t *testing.T) {
			if got := command(t, nil, strings.Fields(args)...); got.out != want || got.code != exitDone {
				t.Errorf("code %d: %s%s", got.code, got.out, got.err)
			}
		})
	}
	if command(t, nil).out != command(t, nil, "--help").out {
		t.Error("without a command there is another text")
	}
}

func TestEveryCommandHasAUsageAndAnExample(t *testing.T) {
	for _, c := range newApp(streams{}).Commands {
		t.Run(c.Name, func(t *testing.T) {
			if c.Usage == "" {
				t.Error("no usage")
			}
			described := c.Description
			for _, below := range c.Subcommands {
				described += below.Description
			}
			if c.Name != "version" && !strings.Contains(described, "bg "+c.Name) {
				t.Errorf("no example: %s", described)
			}
		})
	}
}

func TestEachShellGetsACompletionScript(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			got := command(t, nil, "completion", shell)
			if got.code != exitDone || !strings.Contains(got.out, "bg") || got.err != "" {
				t.Fatalf("%+v", got)
			}
			if shell != "bash" {
				return
			}
			check := exec.CommandContext(t.Context(), "bash", "-n")
			check.Stdin = strings.NewReader(got.out)
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("bash does not take it: %v: %s", err, out)
			}
		})
	}
}

func TestCompletionKnowsCommandsAndFlags(t *testing.T) {
	tests := []struct{ name, args, want string }{
		{"commands", "", "next-color"},
		{"flags", "deploy --t", "--tag"},
		{"commands below a command", "stack", "down"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := command(t, nil, append(strings.Fields(tt.args), "--generate-bash-completion")...)
			if !strings.Contains(got.out, tt.want) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestTheBashScriptCompletesACommand(t *testing.T) {
	script := command(t, nil, "completion", "bash").out
	// In the place of bg stands what urfave/cli answers.
	line := `bg() { printf '%s\n' deploy rollback next-color; }
COMP_WORDS=(bg de) COMP_CWORD=1; _bg; printf '%s\n' "${COMPREPLY[@]}"`
	out, err := exec.CommandContext(t.Context(), "bash", "-c", script+line).CombinedOutput()
	if err != nil || string(out) != "deploy\n" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestAShellCallsTheProgramByItsNameAndKeepsItsBuiltin(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bg"), []byte("#!/bin/sh\necho program \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := command(t, nil, "completion", "bash").out + "bg deploy books-ms\nbg %1 || bg\n"
	bash := exec.CommandContext(t.Context(), "bash", "-c", script)
	bash.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, _ := bash.CombinedOutput() // the builtin fails: there is no job
	if got := string(out); !strings.HasPrefix(got, "program deploy books-ms\n") || strings.Count(got, "program") != 1 || strings.Count(got, "bg: ") != 2 {
		t.Errorf("bash said:\n%s", got)
	}
}
