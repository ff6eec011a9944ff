package main

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFlagsMayFollowTheService(t *testing.T) {
	tests := []struct{ name, args, want string }{
		{"before it", "bg deploy --tag 1.4 books-ms", "bg deploy --tag 1.4 books-ms"},
		{"after it", "bg deploy books-ms --tag 1.4", "bg deploy --tag 1.4 books-ms"},
		{"on both sides", "bg deploy --tag 1.4 books-ms --dry-run --replicas 3", "bg deploy --tag 1.4 --dry-run --replicas 3 books-ms"},
		{"with an equals sign", "bg deploy books-ms --tag=1.4 -o=json", "bg deploy --tag=1.4 -o=json books-ms"},
		{"a short name", "bg deploy books-ms -o json -f x.yml", "bg deploy -o json -f x.yml books-ms"},
		{"with one dash", "bg deploy books-ms -tag 1.4", "bg deploy -tag 1.4 books-ms"},
		{"one that takes no value", "bg deploy --dry-run books-ms", "bg deploy --dry-run books-ms"},
		{"a value that looks like a flag", "bg deploy books-ms --tag --dry-run", "bg deploy --tag --dry-run books-ms"},
		{"one without its value", "bg deploy books-ms --tag", "bg deploy --tag books-ms"},
		{"one that does not exist", "bg deploy books-ms --tga 1.4", "bg deploy --tga books-ms 1.4"},
		{"help", "bg deploy books-ms --tag 1.4 --help", "bg deploy --help"},
		{"help in short", "bg deploy books-ms -h", "bg deploy --help"},
		{"a value that asks for help", "bg deploy books-ms --tag --help", "bg deploy --tag --help books-ms"},
		{"two arguments", "bg deploy books-ms other --tag 1.4", "bg deploy --tag 1.4 books-ms other"},
		{"a dash is an argument", "bg deploy - --tag 1.4", "bg deploy --tag 1.4 -"},
		{"what follows two dashes stays", "bg deploy books-ms --tag 1.4 -- --dry-run", "bg deploy --tag 1.4 -- books-ms --dry-run"},
		{"nothing before two dashes", "bg deploy -- --dry-run", "bg deploy -- --dry-run"},
		{"a command below a command", "bg stack down --volumes", "bg stack down --volumes"},
		{"a command that is still to be chosen", "bg stack --help", "bg stack --help"},
		{"a command that does not exist", "bg depoly books-ms --tag 1.4", "bg depoly books-ms --tag 1.4"},
		{"no command", "bg --help", "bg --help"},
		{"nothing", "bg", "bg"},
		{"completion asks", "bg deploy books-ms --generate-bash-completion", "bg deploy --generate-bash-completion books-ms"},
	}
	app := newApp(streams{Out: io.Discard, Err: io.Discard})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := flagsFirst(app, strings.Fields(tt.args))
			if diff := cmp.Diff(strings.Fields(tt.want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAMistakeOnTheCommandLineIsNamed(t *testing.T) {
	tests := []struct{ name, args, says string }{
		{"an unknown command", "depoly books-ms", `no command "depoly": see bg help`},
		{"an unknown flag", "deploy books-ms --tga 1.4", "flag provided but not defined: -tga: see bg deploy --help"},
		{"no service", "deploy", "deploy takes one argument, the service, and got 0: see bg deploy --help"},
		{"two services", "next-color books-ms other", "next-color takes one argument, the service, and got 2: see bg next-color --help"},
		{"a name that is none", "next-color Books;", `SERVICE: "Books;" is not allowed`},
		{"an output that does not exist", "deploy books-ms -o xml", `--output is text or json, not "xml"`},
		{"a color that does not exist", "address books-ms --color red", `--color: "red" is not a color (blue or green)`},
		{"a value of the wrong kind", "deploy books-ms --replicas many", "--replicas: "},
		{"a shell that does not exist", "completion tcsh", "completion takes one of bash, zsh and fish"},
		{"no shell", "completion", "completion takes one of bash, zsh and fish"},
		{"a file that does not exist", "deploy books-ms -f none.yml", "none.yml: no such file or directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := command(t, nil, strings.Fields(tt.args)...)
			if got.code != exitUsage || got.out != "" || !strings.HasPrefix(got.err, "bg: "+tt.says) {
				t.Errorf("%+v", got)
			}
		})
	}
}
