package bench

import (
	_ "embed" // reasons.md
	"fmt"
	"math"
	"strings"
)

//go:embed reasons.md
var reasons string

// Goal is an upper limit of something that was measured.
type Goal struct {
	Key   string // under which reasons.md says why it is not reached
	Words string
	Limit float64
	Got   float64
	Unit  string
}

// Reached reports whether the measurement keeps the limit.
func (g Goal) Reached() bool { return g.Got <= g.Limit }

// verdict says how a goal stands, with the reason when it is short.
func (g Goal) verdict() (stands, reason string) {
	switch {
	case math.IsNaN(g.Got):
		return "not measured", ""
	case g.Reached():
		return "reached", ""
	}
	return fmt.Sprintf("short by %s %s (%.0f %%)", number(g.Got-g.Limit), g.Unit, 100*(g.Got/g.Limit-1)), reasonOf(reasons, g.Key)
}

// reasonOf returns the text under "## key", in one line.
func reasonOf(page, key string) string {
	_, text, found := strings.Cut("\n"+page, "\n## "+key+"\n")
	if !found {
		return "no reason is known yet"
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return strings.Join(strings.Fields(text), " ")
}

// goalsTable lists goals.
func goalsTable(goals []Goal) Table {
	t := Table{Head: []string{"goal", "at most", "measured", "", "reason"}}
	for _, g := range goals {
		stands, reason := g.verdict()
		t.Add(g.Words, number(g.Limit)+" "+g.Unit, number(g.Got)+" "+g.Unit, stands, reason)
	}
	return t
}
