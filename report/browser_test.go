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

// contrasts is the contrast of each kind of text with what is behind it, as WCAG 2
// counts it: https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio. A chart's text is
// painted by fill.
const contrasts = `(() => {
	const light = color => {
		const [r, g, b] = color.match(/[\d.]+/g).slice(0, 3).map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		return 0.2126 * r + 0.7152 * g + 0.0722 * b
	}
	const page = light(getComputedStyle(document.body).backgroundColor)
	const found = {page: page}
	for (const [name, selector, paint] of [["text", "h1", "color"], ["soft", ".soft", "color"], ["bad", ".bad", "color"], ["blue", "h1 .blue", "color"],
			["green", "h1 .green", "color"], ["chart", "figure svg text", "fill"], ["curve", '#answers path[style*="--green"]', "stroke"]]) {
		const it = light(getComputedStyle(document.querySelector(selector))[paint])
		found[name] = (Math.max(it, page) + 0.05) / (Math.min(it, page) + 0.05)
	}
	return found
})()`

func TestInABrowserTheReportCanBeReadInTheLightAndInTheDark(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out.html")
	if err := WriteFile(name, deployment(), "1.2.3", began); err != nil {
		t.Fatal(err)
	}
	p := browser.Open(t)
	p.Visit("file://" + name)
	for scheme, dark := range map[string]bool{"light": false, "dark": true} {
		p.Prefers(scheme)
		found := browser.Script[map[string]float64](p, contrasts)
		t.Logf("%s: %v", scheme, found)
		if is := found["page"] < 0.05; is != dark {
			t.Errorf("%s: the page has the luminance %.2f", scheme, found["page"])
		}
		delete(found, "page")
		for kind, contrast := range found {
			if contrast < 4.5 {
				t.Errorf("%s: the contrast of %s is %.1f", scheme, kind, contrast)
			}
		}
	}
}
