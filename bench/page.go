package bench

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Table is a table of a page.
type Table struct {
	Head []string
	Rows [][]string
}

// Add adds a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Section is what one part of the benchmarks found.
type Section struct {
	Title  string // begins with its number
	Text   string
	Tables []Table
}

// Page is RESULTS.md.
type Page struct {
	Facts    Table // of the machine
	Goals    []Goal
	Sections []Section
}

// Markdown writes the page.
func (p Page) Markdown() string {
	var b strings.Builder
	b.WriteString("# Benchmarks\n\n`make bench` measures all of this anew and writes this page. `make bench BENCH='Deploy|Color'` shows some parts and leaves\nit as it is.\n\n" + intro + "\n")
	p.Facts.write(&b)
	b.WriteString(p.Tables())
	return b.String()
}

// Tables writes what was found, without the page's head.
func (p Page) Tables() string {
	var b strings.Builder
	if len(p.Goals) > 0 {
		b.WriteString("\n## Goals\n\n")
		goals := goalsTable(p.Goals)
		goals.write(&b)
	}
	slices.SortFunc(p.Sections, func(a, b Section) int { return a.number() - b.number() })
	for _, s := range p.Sections {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", s.Title, strings.TrimSpace(s.Text))
		for _, t := range s.Tables {
			b.WriteString("\n")
			t.write(&b)
		}
	}
	return b.String()
}

const intro = `Everything below was measured in one run on one machine, on real Docker, Consul and nginx. What is compared takes turns
(A B C A B C …), after a round that does not count. A cell is the median, with the quartiles in parentheses; *×* is the
ratio of two medians. Nothing here passes or fails by time; a run fails when a deployment does not end with 0, the
wrong color answers, or a request fails that bg should not have lost.
`

// write writes the table in columns, so that it can be read as it is.
func (t *Table) write(b *strings.Builder) {
	width := make([]int, len(t.Head))
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	line := func(cells []string) {
		b.WriteString("|")
		for i, w := range width {
			cell := ""
			if i < len(cells) {
				cell = cells[i]
			}
			fmt.Fprintf(b, " %s%s |", cell, strings.Repeat(" ", w-len([]rune(cell))))
		}
		b.WriteString("\n")
	}
	line(t.Head)
	rule := make([]string, len(width))
	for i, w := range width {
		rule[i] = strings.Repeat("-", max(w, 1))
	}
	b.WriteString("|")
	for _, r := range rule {
		b.WriteString("-" + r + "-|")
	}
	b.WriteString("\n")
	for _, row := range t.Rows {
		line(row)
	}
}

// number is the one that the title begins with, 0 without one.
func (s Section) number() int {
	digits, _, _ := strings.Cut(s.Title, ".")
	number, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return number
}
