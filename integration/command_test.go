package integration

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// countingListener counts the connections it accepts.
type countingListener struct {
	net.Listener
	accepted *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return conn, err
}

func exists(dir, name string) (os.FileInfo, error) { return os.Stat(filepath.Join(dir, name)) }

// sh returns the command for a text.
func sh(dir, text string) Command {
	return Command{Args: []string{"sh", "-c", text}, Dir: dir, Grace: time.Second}
}

func TestACommandKnowsItsTarget(t *testing.T) {
	t.Setenv("INHERITED", "yes")
	t.Setenv("DOMAIN", "overridden")
	dir := t.TempDir()
	var out strings.Builder
	err := sh(dir, `echo $DOMAIN $BG_SERVICE $BG_COLOR $BG_ADDRESS $BG_DEPLOY $INHERITED; pwd -P; cat`).Run(t.Context(), target, &out)
	real, evalErr := filepath.EvalSymlinks(dir)
	want := "http://10.0.0.1:8080 books-ms green 10.0.0.1:8080 20261121-010203-7f3a yes\n" + real + "\n"
	if err != nil || evalErr != nil || out.String() != want {
		t.Errorf("got  %q, %v, %v\nwant %q", &out, err, evalErr, want)
	}
}

func TestACommandThatCannotStart(t *testing.T) {
	for _, c := range []Command{{}, {Args: []string{"./none"}}, {Args: []string{"true"}, Dir: "/none"}} {
		if err := c.Run(t.Context(), target, io.Discard); err == nil {
			t.Errorf("%v ran", c.Args)
		}
	}
}

func TestNamesOfCommandsFitALine(t *testing.T) {
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"./smoke.sh", "a"}, "./smoke.sh a"},
		{[]string{"sh", "-c", "./smoke.sh | grep ok"}, "./smoke.sh | grep ok"},
		{[]string{"sh", "-c", "\nset -e\n./smoke.sh\n"}, "set -e…"},
		{[]string{strings.Repeat("é", 70)}, strings.Repeat("é", 60) + "…"},
	}
	for _, tt := range tests {
		if got := (Command{Args: tt.args}).Name(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestMuchOutputIsShownWholeAndKeptInPart(t *testing.T) {
	var out strings.Builder
	report, err := Run(t.Context(), []Test{sh("", "seq 1 200000; exit 1")}, target, &out)
	kept := report.Results[0].Output
	if err == nil || len(kept) > tailSize || len(kept) < tailSize-10 || !strings.HasSuffix(kept, "\n199999\n200000\n") {
		t.Errorf("error %v, kept %d bytes", err, len(kept))
	}
	if !strings.Contains(out.String(), "\n1\n2\n3\n") || out.Len() < 1_288_894 {
		t.Errorf("%d bytes were shown", out.Len())
	}
}

// pids reads the process ids that a script wrote to file.
func pids(t *testing.T, file string) (list []int) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range strings.Fields(string(content)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, pid)
	}
	return list
}

// gone waits until no process of list runs any more. A zombie does not run.
func gone(t *testing.T, list []int) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for _, pid := range list {
		for running(pid) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d runs on", pid)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

func running(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil && !errors.Is(err, os.ErrNotExist) || strings.Contains(string(stat), ") ") && !strings.Contains(string(stat), ") Z ")
}

// TestNothingOutlivesACommand cancels commands, or lets them end, that leave
// children behind.
func TestNothingOutlivesACommand(t *testing.T) {
	tests := []struct {
		name   string
		script string
		cancel bool
		fails  bool
	}{
		{"a command that ends on SIGTERM", `echo $$ > pids; touch ready; sleep 60`, true, true},
		{"one that ignores it, with its children", `trap "" TERM; (sleep 60; sleep 61) & echo $$ $! > pids; touch ready; while :; do sleep 1; done`, true, true},
		{"one whose children ignore it", `sh -c 'trap "" TERM; echo $$ > pids; touch ready; while :; do sleep 1; done' & wait`, true, true},
		{"one whose children ignore it and hold no output", `sh -c 'trap "" TERM; echo $$ > pids; touch ready; while :; do sleep 1; done' > /dev/null 2>&1 & wait`, true, true},
		{"one that succeeds and leaves a child with its output", `sleep 60 & echo $! > pids; touch ready`, false, false},
		{"one that succeeds and leaves a silent child", `sleep 60 > /dev/null 2>&1 & echo $! > pids; touch ready`, false, false},
		{"one that fails and leaves a child", `sleep 60 & echo $! > pids; touch ready; exit 1`, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- sh(dir, tt.script).Run(ctx, target, io.Discard) }()
			await(ctx, t, dir, "ready")
			if tt.cancel {
				cancel()
			}
			start := time.Now()
			if err := <-done; (err != nil) != tt.fails {
				t.Errorf("error is %v", err)
			}
			if took := time.Since(start); took > 6*time.Second {
				t.Errorf("it took %s to end", took)
			}
			gone(t, pids(t, filepath.Join(dir, "pids")))
		})
	}
}

// await waits until the file name is in dir.
func await(ctx context.Context, t *testing.T, dir, name string) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		if _, err := exists(dir, name); err == nil {
			return
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			t.Fatalf("%s did not come", name)
		}
	}
}

func TestACommandMayCleanUpOnSIGTERM(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- sh(dir, `trap 'touch cleaned; exit 0' TERM; touch ready; while :; do sleep 0.05; done`).Run(ctx, target, io.Discard)
	}()
	await(ctx, t, dir, "ready")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if _, err := exists(dir, "cleaned"); err != nil {
		t.Error(err)
	}
}
