package report

import (
	"path/filepath"
	"testing"

	"bg/internal/browser"
)

func TestInABrowserTheReportShowsItsChartsAndLoadsNothing(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out.html")
	if err := WriteFile(name, deployment(), "1.2.3", began); err != nil {
		t.Fatal(err)
	}
	p := browser.Open(t)
	p.Visit("file://" + name)
	p.Shows("books-ms", "2 of 80 probes failed", "Latency in ms", "undo start", "last <words>")
	if n := browser.Script[int](p, `document.querySelectorAll("figure svg").length`); n != 3 {
		t.Errorf("%d charts", n)
	}
	// The browser understands the variables that the charts are painted with.
	painted := browser.Script[string](p, `getComputedStyle([...document.querySelectorAll("#answers path")].find(e => e.getAttribute("style").includes("--green"))).stroke`)
	if wanted := browser.Script[string](p, `getComputedStyle(document.querySelector("h1 .green")).color`); painted != wanted {
		t.Errorf("green is painted as %s instead of %s", painted, wanted)
	}
	if n := browser.Script[int](p, `performance.getEntriesByType("resource").length`); n != 0 {
		t.Errorf("%d other files were loaded", n)
	}
}
