package engine

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"github.com/docker/docker/api/types"
)

// leavingScript calls do for each worker that is shutting down.
const leavingScript = `for p in /proc/[0-9]*; do
	case $(tr '\0' ' ' 2>/dev/null <"$p/cmdline") in
	"nginx: worker process is shutting down"*) do ;;
	esac
done
`

// ownerScript prints the user and group of a worker that is shutting down.
var ownerScript = strings.Replace(leavingScript, " do ;;", ` stat -c %u:%g "$p"; exit ;;`, 1) + "exit 44"

// socketScript prints the table of sockets, and those of the workers that are
// shutting down. A container without IPv6 has no second table.
var socketScript = `cat /proc/net/tcp
[ ! -e /proc/net/tcp6 ] || cat /proc/net/tcp6
` + strings.Replace(leavingScript, " do ;;", ` ls -l "$p/fd" | sed -n 's/.* -> //p' ;;`, 1)

// LeavingSockets returns the container's lines of /proc/net/tcp and tcp6, and
// after them a line "socket:[INODE]" for each socket of an nginx worker that is
// shutting down. It is asked as the workers' own user: even root may not look
// into other users' processes in a container (ptrace(2), access mode checking).
func (h *ContainerHost) LeavingSockets(ctx context.Context) ([]byte, error) {
	owner, err := h.script(ctx, ownerScript, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out, err := h.exec(ctx, h.as(strings.TrimSpace(string(owner.stdout))), []string{"sh", "-c", socketScript}, nil)
	return out.stdout, err
}

// as returns the shell of a user "uid:gid" of the container, of its own with "".
func (h *ContainerHost) as(user string) *shell {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.users[user] == nil {
		h.users[user] = newShell(func(ctx context.Context) (types.HijackedResponse, error) { return h.openShell(ctx, user) })
	}
	return h.users[user]
}
