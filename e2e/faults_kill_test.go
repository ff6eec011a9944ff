//go:build faults

package e2e

import (
	"net/http"
	"slices"
	"strings"
)

// point is an instant of a deployment: the fault package's name of it, and the
// step that it belongs to.
type point struct {
	at, name, step string
	committed      bool // Consul has the new color by then
}

// points are before, in and after each step. Tests share a point, so that the
// third visit to it is that of the first post test.
var points = []point{
	{"before:start", "before start", "start", false}, {"in:start", "in start", "start", false}, {"after:start", "after start", "start", false},
	{"before:register", "before register", "register", false}, {"in:register", "in register", "register", false}, {"after:register", "after register", "register", false},
	{"before:pretest", "before pretest", "pretest", false}, {"in:tests", "in pretest", "pretest", false}, {"after:pretest", "after pretest", "pretest", false},
	{"before:switch", "before switch", "switch", false}, {"in:switch", "in switch, files written", "switch", false}, {"reload:switch", "in switch, nginx reloaded", "switch", false}, {"after:switch", "after switch", "switch", false},
	{"before:posttest", "before posttest", "posttest", false}, {"in:tests#3", "in posttest", "posttest", false}, {"after:posttest", "after posttest", "posttest", false},
	{"before:commit", "before commit", "commit", false}, {"in:commit", "in commit", "commit", true}, {"after:commit", "after commit", "commit", true},
	{"before:drain", "before drain", "drain", true}, {"in:drain", "in drain", "drain", true}, {"after:drain", "after drain", "drain", true},
	{"before:stop", "before stop", "stop", true}, {"in:stop", "in stop", "stop", true}, {"after:stop", "after stop", "stop", true},
}

// recovery is what a person, or the next build, does after bg was killed.
type recovery string

const (
	resume recovery = "resume"
	abort  recovery = "abort"
	again  recovery = "deploy"
)

var recoveries = []recovery{resume, abort, again}

// codes of bg.
const (
	done        = 0
	usage       = 2
	held        = 3
	undoFailed  = 20
	interrupted = 130
)

// recover takes up what was killed, and returns the color that has to be live.
// The colors are the one before the deployment and the one that it brings.
func (f *faulty) recover(r recovery, committed bool, from, to string) string {
	f.Helper()
	switch {
	case r == resume:
		f.must([]int{done}, "resume", f.service)
		return to
	case r == abort && committed:
		// What is live is not undone: bg says so, and the rest is to be finished.
		f.must([]int{usage}, "abort", f.service)
		f.must([]int{done}, "resume", f.service)
		return to
	case r == abort:
		f.must([]int{done}, "abort", f.service)
		return from
	case committed:
		f.deployed()
		return cmpOr(from, other(to))
	default:
		f.deployed()
		return to
	}
}

// deployed deploys the next version and asks that it is the one that answers.
func (f *faulty) deployed() {
	f.Helper()
	f.must([]int{done}, "deploy", f.service, "--tag", "2.0")
	if _, header, err := f.get("/ping"); err != nil || header.Get("X-Version") != "2.0" {
		f.Errorf("version %q answers instead of 2.0 (%v)", header.Get("X-Version"), err)
	}
}

func other(color string) string {
	return map[string]string{"blue": "green", "green": "blue"}[color]
}

// killCells kill bg at each point of a deployment, and recover in each way.
func killCells() []cell {
	var all []cell
	for _, p := range points {
		for _, r := range recoveries {
			all = append(all, cell{group: "SIGKILL", name: p.name + ", then " + string(r), run: func(f *faulty) {
				f.killed(p.at, "deploy", f.service)
				if f.over() && r != again {
					f.nothingToDo(r)
					f.whole("green")
					return
				}
				f.whole(f.recover(r, p.committed, "blue", "green"))
			}})
		}
	}
	return append(all, cell{group: "SIGKILL", name: "after the lock was taken, then deploy", run: func(f *faulty) {
		f.killed("after:lock", "deploy", f.service)
		f.deployed()
		f.whole("green")
	}})
}

// over reports whether the newest deployment left nothing open: it is done, and
// the old color does not run.
func (f *faulty) over() bool {
	return f.newest().Outcome == "done" && !strings.Contains(f.containers(), "-app-blue-1 running")
}

// nothingToDo asks for a recovery where there is nothing to recover.
func (f *faulty) nothingToDo(r recovery) {
	f.Helper()
	f.must([]int{done, usage}, string(r), f.service)
}

// firstCells kill the first deployment of a service: there is no color to go back
// to, nginx had no files of it, and no client can send requests yet.
func firstCells() []cell {
	var all []cell
	add := func(at, name string) {
		for _, r := range recoveries {
			all = append(all, cell{group: "SIGKILL in a first deployment", name: name + ", then " + string(r), fresh: true, run: func(f *faulty) {
				f.killed(at, "deploy", f.service)
				f.whole(f.recover(r, false, "", "blue"))
			}})
		}
	}
	add("in:start", "in start")
	add("before:switch", "before switch")
	add("write:switch", "in switch, one of two files written")
	add("in:switch", "in switch, both files written")
	add("reload:switch", "in switch, nginx reloaded")
	add("before:commit", "before commit")
	return all
}

// rollbackCells kill a rollback: its containers are kept ones, which are never
// removed.
func rollbackCells() []cell {
	var all []cell
	for _, p := range points {
		if !slices.Contains([]string{"after:start", "in:register", "in:switch", "after:switch", "before:commit", "in:stop"}, p.at) {
			continue
		}
		for _, r := range recoveries {
			all = append(all, cell{group: "SIGKILL in a rollback", name: p.name + ", then " + string(r), run: func(f *faulty) {
				f.deployed()
				f.killed(p.at, "rollback", f.service)
				f.whole(f.recover(r, p.committed, "green", "blue"))
			}})
		}
	}
	return all
}

// undoCells kill bg while it undoes a deployment whose post tests failed.
func undoCells() []cell {
	var all []cell
	for _, at := range []struct{ at, name string }{
		{"before:undo-switch", "before nginx is switched back"}, {"in:switch#2", "the old files written, nginx not reloaded"},
		{"reload:switch#2", "nginx reloaded"}, {"in:undo-switch", "before the drain"}, {"after:undo-switch", "nginx is switched back"},
		{"before:undo-start", "before the new color is removed"}, {"in:undo-start", "the new color stopped, not removed"}, {"after:undo-start", "the new color removed"},
	} {
		for _, r := range recoveries {
			all = append(all, cell{group: "SIGKILL in the undo of failed post tests", name: at.name + ", then " + string(r), run: func(f *faulty) {
				f.file("bg.yml", failingSettings)
				f.killed(at.at, "deploy", f.service)
				f.file("bg.yml", faultSettings)
				f.whole(f.recoverUndo(r))
			}})
		}
	}
	return all
}

// recoverUndo recovers from a kill in an undo: that can only be gone on with.
func (f *faulty) recoverUndo(r recovery) string {
	f.Helper()
	switch r {
	case resume:
		f.must([]int{usage}, "resume", f.service)
		f.must([]int{done}, "abort", f.service)
		return "blue"
	case abort:
		f.must([]int{done}, "abort", f.service)
		return "blue"
	default:
		f.deployed()
		return "green"
	}
}

// exposeCells kill bg while it exposes a color that is held, and while that is taken
// back. nginx may send to the color then, though it is not live.
func exposeCells() []cell {
	const group = "SIGKILL while a held color is exposed"
	hold := func(f *faulty) []string {
		f.Helper()
		f.shipped()
		f.deploy("--tag", "1.0")
		f.begin()
		return []string{"deploy", f.service, "--hold"}
	}
	var all []cell
	for _, at := range []struct{ at, name string }{
		{"in:switch", "its file written, nginx not reloaded"}, {"reload:switch", "nginx reloaded"}, {"after:expose", "exposed, and not paused"},
	} {
		for _, r := range recoveries {
			all = append(all, cell{group: group, name: at.name + ", then " + string(r), fresh: true, run: func(f *faulty) {
				f.killed(at.at, hold(f)...)
				f.whole(f.recover(r, false, "blue", "green"))
			}})
		}
	}
	for _, at := range []struct{ at, name string }{
		{"in:switch", "the abort, the old file written"}, {"in:undo-switch", "the abort before its drain"}, {"in:undo-start", "the abort, the color stopped"},
	} {
		all = append(all, cell{group: group, name: at.name + ", then abort", fresh: true, run: func(f *faulty) {
			f.must([]int{done}, hold(f)...)
			f.killed(at.at, "abort", f.service)
			f.whole(f.recoverUndo(abort))
		}})
	}
	return all
}

// recoveryCells kill bg, then kill what was to recover from that, then recover.
func recoveryCells() []cell {
	var all []cell
	for _, at := range []struct {
		first, second, name string
		by                  recovery
		committed           bool
	}{
		{"in:register", "in:switch", "the resume in its switch", resume, false},
		{"after:switch", "in:tests", "the resume in its post tests", resume, false},
		{"after:posttest", "in:commit", "the resume in its commit", resume, true},
		{"in:switch", "before:commit", "the resume before its commit", resume, false},
		{"after:commit", "in:drain", "the resume in its drain", resume, true},
		{"before:stop", "in:stop", "the resume in its stop", resume, true},
		{"after:switch", "in:switch", "the abort, the old files written", abort, false},
		{"reload:switch", "in:undo-switch", "the abort before its drain", abort, false},
		{"before:posttest", "in:undo-start", "the abort, the new color stopped", abort, false},
		{"before:commit", "after:undo-switch", "the abort after its switch", abort, false},
		{"after:posttest", "in:switch", "the next deployment in its undo, the old files written", again, false},
		{"in:posttest", "in:undo-start", "the next deployment in its undo, the new color stopped", again, false},
	} {
		for _, r := range recoveries {
			all = append(all, cell{group: "SIGKILL in the recovery", name: at.name + ", then " + string(r), run: func(f *faulty) {
				first := strings.Replace(at.first, "in:posttest", "in:tests#3", 1)
				f.killed(first, "deploy", f.service)
				f.killed(at.second, string(at.by), f.service)
				if at.by == resume {
					f.whole(f.recover(r, at.committed, "blue", "green"))
				} else {
					f.whole(f.recoverUndo(r))
				}
			}})
		}
	}
	return all
}

// termCells interrupt bg at each point: before the commit it undoes all, after it
// the deployment has happened.
func termCells() []cell {
	var all []cell
	for _, p := range points {
		all = append(all, cell{group: "SIGTERM", name: p.name, run: func(f *faulty) {
			r := f.run("term:"+p.at, "deploy", f.service)
			if !p.committed {
				f.endsWith(r, interrupted)
				f.whole("blue")
				return
			}
			f.endsWith(r, done, interrupted)
			if !f.over() {
				f.must([]int{done}, "resume", f.service) // it says so, too
			}
			f.whole("green")
		}})
	}
	return all
}

// lockCells take the lock away: its session is destroyed, as Consul does with one
// that is not renewed in time.
func lockCells() []cell {
	var all []cell
	for _, p := range points {
		if strings.HasPrefix(p.at, "after:") {
			continue // it is the same as before the next step
		}
		all = append(all, cell{group: "lock lost", name: p.name, run: func(f *faulty) {
			r := f.at(p.at, f.loseLock, "deploy", f.service)
			if p.committed {
				f.endsWith(r, done)
				if !f.over() {
					f.must([]int{done}, "resume", f.service)
				}
				f.whole("green")
				return
			}
			f.endsWith(r, 11, 12, 13, 14, 15, 16)
			f.whole("blue")
		}})
	}
	return all
}

// loseLock destroys the session that holds the service.
func (f *faulty) loseLock() {
	f.Helper()
	_, after, found := strings.Cut(f.consul(http.MethodGet, "kv/"+f.service+"/lock", "").body, `"Session":"`)
	session, _, closed := strings.Cut(after, `"`)
	if !found || !closed {
		f.Fatal("nobody holds the service")
	}
	if a := f.consul(http.MethodPut, "session/destroy/"+session, ""); a.status != http.StatusOK {
		f.Fatalf("destroy the session: %d %s", a.status, a.body)
	}
}
