package engine

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"

	"bg/hint"
)

// ContainerHost is an nginx in a container, reached through the Docker API
// alone: nothing needs to be installed on the Engine's machine, and the image
// needs sh and the usual small tools. It is a proxy.Host.
type ContainerHost struct {
	docker client.APIClient
	name   string
}

// NewContainerHost returns the host for the container that is called name. It
// contacts nothing.
func NewContainerHost(docker client.APIClient, name string) *ContainerHost {
	return &ContainerHost{docker: docker, name: name}
}

// goneError is the error of a container, or an Engine, that is not there.
type goneError struct{ error }

// Unreachable reports that nothing was, and can be, done.
func (goneError) Unreachable() bool { return true }
func (e goneError) Unwrap() error   { return e.error }

// reached turns Docker's answers into what a caller can act on.
func (h *ContainerHost) reached(err error) error {
	switch {
	case client.IsErrConnectionFailed(err):
		return goneError{reach(err)}
	case errdefs.IsNotFound(err):
		return goneError{hint.Wrap(fmt.Errorf("container %s does not exist", h.name),
			"start nginx (`bg stack up` does), or name its container as proxy.container in bg.yml")}
	case errdefs.IsConflict(err):
		return goneError{hint.Wrap(fmt.Errorf("container %s does not run: %w", h.name, err),
			fmt.Sprintf("run `docker start %s`, and `docker logs %s` if it stops again", h.name, h.name))}
	}
	return err
}

// readScript prints a file, or exits with absentCode.
const readScript = `[ -e "$1" ] || exit 44; exec cat "$1"`

// absentCode is how a script says that a file or directory is absent.
const absentCode = 44

// ReadFile returns a file of the container, and fs.ErrNotExist when it is
// absent. It is read by cat: Docker's copying does not see a tmpfs.
func (h *ContainerHost) ReadFile(ctx context.Context, path string) ([]byte, error) {
	out, err := h.script(ctx, readScript, nil, path)
	return out.stdout, err
}

// writeScript replaces a file at once. The size guards against the end of the
// connection, which looks like the end of the file.
const writeScript = `set -eu
target=$1 tmp=$2 size=$3
dir=${target%/*}
[ -d "$dir" ] || exit 44
[ ! -d "$target" ] || { echo "$target is a directory" >&2; exit 1; }
trap 'rm -f "$tmp"' EXIT
dd of="$tmp" bs=64k conv=fsync
[ "$(wc -c <"$tmp")" -eq "$size" ] || { echo "the data was cut off" >&2; exit 1; }
chmod 0644 "$tmp"
mv -f "$tmp" "$target"
sync "$dir"
`

// WriteFile replaces a file of the container with data at once, mode 0644. Its
// error is syscall.EBUSY for a file that is a mount of its own, fs.ErrNotExist
// for a directory that is absent, and syscall.ENOSPC or syscall.EROFS. The
// temporary file's name begins with a dot and ends with .tmp, so that no include
// of nginx matches it.
func (h *ContainerHost) WriteFile(ctx context.Context, path string, data []byte) error {
	dir, base := path[:strings.LastIndex(path, "/")+1], path[strings.LastIndex(path, "/")+1:]
	tmp := fmt.Sprintf("%s.%s.bg-%s.tmp", dir, base, strings.ToLower(rand.Text()[:10]))
	return h.whole(ctx, writeScript, data, path, tmp, strconv.Itoa(len(data)))
}

// RemoveFile removes a file of the container; one that is absent is fine.
func (h *ContainerHost) RemoveFile(ctx context.Context, path string) error {
	return h.whole(ctx, `exec rm -f "$1"`, nil, path)
}

// wholeTimeout bounds a change of a file.
const wholeTimeout = 30 * time.Second

// whole runs a script to its end even when ctx is cancelled meanwhile: the
// Engine cannot stop it, and a caller that undoes must not race with it.
func (h *ContainerHost) whole(ctx context.Context, script string, stdin []byte, args ...string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), wholeTimeout,
		fmt.Errorf("container %s did not do it within %s", h.name, wholeTimeout))
	defer cancel()
	_, err := h.script(ctx, script, stdin, args...)
	return err
}

// script runs a shell script as root, who may write where nginx reads, and
// turns the complaints of its tools into the errors of the system calls.
func (h *ContainerHost) script(ctx context.Context, script string, stdin []byte, args ...string) (output, error) {
	out, err := h.exec(ctx, "0", append([]string{"sh", "-c", script, "sh"}, args...), stdin)
	switch {
	case err != nil || out.code == 0:
		return out, err
	case out.code == absentCode:
		return out, fs.ErrNotExist
	}
	for text, errno := range complaints {
		if strings.Contains(string(out.stderr), text) {
			return out, errno
		}
	}
	return out, fmt.Errorf("exit code %d: %s", out.code, bytes.TrimSpace(out.stderr))
}

// complaints are the texts of glibc and musl for errors that users can mend.
var complaints = map[string]syscall.Errno{
	"No space left on device": syscall.ENOSPC,
	"Device or resource busy": syscall.EBUSY,
	"Resource busy":           syscall.EBUSY,
	"Read-only file system":   syscall.EROFS,
	"Permission denied":       syscall.EACCES,
}

// Run runs cmd in the container as the container's own user, so that what an
// `nginx -t` creates belongs to the user that nginx runs as.
func (h *ContainerHost) Run(ctx context.Context, cmd []string, stdin []byte) (stdout, stderr []byte, err error) {
	out, err := h.exec(ctx, "", cmd, stdin)
	if err == nil && out.code != 0 {
		err = fmt.Errorf("run %s in container %s: exit code %d: %s", cmd[0], h.name, out.code, bytes.TrimSpace(out.stderr))
	}
	return out.stdout, out.stderr, err
}

// output is what a command in the container left.
type output struct {
	stdout, stderr []byte
	code           int
}

// exec runs a command in the container and waits for its end.
func (h *ContainerHost) exec(ctx context.Context, user string, cmd []string, stdin []byte) (output, error) {
	created, err := h.docker.ContainerExecCreate(ctx, h.name, container.ExecOptions{
		User: user, Cmd: cmd, Env: []string{"LC_ALL=C"},
		AttachStdin: stdin != nil, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return output{}, h.reached(err)
	}
	conn, err := h.docker.ContainerExecAttach(ctx, created.ID, container.ExecAttachOptions{})
	if err != nil {
		return output{}, h.reached(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, conn.Close)()
	out, err := converse(conn, stdin)
	if ctx.Err() != nil {
		return output{}, context.Cause(ctx)
	}
	if err != nil {
		return output{}, fmt.Errorf("talk to container %s: %w", h.name, err)
	}
	out.code, err = h.exitCode(ctx, created.ID)
	return out, err
}

// converse sends stdin and reads what the command writes, until it ends.
func converse(conn types.HijackedResponse, stdin []byte) (output, error) {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		// A command may end without having read its input. Its exit code tells
		// that, and not the broken pipe; and a script that needs all of it counts.
		_, _ = io.Copy(conn.Conn, bytes.NewReader(stdin))
		_ = conn.CloseWrite()
	}()
	var stdout, stderr bytes.Buffer
	_, err := stdcopy.StdCopy(&stdout, &stderr, conn.Reader)
	if err != nil {
		return output{}, err
	}
	conn.Close()
	<-sent
	return output{stdout: stdout.Bytes(), stderr: stderr.Bytes()}, nil
}

// exitCode returns the exit code of a command whose output has ended. The Engine
// learns of the exit a moment later, and sends no event that could be awaited
// without missing it.
func (h *ContainerHost) exitCode(ctx context.Context, id string) (int, error) {
	for {
		state, err := h.docker.ContainerExecInspect(ctx, id)
		if err != nil {
			return 0, h.reached(err)
		}
		if !state.Running {
			return state.ExitCode, nil
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// Processes returns a line "PID PARENT TITLE" for each process in the container,
// with the PIDs of the Engine's machine.
func (h *ContainerHost) Processes(ctx context.Context) ([]string, error) {
	top, err := h.docker.ContainerTop(ctx, h.name, []string{"-eo", "pid,ppid,args"})
	if err != nil {
		return nil, h.reached(err)
	}
	var lines []string
	for _, p := range top.Processes {
		lines = append(lines, strings.Join(p, " "))
	}
	return lines, nil
}

// hupScript signals nginx's master where it is not the container's first process.
const hupScript = `for p in /proc/[0-9]*; do
	if tr '\0' ' ' <"$p/cmdline" 2>/dev/null | grep -q '^nginx: master process'; then
		kill -HUP "${p#/proc/}"; exit
	fi
done
exit 44`

// Reload makes nginx read its configuration again: by a signal to the container
// when nginx is its first process, and to nginx itself when another one, which
// may keep signals to itself, started it.
func (h *ContainerHost) Reload(ctx context.Context) error {
	first, err := h.nginxIsFirst(ctx)
	if err != nil {
		return err
	}
	if first {
		return h.reached(h.docker.ContainerKill(ctx, h.name, "HUP"))
	}
	_, err = h.script(ctx, hupScript, nil)
	return err
}

// nginxIsFirst reports whether the parent of nginx's master is outside of the
// container.
func (h *ContainerHost) nginxIsFirst(ctx context.Context) (bool, error) {
	lines, err := h.Processes(ctx)
	if err != nil {
		return false, err
	}
	inside := map[string]bool{}
	parent := ""
	for _, line := range lines {
		fields := strings.Fields(line)
		inside[fields[0]] = true
		if parent == "" && strings.Contains(line, "nginx: master process") {
			parent = fields[1]
		}
	}
	return parent != "" && !inside[parent], nil
}

// Log returns what the container wrote since then. Since is of this machine's
// clock, and the Engine's may differ.
func (h *ContainerHost) Log(ctx context.Context, since time.Time) ([]byte, error) {
	asked := time.Now()
	info, err := h.docker.Info(ctx)
	if err != nil {
		return nil, h.reached(err)
	}
	there, err := time.Parse(time.RFC3339Nano, info.SystemTime)
	if err != nil {
		return nil, fmt.Errorf("read the Engine's clock: %w", err)
	}
	since = since.Add(there.Sub(asked))
	logs, err := h.docker.ContainerLogs(ctx, h.name, container.LogsOptions{
		ShowStdout: true, ShowStderr: true, Since: fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond()),
	})
	if err != nil {
		return nil, h.reached(err)
	}
	defer logs.Close()
	var both bytes.Buffer
	if _, err := stdcopy.StdCopy(&both, &both, logs); err != nil {
		return nil, fmt.Errorf("read the log of container %s: %w", h.name, err)
	}
	return both.Bytes(), nil
}
