package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// processScript prints when the container's first process began, and a line "PID
// PARENT TITLE" for each process of nginx (proc(5), /proc/pid/stat: fields 22 and 4,
// behind a name in parentheses that may hold anything). It starts no other process.
const processScript = `set -- $(read -r line </proc/1/stat; echo "${line##*) }")
echo "${20}"
for p in /proc/[0-9]*; do
	title=
	read -r title <"$p/cmdline" || [ -n "$title" ] || continue
	case $title in "nginx: "*) ;; *) continue ;; esac
	read -r line <"$p/stat" || continue
	line=${line##*) }; line=${line#* }
	echo "${p#/proc/} ${line%% *} $title"
done 2>/dev/null
`

// mostPID is above each PID of Linux (PID_MAX_LIMIT in include/linux/threads.h).
const mostPID = 1 << 22

// Processes returns a line "PID PARENT TITLE" for each process of nginx, with the
// PIDs of the container. It asks inside: the Engine's own answer costs a ps on its
// machine, some fifty milliseconds, and a switch asks several times.
//
// A container that was started again gives its processes the same PIDs. They are
// told apart by a number that is added to them from the second start on that this
// host has seen.
func (h *ContainerHost) Processes(ctx context.Context) ([]string, error) {
	ask := []string{"sh", "-c", processScript}
	out, err := h.exec(ctx, h.root, ask, nil)
	if err != nil && ctx.Err() == nil {
		out, err = h.exec(ctx, h.root, ask, nil) // the container was started again meanwhile
	}
	if err != nil {
		return nil, err
	}
	boot, rest, _ := strings.Cut(strings.TrimSpace(string(out.stdout)), "\n")
	if _, err := strconv.Atoi(boot); err != nil {
		return nil, fmt.Errorf("list the processes of container %s: exit code %d: %q %s", h.name, out.code, out.stdout, out.stderr)
	}
	add, lines := h.start(boot)*mostPID, []string(nil)
	for line := range strings.Lines(rest) {
		lines = append(lines, distinct(strings.TrimSpace(line), add))
	}
	return lines, nil
}

// start returns how many starts of the container were seen before the one whose
// first process began at boot.
func (h *ContainerHost) start(boot string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Contains(h.boots, boot) {
		h.boots = append(h.boots, boot)
	}
	return slices.Index(h.boots, boot)
}

// distinct adds a number to both PIDs of a line "PID PARENT TITLE".
func distinct(line string, add int) string {
	words := strings.SplitN(line, " ", 3)
	for i := range min(2, len(words)) {
		if pid, err := strconv.Atoi(words[i]); err == nil && pid > 0 {
			words[i] = strconv.Itoa(pid + add)
		}
	}
	return strings.Join(words, " ")
}
