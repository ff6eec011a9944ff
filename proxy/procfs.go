package proxy

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"bg/hint"
)

// procfs lists nginx's processes below root, which is /proc, apart from those
// that run in a container: their PID namespace is another one.
func procfs(root string) ([]process, error) {
	dirs, err := filepath.Glob(filepath.Join(root, "[0-9]*"))
	if err != nil {
		return nil, err
	}
	var all []process
	for _, dir := range dirs {
		p, ok, err := readProcess(dir)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has exited meanwhile
		}
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, p)
		}
	}
	return all, nil
}

// readProcess reads one process of /proc; ok is false when it is not nginx's.
func readProcess(dir string) (p process, ok bool, err error) {
	title, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil || !bytes.HasPrefix(title, []byte("nginx: ")) {
		return process{}, false, err
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return process{}, false, err
	}
	p.title = strings.TrimSpace(strings.ReplaceAll(string(title), "\x00", " "))
	if p.pid, err = strconv.Atoi(filepath.Base(dir)); err != nil {
		return process{}, false, err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "PPid":
			if p.parent, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return process{}, false, fmt.Errorf("read %s/status: %w", dir, err)
			}
		case "NSpid":
			ok = len(strings.Fields(value)) == 1
		}
	}
	return p, ok, nil
}

// master returns the PID of nginx's master: the one in the PID file, or else the
// only one there is.
func (l Local) master(all []process) (int, error) {
	var masters []int
	for _, p := range all {
		if p.master() {
			masters = append(masters, p.pid)
		}
	}
	text, err := os.ReadFile(cmp.Or(l.PidFile, "/run/nginx.pid"))
	if err == nil {
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err == nil && slices.Contains(masters, pid) {
			return pid, nil
		}
	}
	switch {
	case len(masters) == 1 && l.PidFile == "":
		return masters[0], nil
	case len(masters) > 1:
		return 0, hint.Wrap(fmt.Errorf("several nginx masters run here: %v", masters), "set the path of the PID file of the one that bg shall reload")
	}
	return 0, hint.Wrap(absent{errors.New("nginx does not run on this machine")}, "start nginx, or set proxy.container for one in a container")
}
