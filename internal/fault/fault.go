//go:build faults

// Package fault marks the instants at which the fault matrix lets bg come to
// harm. Only builds with the tag faults know how to; in all others its functions
// are empty and compiled away.
package fault

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Variable says what happens where: an action, the point's two words, and which
// visit to it is meant when that is not the first, as in kill:in:switch#2. The
// actions are kill and term, which send bg that signal, and hold, which makes
// Reached in the folder that FolderVariable names and waits for Go there.
const Variable = "BG_FAULT"

// ClockVariable moves the clock of bg, as in -1h.
const ClockVariable = "BG_FAULT_CLOCK"

// FolderVariable is where hold leaves Reached, and waits for Go.
const FolderVariable = "BG_FAULT_DIR"

// The files of a hold.
const (
	Reached = "reached"
	Go      = "go"
)

// visits counts how often each point was come by.
var visits = struct {
	sync.Mutex
	of map[string]int
}{of: map[string]int{}}

// Point is an instant, such as ("before", "switch"). It does what Variable says
// for it.
func Point(when, what string) {
	action, at, _ := strings.Cut(os.Getenv(Variable), ":")
	point, number, _ := strings.Cut(at, "#")
	if point != when+":"+what {
		return
	}
	wanted, err := strconv.Atoi(number)
	if err != nil {
		wanted = 1
	}
	visits.Lock()
	visits.of[point]++
	now := visits.of[point]
	visits.Unlock()
	if now != wanted {
		return
	}
	if err := do(action); err != nil {
		// A matrix whose faults do not happen proves nothing.
		panic(fmt.Sprintf("%s=%s: %v", Variable, os.Getenv(Variable), err))
	}
}

// heard is closed by Heard.
var heard = make(chan struct{})

// Heard is called once, when bg has made of a signal what it makes of it: a point
// that sends one goes on then.
func Heard() { close(heard) }

func do(action string) error {
	switch action {
	case "kill":
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			return err
		}
		select {} // it comes
	case "term":
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			return err
		}
		<-heard
		return nil
	case "hold":
		return hold(os.Getenv(FolderVariable))
	}
	return fmt.Errorf("no such action: %q", action)
}

// hold waits until somebody else did what is to be done at this point.
func hold(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, Reached), nil, 0o600); err != nil {
		return err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, Go)); err == nil {
			return nil
		}
		time.Sleep(5 * time.Millisecond) // a file announces nothing
	}
}

// Now is time.Now of a clock that ClockVariable moves.
func Now() time.Time {
	moved, err := time.ParseDuration(os.Getenv(ClockVariable))
	if err != nil {
		return time.Now()
	}
	return time.Now().Add(moved)
}
