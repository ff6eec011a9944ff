package proxy

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// process is one process of nginx. Its title is the only thing that tells what
// an nginx worker does: nginx sets it when it begins to shut down.
type process struct {
	pid, parent int
	title       string
}

const (
	masterTitle  = "nginx: master process"
	workerTitle  = "nginx: worker process"
	leavingTitle = "nginx: worker process is shutting down"
)

func (p process) master() bool { return strings.HasPrefix(p.title, masterTitle) }
func (p process) worker() bool { return strings.HasPrefix(p.title, workerTitle) }

// leaving reports whether the worker has closed its listening sockets: it
// answers what it has begun, and then exits.
func (p process) leaving() bool { return strings.HasPrefix(p.title, leavingTitle) }

// parseProcess reads a line "PID PARENT TITLE".
func parseProcess(line string) (process, error) {
	pid, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	parent, title, found := strings.Cut(strings.TrimSpace(rest), " ")
	p := process{title: strings.TrimSpace(title)}
	var errPid, errParent error
	p.pid, errPid = strconv.Atoi(pid)
	p.parent, errParent = strconv.Atoi(parent)
	if !found || errPid != nil || errParent != nil {
		return process{}, fmt.Errorf("process line %q is not PID PARENT TITLE", line)
	}
	return p, nil
}

// workers are nginx's worker processes at one instant.
type workers struct {
	master  process
	serving []int // accept connections
	leaving []int // are shutting down
}

// all returns the PIDs of every worker, in order.
func (w workers) all() []int {
	return slices.Sorted(slices.Values(slices.Concat(w.serving, w.leaving)))
}

// workers lists nginx's worker processes.
func (n *Nginx) workers(ctx context.Context) (workers, error) {
	lines, err := n.host.Processes(ctx)
	if err != nil {
		return workers{}, hosted("list", "nginx's processes", err)
	}
	return parseWorkers(lines)
}

func parseWorkers(lines []string) (workers, error) {
	var found workers
	var all []process
	for _, line := range lines {
		p, err := parseProcess(line)
		if err != nil {
			return workers{}, err
		}
		if p.master() && found.master.pid == 0 {
			found.master = p
		}
		all = append(all, p)
	}
	if found.master.pid == 0 {
		return workers{}, fmt.Errorf("%w: no process is titled %q", ErrUnreachable, masterTitle)
	}
	for _, p := range all {
		switch {
		case !p.worker() || p.parent != found.master.pid:
		case p.leaving():
			found.leaving = append(found.leaving, p.pid)
		default:
			found.serving = append(found.serving, p.pid)
		}
	}
	return found, nil
}
