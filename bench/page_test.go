package bench

import (
	"math"
	"strings"
	"testing"
)

func TestAMedianIsBetweenTheTwoInTheMiddle(t *testing.T) {
	for want, s := range map[float64]Series{2: {3, 1, 2}, 2.5: {4, 1, 3, 2}, 7: {7}} {
		if got := s.Median(); got != want {
			t.Errorf("%v: %v instead of %v", s, got, want)
		}
	}
	if got := (Series{5, 1, 4, 2, 3}).Millis(); got != "3000 ms (2000–4000)" {
		t.Error(got)
	}
	if got := (Series{15.16}).Millis(); got != "15.2 s" {
		t.Error(got)
	}
	if !math.IsNaN(Series{}.Median()) || (Series{}).Millis() != "–" || Ratio(Series{1}, Series{}) != "–" {
		t.Error("nothing measured is no number")
	}
}

func TestAReasonIsShownOnlyWhereAGoalIsShort(t *testing.T) {
	const page = "Why.\n\n## floor\nBecause\nit is so.\n\n## other\nNo.\n"
	if got := reasonOf(page, "floor"); got != "Because it is so." {
		t.Error(got)
	}
	if got := reasonOf(page, "fl"); got != "no reason is known yet" {
		t.Error(got)
	}
	for want, g := range map[string]Goal{
		"reached":                {Key: "floor", Limit: 1.3, Got: 1.3, Unit: "×"},
		"short by 0.65 × (50 %)": {Key: "floor", Limit: 1.3, Got: 1.95, Unit: "×"},
		"not measured":           {Key: "floor", Limit: 1.3, Got: math.NaN(), Unit: "×"},
	} {
		if got, reason := g.verdict(); got != want || (reason != "") != strings.HasPrefix(want, "short") {
			t.Errorf("%+v: %q, %q", g, got, reason)
		}
	}
}

func TestAPageHasItsSectionsInOrder(t *testing.T) {
	table := Table{Head: []string{"", "bg"}}
	table.Add("wall", "1 ms")
	page := Page{Sections: []Section{{Title: "10. B", Tables: []Table{table}}, {Title: "9. A"}}}.Markdown()
	if !strings.Contains(page, "|      | bg   |\n|------|------|\n| wall | 1 ms |\n") || strings.Index(page, "## 9. A") > strings.Index(page, "## 10. B") {
		t.Error(page)
	}
}
