package proxy

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"bg/hint"
)

// Local is the Host of an nginx on this machine. Its zero value is ready.
type Local struct {
	// ReloadCommand replaces the HUP signal, such as systemctl reload nginx.
	ReloadCommand []string
	// PidFile names the master; default /run/nginx.pid. Without the file, the
	// one nginx master in /proc is taken.
	PidFile string
	// ErrorLog is nginx's error log; default /var/log/nginx/error.log.
	ErrorLog string
}

// absent is the error of an nginx that is not there.
type absent struct{ error }

func (absent) Unreachable() bool { return true }
func (a absent) Unwrap() error   { return a.error }

// ReadFile implements Disk.
func (Local) ReadFile(_ context.Context, path string) ([]byte, error) { return os.ReadFile(path) }

// WriteFile implements Disk. The temporary name begins with a dot and ends with
// .tmp, so that no include of nginx matches it.
func (Local) WriteFile(_ context.Context, path string, data []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".bg-*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	_, errWrite := tmp.Write(data)
	if err := errors.Join(errWrite, tmp.Chmod(0o644), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename in dir survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// RemoveFile implements Disk.
func (Local) RemoveFile(_ context.Context, path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Run implements Host.
func (Local) Run(ctx context.Context, cmd []string, stdin []byte) (stdout, stderr []byte, err error) {
	var out, errs bytes.Buffer
	c := exec.CommandContext(ctx, cmd[0], cmd[1:]...)
	c.Env = append(os.Environ(), "LC_ALL=C")
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(stdin), &out, &errs
	c.WaitDelay = 2 * time.Second
	err = c.Run()
	switch exit, isExit := errors.AsType[*exec.ExitError](err); {
	case err == nil:
	case ctx.Err() != nil:
		err = fmt.Errorf("run %s: %w", cmd[0], context.Cause(ctx))
	case isExit:
		err = fmt.Errorf("run %s: exit code %d: %s", cmd[0], exit.ExitCode(), strings.TrimSpace(errs.String()))
	default:
		err = hint.Wrap(absent{fmt.Errorf("run %s: %w", cmd[0], err)}, "install nginx here, or set proxy.container for one in a container")
	}
	return out.Bytes(), errs.Bytes(), err
}

// Processes implements Master, from /proc.
func (l Local) Processes(context.Context) ([]string, error) {
	all, err := procfs("/proc")
	if err != nil {
		return nil, err
	}
	master, err := l.master(all)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, p := range all {
		if p.pid == master || p.parent == master {
			lines = append(lines, fmt.Sprintf("%d %d %s", p.pid, p.parent, p.title))
		}
	}
	return lines, nil
}

// LeavingSockets implements Sockets, from /proc. Only root and nginx's own user
// may look.
func (l Local) LeavingSockets(context.Context) ([]byte, error) {
	all, err := procfs("/proc")
	if err != nil {
		return nil, err
	}
	master, err := l.master(all)
	if err != nil {
		return nil, err
	}
	var text, own []byte
	for _, p := range all {
		if p.parent != master || !p.leaving() {
			continue
		}
		if text == nil {
			text = sockets(p.pid)
		}
		links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.pid))
		if err != nil {
			return nil, err
		}
		for _, link := range links {
			if target, err := os.Readlink(link); err == nil { // else it was closed meanwhile
				own = fmt.Appendln(own, target)
			}
		}
	}
	return append(text, own...), nil
}

// sockets returns the tables of a process's network. One that is not there has
// no sockets.
func sockets(pid int) []byte {
	var all []byte
	for _, table := range []string{"tcp", "tcp6"} {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		all = append(all, text...)
	}
	return all
}

// Reload implements Master.
func (l Local) Reload(ctx context.Context) error {
	if len(l.ReloadCommand) > 0 {
		_, _, err := l.Run(ctx, l.ReloadCommand, nil)
		return err
	}
	all, err := procfs("/proc")
	if err != nil {
		return err
	}
	master, err := l.master(all)
	if err != nil {
		return err
	}
	if err := syscall.Kill(master, syscall.SIGHUP); err != nil {
		return hint.Wrap(fmt.Errorf("signal nginx's master %d: %w", master, err),
			"run bg as the user that started nginx, or set a reload command such as sudo systemctl reload nginx")
	}
	return nil
}

// logTail is how much of the end of an error log is read.
const logTail = 256 << 10

// Log implements Master: the lines of the error log that are not older than
// since. nginx writes local time, in seconds.
func (l Local) Log(_ context.Context, since time.Time) (recent []byte, err error) {
	f, err := os.Open(cmp.Or(l.ErrorLog, "/var/log/nginx/error.log"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-logTail), logTail))
	if err != nil {
		return nil, err
	}
	return linesSince(text, since), nil
}

// linesSince returns the lines of an nginx error log that are not older than
// since.
func linesSince(text []byte, since time.Time) []byte {
	const layout = "2006/01/02 15:04:05"
	var recent []byte
	for line := range bytes.Lines(text) {
		at, err := time.ParseInLocation(layout, string(line[:min(len(layout), len(line))]), time.Local)
		if err == nil && !at.Before(since.Truncate(time.Second)) {
			recent = append(recent, line...)
		}
	}
	return recent
}
