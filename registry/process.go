package registry

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a process of one boot of one machine, as precisely as Linux names it:
// PIDs are used again, each PID namespace has its own, and machines that were cloned
// from one snapshot share the boot's id. It is zero where /proc is not that of this
// process.
type Process struct {
	Boot      string `json:"boot"` // of the machine, random for each boot
	Host      string `json:"host"`
	Namespace string `json:"namespace"`      // in which PID is meant
	Time      string `json:"time,omitempty"` // the namespace in which Start is meant
	PID       int    `json:"pid"`
	Start     string `json:"start"` // in clock ticks since the boot
}

// thisProcess returns the process that runs.
func thisProcess() Process { return processIn("/proc", os.Getpid()) }

// processIn returns the process pid, the one that asks, as the proc file system at
// root has it. One of another PID namespace, which a container may have mounted,
// has somebody else under that number.
func processIn(root string, pid int) Process {
	if self, err := os.Readlink(root + "/self"); err != nil || self != strconv.Itoa(pid) {
		return Process{}
	}
	boot, errBoot := os.ReadFile(root + "/sys/kernel/random/boot_id")
	host, errHost := os.Hostname()
	namespace, errSpace := os.Readlink(root + "/self/ns/pid")
	_, start, errStart := stat(root, pid)
	if errors.Join(errBoot, errHost, errSpace, errStart) != nil {
		return Process{}
	}
	clock, _ := os.Readlink(root + "/self/ns/time") // since Linux 5.6
	return Process{Boot: strings.TrimSpace(string(boot)), Host: host, Namespace: namespace, Time: clock, PID: pid, Start: start}
}

// near reports whether this process sees p under the PID and the start that p has:
// all else is the same.
func (p Process) near() bool {
	this := thisProcess()
	this.PID, this.Start = p.PID, p.Start
	return p.Boot != "" && p == this
}

// patience is how long to wait for a word of Consul about a lock that p holds,
// before looking at p again.
func (p Process) patience() time.Duration {
	if p.near() {
		return time.Second
	}
	return watchTime
}

// ended reports whether p is known to be no more. Of a process of another
// machine, boot or container nothing is known.
func (p Process) ended() bool {
	if !p.near() {
		return false
	}
	state, start, err := stat("/proc", p.PID)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// Some machines hide the processes of other users there.
		return errors.Is(syscall.Kill(p.PID, 0), syscall.ESRCH)
	case err != nil:
		return false
	default:
		return start != p.Start || state == "Z" || state == "X" // dead, and not yet waited for
	}
}

// stat returns the state of a process below root and when it started (proc(5),
// /proc/pid/stat: fields 3 and 22; field 2 is a name in parentheses that may hold
// anything).
func stat(root string, pid int) (state, start string, err error) {
	text, err := os.ReadFile(root + "/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", "", err
	}
	_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return "", "", errors.New("/proc/pid/stat is not as proc(5) says")
	}
	return fields[0], fields[19], nil
}
