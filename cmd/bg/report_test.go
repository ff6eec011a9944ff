package main

import (
	"strings"
	"testing"
)

func TestAReportIsFoundByServiceAndById(t *testing.T) {
	service := recorded(t)
	tests := []struct{ name, args, want string }{
		{"the newest of a service", service, "20261121-030000-aaaa"},
		{"a deployment of a service", service + " 20261121-020000-bbbb", "20261121-020000-bbbb"},
		{"the end of an id", service + " bbbb", "20261121-020000-bbbb"},
		{"an id that is shortened", service + " 20261121-01", "20261121-010203-cccc"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := command(t, nil, append([]string{"report"}, strings.Fields(tt.args)...)...)
			if got.code != exitDone || got.err != "" || !strings.HasPrefix(got.out, "<!DOCTYPE html>") || !strings.Contains(got.out, "<code>"+tt.want+"</code>") {
				t.Errorf("code %d: %s\n%.400s", got.code, got.err, got.out)
			}
		})
	}
	// Other tests may have a deployment of the same id; which service has this one
	// does not matter.
	if got := command(t, nil, "report", "20261121-020000-bbbb"); got.code != exitDone || !strings.Contains(got.out, "<code>20261121-020000-bbbb</code>") {
		t.Errorf("by its id only: code %d: %s", got.code, got.err)
	}
}

func TestAReportThatCannotBeWrittenSaysWhy(t *testing.T) {
	service := recorded(t)
	tests := []struct {
		name, args string
		code       int
		want       string
	}{
		{"nothing is named", "", exitUsage, "report takes a service"},
		{"a service that was never deployed", "never-deployed", exitUsage, "was never deployed"},
		{"an id that nobody has", "20001121-020000-bbbb", exitUsage, "no service has a deployment 20001121-020000-bbbb"},
		{"an id that the service does not have", service + " 20001121-020000-bbbb", exitUsage, "no such deployment"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := command(t, nil, append([]string{"report"}, strings.Fields(tt.args)...)...)
			if got.code != tt.code || !strings.Contains(got.err, tt.want) || got.out != "" {
				t.Errorf("%+v", got)
			}
		})
	}
}
