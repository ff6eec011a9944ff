package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var target = Target{URL: "http://10.0.0.1:8080", Service: "books-ms", Color: "green", Address: "10.0.0.1:8080", Deployment: "20261121-010203-7f3a"}

func TestTestsRunInOrderUntilOneFails(t *testing.T) {
	dir := t.TempDir()
	tests := []Test{
		Command{Args: []string{"sh", "-c", "echo one"}, Dir: dir},
		Limited{Label: "second", Test: Command{Args: []string{"sh", "-c", "echo two; echo bad >&2; exit 3"}, Dir: dir}},
		Command{Args: []string{"touch", "third"}, Dir: dir},
	}
	var out strings.Builder
	report, err := Run(t.Context(), tests, target, &out)
	want := Report{Results: []Result{
		{Name: "echo one", Outcome: Passed, Output: "one\n"},
		{Name: "second", Outcome: Failed, Output: "two\nbad\n"},
		{Name: "touch third", Outcome: Skipped},
	}}
	if diff := cmp.Diff(want, report, cmpopts.IgnoreFields(Result{}, "Duration")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	failed, ok := errors.AsType[*FailedError](err)
	if !ok || failed.Test != "second" || failed.Output != "two\nbad\n" || err.Error() != `integration test "second": exit status 3` {
		t.Errorf("error is %v", err)
	}
	if _, err := exists(dir, "third"); err == nil {
		t.Error("a test ran after one that failed")
	}
	for _, line := range []string{"test echo one\none\n", "test second\ntwo\nbad\ntest second failed in "} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("output is %q, want %q in it", &out, line)
		}
	}
	if report.Count() != "3 tests" || report.Results[1].Duration <= 0 {
		t.Errorf("%s, %s", report.Count(), report.Results[1].Duration)
	}
}

func TestATestThatTakesTooLongFailsWithItsLimit(t *testing.T) {
	tests := []Test{Limited{Test: Command{Args: []string{"sh", "-c", "echo started; sleep 60"}}, Timeout: 300 * time.Millisecond}}
	start := time.Now()
	report, err := Run(t.Context(), tests, target, io.Discard)
	limit, ok := errors.AsType[*TimeoutError](err)
	if !ok || limit.After != 300*time.Millisecond || time.Since(start) > 4*time.Second {
		t.Errorf("error is %v after %s", err, time.Since(start))
	}
	if report.Results[0].Output != "started\n" {
		t.Errorf("output is %q", report.Results[0].Output)
	}
}

func TestACancelledRunHasTheCause(t *testing.T) {
	cause := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	reader, writer := io.Pipe()
	go func() {
		// The command is running once its output has come.
		_, _ = io.ReadFull(reader, make([]byte, len("test echo ready; sleep 60\nready\n")))
		cancel(cause)
		_, _ = io.Copy(io.Discard, reader)
	}()
	tests := []Test{Command{Args: []string{"sh", "-c", "echo ready; sleep 60"}}, Command{Args: []string{"true"}}}
	report, err := Run(ctx, tests, target, writer)
	if !errors.Is(err, cause) || report.Results[0].Outcome != Failed || report.Results[1].Outcome != Skipped {
		t.Errorf("error is %v, report %+v", err, report)
	}
	if report, err = Run(ctx, tests, target, io.Discard); !errors.Is(err, cause) || report.Results[0].Output != "" {
		t.Errorf("a test ran after the cancel: %v, %+v", err, report)
	}
}

func TestOutputThatCannotBeShownFailsNoTest(t *testing.T) {
	reader, writer := io.Pipe()
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	report, err := Run(t.Context(), []Test{Command{Args: []string{"echo", "kept"}}}, target, writer)
	if err != nil || report.Results[0].Output != "kept\n" || !errors.Is(report.Unshown, io.ErrClosedPipe) {
		t.Errorf("%v, %+v", err, report)
	}
}

func TestNoTestsPass(t *testing.T) {
	if report, err := Run(t.Context(), nil, target, io.Discard); err != nil || report.Count() != "0 tests" || report.Unshown != nil {
		t.Errorf("%v, %+v", err, report)
	}
}

// runner is a Runner that writes what it was asked for.
type runner struct{ err error }

func (r runner) RunService(_ context.Context, file, service string, env map[string]string, out io.Writer) error {
	fmt.Fprintf(out, "%s %s %s\n", file, service, env["DOMAIN"])
	return r.err
}

func TestAServiceOfAComposeFileIsATest(t *testing.T) {
	exit := errors.New("exit code 1")
	for _, want := range []error{nil, exit} {
		test := Compose{File: "/srv/dev.yml", Service: "integ", Runner: runner{want}}
		report, err := Run(t.Context(), []Test{test}, target, io.Discard)
		if !errors.Is(err, want) || report.Results[0].Output != "/srv/dev.yml integ http://10.0.0.1:8080\n" {
			t.Errorf("%v, %+v", err, report)
		}
		if name := report.Results[0].Name; name != "integ of dev.yml" {
			t.Errorf("name is %s", name)
		}
	}
}

func TestTheTailKeepsTheEnd(t *testing.T) {
	tests := []struct {
		name  string
		write []string
		want  string
	}{
		{"nothing", nil, ""},
		{"less", []string{"a\n", "b\n"}, "a\nb\n"},
		{"exactly", []string{"01234567"}, "01234567"},
		{"one more", []string{"0\n2345678"}, "2345678"},
		{"no line ends", []string{"0123456789"}, "23456789"},
		{"much more", []string{strings.Repeat("x\n", 50), "end\n"}, "x\nend\n"},
		{"not UTF-8", []string{"a\xffb"}, "a\ufffdb"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tail := newTail(8)
			for _, text := range tt.write {
				if n, err := tail.Write([]byte(text)); n != len(text) || err != nil {
					t.Fatal(n, err)
				}
			}
			if got := tail.String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
