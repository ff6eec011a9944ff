//go:build faults

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// row is what came of one cell.
type row struct {
	Group, Name string
	DataPath    string
	Codes       string // what each bg ended with
	Live        string
	Left        string // what was not as it has to be
	Requests    int
	Failed      int
	Seconds     float64
	Passed      bool
}

// matrix collects the rows of a run.
type matrix struct {
	mu   sync.Mutex
	rows []*row
}

func (m *matrix) add(c cell) *row {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &row{Group: c.group, Name: c.name, DataPath: c.dataPath}
	m.rows = append(m.rows, r)
	return r
}

// finish shows the table of this run, and writes that of all cells where the
// flags say.
func (m *matrix) finish(t *testing.T) {
	m.inOrder()
	fmt.Printf("%s\n\n%s\n", m.summary(), m.table())
	if *reportFlag == "" {
		return
	}
	if err := m.publish(); err != nil {
		t.Fatal(err)
	}
}

// keep adds a row to the file of all, which other runs may have begun: of two rows
// of one cell, the later one counts.
func (m *matrix) keep(r *row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if *resultsFlag == "" {
		return nil
	}
	kept, err := rowsOf(*resultsFlag)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(append(kept, r), "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(*resultsFlag, text, 0o600)
}

func rowsOf(file string) ([]*row, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var rows []*row
	err = json.Unmarshal(text, &rows)
	return rows, err
}

// publish writes the page of all rows that were kept.
func (m *matrix) publish() error {
	all, err := rowsOf(*resultsFlag)
	if err != nil {
		return err
	}
	m.rows = all
	m.inOrder()
	page, err := os.ReadFile(*reportFlag)
	if err == nil {
		page, err = replaced(page, m.summary()+"\n\n"+m.table())
	}
	if err != nil {
		return err
	}
	return os.WriteFile(*reportFlag, page, 0o644) //nolint:gosec // it is a page that everybody may read
}

// The table stands between these lines of the page.
const begin, end = "<!-- table -->\n", "<!-- end of the table -->\n"

// replaced returns the page with another table.
func replaced(page []byte, table string) ([]byte, error) {
	before, rest, found := strings.Cut(string(page), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return nil, fmt.Errorf("the page has no lines %q and %q", begin, end)
	}
	return []byte(before + begin + "\n" + table + "\n" + end + after), nil
}

// inOrder sorts the rows as the matrix lists its cells, whichever ended first.
func (m *matrix) inOrder() {
	byName := map[string]*row{}
	for _, r := range m.rows {
		byName[r.Group+r.Name] = r
	}
	m.rows = m.rows[:0]
	for _, c := range cells() {
		if r := byName[c.group+c.name]; r != nil {
			m.rows = append(m.rows, r)
		}
	}
}

// summary says in a few lines what the table shows.
func (m *matrix) summary() string {
	var passed, clean, outside, requests, failed int
	var took float64
	for _, r := range m.rows {
		requests, failed, took = requests+r.Requests, failed+r.Failed, took+r.Seconds
		if r.Passed {
			passed++
		}
		if r.DataPath != "" {
			continue
		}
		outside++
		if r.Failed == 0 {
			clean++
		}
	}
	return fmt.Sprintf("%d of %d cells, %d passed (%s, %d processors; %.0f minutes, had they run one by one). %d requests were sent. "+
		"Of the %d cells whose fault is not in the data path, %d had no client error; the %d requests that failed are in the table.",
		len(m.rows), len(cells()), passed, time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), took/60, requests, outside, clean, failed)
}

// table returns a Markdown table for each group.
func (m *matrix) table() string {
	var b strings.Builder
	group := ""
	for _, r := range m.rows {
		if r.Group != group {
			group = r.Group
			fmt.Fprintf(&b, "\n### %s\n\n| cell | exit codes | live then | requests | failed | left behind | s |\n|---|---|---|---|---|---|---|\n", group)
		}
		failed, left := fmt.Sprint(r.Failed), cmpOr(r.Left, "nothing")
		if r.DataPath != "" {
			failed += " (data path: " + r.DataPath + ")"
		}
		if !r.Passed {
			left = "**not as expected**: " + left
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %s | %s | %.1f |\n", r.Name, r.Codes, r.Live, r.Requests, failed, left, r.Seconds)
	}
	return strings.TrimSpace(b.String())
}
