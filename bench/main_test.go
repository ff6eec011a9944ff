//go:build bench

package bench

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"bg/internal/stacktest"
)

var (
	rounds  = flag.Int("rounds", 10, "how often each thing is measured, after a round that does not count")
	most    = flag.Int("most", 500, "instances of a color, at most")
	results = flag.String("results", "", "the page to write; none: it is only shown")

	root  = absolute("..")
	stack = stacktest.New(root, filepath.Join(root, "bin", "bg"), "bgbench-")
	found page
)

// page collects what the parts of a run find.
type page struct {
	mu sync.Mutex
	Page
}

// add adds what a part found, and shows it.
func (p *page) add(s Section, goals ...Goal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Sections, p.Goals = append(p.Sections, s), append(p.Goals, goals...)
	fmt.Print(Page{Sections: []Section{s}, Goals: goals}.Tables())
}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	defer func() {
		if err := stack.Down(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	var err error
	if err = stack.Up(); err == nil {
		found.Facts, err = machine()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the stack of the benchmarks:", err)
		return 1
	}
	code := m.Run()
	if code != 0 {
		found.Facts.Add("this run", "FAILED: what is not below did")
	}
	if *results == "" {
		return code
	}
	if err := os.WriteFile(*results, []byte(found.Markdown()), 0o644); err != nil { //nolint:gosec // it is a page that everybody may read
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func absolute(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		panic(err)
	}
	return abs
}
