package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Grace is the time that a command has to end after SIGTERM, before SIGKILL.
const Grace = 5 * time.Second

// Command runs a program on this machine.
type Command struct {
	Args  []string      // the program and its arguments; for a shell's text: sh -c TEXT
	Dir   string        // where it runs, "" is the current folder
	Grace time.Duration // 0 is the constant Grace
}

// Name returns the first line of the command, shortened.
func (c Command) Name() string {
	words := c.Args
	if len(words) == 3 && words[0] == "sh" && words[1] == "-c" {
		words = words[2:]
	}
	line, _, more := strings.Cut(strings.TrimSpace(strings.Join(words, " ")), "\n")
	if runes := []rune(line); len(runes) > 60 {
		line, more = string(runes[:60]), true
	}
	if more {
		line += "…"
	}
	return line
}

// Run runs the command with DOMAIN, BG_SERVICE, BG_COLOR, BG_ADDRESS and
// BG_DEPLOY added to this process's environment. Both its outputs go to out. An
// exit code other than 0 is an error. Nothing that it started in its process
// group outlives Run.
func (c Command) Run(ctx context.Context, target Target, out io.Writer) error {
	return c.Exec(ctx, target.env(), out)
}

// Exec is Run with other variables added to this process's environment.
func (c Command) Exec(ctx context.Context, env map[string]string, out io.Writer) error {
	if len(c.Args) == 0 {
		return errors.New("the command is empty")
	}
	grace := c.Grace
	if grace == 0 {
		grace = Grace
	}
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.Dir, out, out
	cmd.Env = cmd.Environ()
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	// A group of its own, so that its children end with it, and so that Ctrl-C
	// at the terminal reaches it through bg only.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return signal(cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", c.Args[0], err)
	}
	err := cmd.Wait()
	// The children that live on hold no output that could be waited for.
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return errors.Join(err, end(cmd.Process.Pid, grace))
}

// end ends what is left of a process group: by SIGTERM, and after grace by
// SIGKILL.
func end(group int, grace time.Duration) error {
	if err := signal(group, syscall.SIGTERM); err != nil || !alive(group) {
		return err
	}
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for alive(group) {
		select {
		case <-look.C:
		case <-deadline.C:
			return signal(group, syscall.SIGKILL)
		}
	}
	return nil
}

// signal sends s to a process group. One that has ended is no error.
func signal(group int, s syscall.Signal) error {
	if err := syscall.Kill(-group, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %s to process group %d: %w", s, group, err)
	}
	return nil
}

// alive reports whether a process of group runs. A zombie does not: in a
// container whose first process does not wait for orphans, it stays for ever.
func alive(group int) bool {
	if errors.Is(syscall.Kill(-group, 0), syscall.ESRCH) {
		return false
	}
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(files) == 0 {
		return true // no /proc to look at
	}
	return slices.ContainsFunc(files, func(file string) bool {
		content, err := os.ReadFile(file)
		// One that cannot be read has ended since.
		return err == nil && member(string(content), group)
	})
}

// member reports whether stat, as proc(5) describes it, is of a process of group
// that is no zombie.
func member(stat string, group int) bool {
	// The name is in parentheses, and may have some of its own.
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	return len(fields) > 2 && fields[0] != "Z" && fields[0] != "X" && fields[2] == strconv.Itoa(group)
}
