package engine

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
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
	root   *shell // may write where nginx reads

	mu    sync.Mutex
	own   *shell            // is the user that nginx's container runs as; nil before that is known
	users map[string]*shell // of others
	boots []string          // when the container's first process began, for each time that it was started
}

// NewContainerHost returns the host for the container that is called name. It
// contacts nothing.
func NewContainerHost(docker client.APIClient, name string) *ContainerHost {
	h := &ContainerHost{docker: docker, name: name, users: map[string]*shell{}}
	h.root = newShell(func(ctx context.Context) (types.HijackedResponse, error) { return h.openShell(ctx, "0") })
	return h
}

// Open has the shell started that the first look at nginx needs. What fails here
// fails there again, where it is reported.
func (h *ContainerHost) Open(ctx context.Context) { h.root.start(ctx) }

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
	out, err := h.exec(ctx, h.root, append([]string{"sh", "-c", script, "sh"}, args...), stdin)
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
	own, err := h.ownShell(ctx)
	if err != nil {
		return nil, nil, err
	}
	out, err := h.exec(ctx, own, cmd, stdin)
	if err == nil && out.code != 0 {
		err = fmt.Errorf("run %s in container %s: exit code %d: %s", cmd[0], h.name, out.code, bytes.TrimSpace(out.stderr))
	}
	return out.stdout, out.stderr, err
}

// ownShell returns the shell of the user that the container runs as. Mostly that is
// root, whose shell is open already: to open another takes as long as the first did.
func (h *ContainerHost) ownShell(ctx context.Context) (*shell, error) {
	h.mu.Lock()
	own := h.own
	h.mu.Unlock()
	if own != nil {
		return own, nil
	}
	info, err := h.docker.ContainerInspect(ctx, h.name)
	if err != nil {
		return nil, h.reached(err)
	}
	own = h.root
	if !isRoot(info.Config.User) {
		own = h.as("")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.own = own
	return own, nil
}

// isRoot reports whether user, as a container's settings have it, is root with its
// own group.
func isRoot(user string) bool {
	return slices.Contains([]string{"", "0", "root", "0:0", "root:root"}, user)
}

// output is what a command in the container left.
type output struct {
	stdout, stderr []byte
	code           int
}

// exec runs a command in the container and waits for its end.
func (h *ContainerHost) exec(ctx context.Context, in *shell, cmd []string, stdin []byte) (output, error) {
	out, err := in.run(ctx, cmd, stdin)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("talk to container %s: %w", h.name, err)
	}
	return out, err
}

// hupScript signals nginx's master, which need not be the first process.
const hupScript = `for p in /proc/[0-9]*; do
	case $(tr '\0' ' ' 2>/dev/null <"$p/cmdline") in
	"nginx: master process"*) kill -HUP "${p#/proc/}"; exit ;;
	esac
done
exit 44`

// Reload makes nginx read its configuration again. The signal is sent from
// inside: one that the Engine sends counts as somebody's wish to stop the
// container, after which a restart policy does not hold any more
// (killWithSignal in moby's daemon/kill.go).
func (h *ContainerHost) Reload(ctx context.Context) error {
	_, err := h.script(ctx, hupScript, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return goneError{hint.Wrap(fmt.Errorf("no nginx runs in container %s", h.name), "docker logs "+h.name)}
	}
	return err
}

// Log returns the error log that the container wrote since then, or its end.
// Since is of this machine's clock, and the Engine's may differ.
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
	// Each stream has whole lines of its own.
	var stdout, stderr errorLog
	if _, err := stdcopy.StdCopy(&stdout, &stderr, logs); err != nil {
		return nil, fmt.Errorf("read the log of container %s: %w", h.name, err)
	}
	return append(stdout.kept, stderr.kept...), nil
}
