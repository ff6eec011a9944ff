//go:build faults

package e2e

import (
	"flag"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"
)

// The flags of the matrix, beside -parallel, which says how many cells run at a
// time.
var (
	cellFlag    = flag.String("cells", "", "run only the cells whose group and name match this `expression`")
	resultsFlag = flag.String("results", "", "add the rows to this JSON `file`")
	reportFlag  = flag.String("report", "", "write the table of all results to this Markdown `file`")
)

// cell is one fault at one instant, and what has to come of it.
type cell struct {
	group, name string
	dataPath    string                   // why clients may see errors; "" when they must see none
	nginx       []string                 // more of docker run for nginx
	site        func(t *testing.T) *site // nil: what all share
	engine      []string                 // arguments of a Docker daemon of its own; nil: the machine's
	fresh       bool                     // the service was never deployed before
	run         func(f *faulty)
}

// short are the cells of the short form, one for each kind of recovery.
var short = []string{
	"SIGKILL: in start, then deploy", "SIGKILL: in switch, files written, then deploy", "SIGKILL: in switch, files written, then abort",
	"SIGKILL: after posttest, then resume", "SIGTERM: in switch, files written", "lock lost: before commit",
	"new container killed: between pretest and switch",
}

// TestFaults lets bg, and what it works with, come to harm at every instant of a
// deployment under load.
func TestFaults(t *testing.T) {
	wanted := regexp.MustCompile(*cellFlag).MatchString
	if testing.Short() {
		wanted = func(name string) bool { return slices.Contains(short, name) }
	}
	found := 0
	m := &matrix{}
	t.Cleanup(func() { m.finish(t) })
	onEngines := map[string][]cell{}
	for _, c := range cells() {
		name := c.group + ": " + c.name
		if !wanted(name) {
			continue
		}
		found++
		switch {
		case c.engine != nil:
			onEngines[c.group] = append(onEngines[c.group], c)
		default:
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				m.cell(t, c)
			})
		}
	}
	if found == 0 || testing.Short() && found != len(short) {
		t.Errorf("%d cells have such a name", found)
	}
	for group, list := range onEngines {
		t.Run(group, func(t *testing.T) {
			t.Parallel()
			m.onEngine(t, list)
		})
	}
}

// cell runs one cell and keeps its row.
func (m *matrix) cell(t *testing.T, c cell) {
	r := m.add(c)
	started := time.Now()
	defer func() {
		r.Seconds = time.Since(started).Seconds()
		r.Passed = !t.Failed()
		if err := m.keep(r); err != nil {
			t.Error(err)
		}
	}()
	shared, parts := &stack, (*site)(nil)
	if c.site != nil {
		parts = c.site(t)
		shared = &parts.Stack
	}
	f := &faulty{world: newWorldOf(t, shared), parts: parts, row: r}
	f.prepare(c)
	if !c.fresh {
		f.deploy("--tag", "1.0")
		f.begin()
	}
	c.run(f)
	if f.load != nil {
		f.end()
	}
}

// cells returns the whole matrix.
func cells() []cell {
	var all []cell
	for _, group := range []func() []cell{killCells, firstCells, rollbackCells, undoCells, exposeCells, recoveryCells, termCells, lockCells, clockCells,
		containerCells, nginxCells, diskCells, imageCells, registratorCells, consulCells, dockerCells, raceCells} {
		all = append(all, group()...)
	}
	return all
}

func TestTheRealProgramCarriesNoFaults(t *testing.T) {
	for name, want := range map[string]bool{"bg": false, "bg-faults": true} {
		text, err := os.ReadFile(root + "/bin/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if got := regexp.MustCompile("BG_FAULT_CLOCK").Match(text); got != want {
			t.Errorf("bin/%s knows the matrix's variables: %v", name, got)
		}
	}
}
