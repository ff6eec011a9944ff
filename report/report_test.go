package report

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"bg/color"
	"bg/deploy"
	"bg/probe"
)

var began = time.Date(2026, 11, 21, 1, 2, 3, 0, time.UTC)

func deployment() deploy.Deployment {
	ended := began.Add(4 * time.Second)
	p := &probe.Report{Path: "/ping", Rate: 20, Started: began, Ended: ended, Sent: 80, Failed: 2, Failures: []string{"2.000s switch: EOF"},
		Steps: []probe.Phase{{Step: "switch", Sent: 20, Failed: 2, Colors: map[color.Color]int{color.Blue: 8, color.Green: 10}, Median: 0.0012}}}
	for i := range 16 {
		s := probe.Slot{At: time.Duration(i) * 250 * time.Millisecond, Colors: map[color.Color]int{color.Blue: 5}, Mean: time.Millisecond, Slowest: 2 * time.Millisecond}
		if i > 8 {
			s.Colors = map[color.Color]int{color.Green: 5}
		}
		p.Series = append(p.Series, s)
	}
	return deploy.Deployment{
		ID: "20261121-010203-7f3a", Service: "books-ms", From: color.Blue, To: color.Green, Image: "books-ms:2.0", ImageID: "sha256:ab",
		By: deploy.Who{User: "jenkins", Host: "ci-1", Build: "https://ci.example/42"}, Started: began, Ended: &ended,
		Outcome: deploy.Failed, Reason: "posttest: <script>alert(1)</script>", Warnings: []string{"old nginx"}, Probe: p,
		Steps: []deploy.Record{
			{Step: deploy.Start, Color: color.Green, Cause: "green is free", Started: began, Duration: "1s", Observed: "started a"},
			{Step: deploy.Posttest, Color: color.Green, Started: began.Add(2 * time.Second), Duration: "1s", Error: "exit status 4", Output: "</pre><img src=x>"},
		},
		Undo:     []deploy.Record{{Step: deploy.Start, Color: color.Green, Started: began.Add(3 * time.Second), Duration: "500ms"}},
		Evidence: &deploy.Evidence{Logs: []deploy.ContainerLog{{Container: "a", Lines: []string{"last <words>"}}}},
	}
}

// written returns the page of d, and its elements.
func written(t *testing.T, d deploy.Deployment) (string, []*html.Node) {
	t.Helper()
	var page bytes.Buffer
	if err := Write(&page, d, "1.2.3", began); err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(bytes.NewReader(page.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	var all []*html.Node
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			all = append(all, n)
		}
	}
	return page.String(), all
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// inside returns the text of the element with that id.
func inside(all []*html.Node, id string) string {
	var b strings.Builder
	for _, n := range all {
		if attribute(n, "id") != id {
			continue
		}
		for below := range n.Descendants() {
			if below.Type == html.TextNode {
				b.WriteString(below.Data)
			}
		}
	}
	return b.String()
}

func TestThePageTellsTheWholeDeployment(t *testing.T) {
	_, all := written(t, deployment())
	for id, want := range map[string]string{
		"outcome": "failed", "reason": "posttest: <script>", "warnings": "old nginx", "timeline": "undo start", "plan": "green is free",
		"probe": "2 of 80 probes failed", "phases": "1.2 ms", "answers": "green", "failures": "failed", "latency": "slowest", "evidence": "last <words>",
	} {
		if got := inside(all, id); !strings.Contains(got, want) {
			t.Errorf("%s lacks %q: %s", id, want, got)
		}
	}
}

func TestThePageNeedsNothingElse(t *testing.T) {
	page, all := written(t, deployment())
	for _, n := range all {
		switch n.Data {
		case "script", "link", "img", "iframe", "object":
			t.Errorf("it has <%s>", n.Data)
		}
		for _, name := range []string{"src", "srcset", "onload", "onerror", "xlink:href"} {
			if v := attribute(n, name); v != "" {
				t.Errorf("<%s %s=%q>", n.Data, name, v)
			}
		}
	}
	if strings.Contains(page, "url(") || strings.Contains(page, "@import") {
		t.Error("its style sheet asks for something")
	}
}

func TestThePageIsLightOrDarkAsItsReaderLikes(t *testing.T) {
	page, all := written(t, deployment())
	if !strings.Contains(page, "@media (prefers-color-scheme: dark)") {
		t.Error("there is one color scheme")
	}
	painted := 0
	for _, n := range all {
		if style := attribute(n, "style"); n.Namespace == "svg" && style != "" {
			painted++
			if strings.Contains(style, "rgb(") {
				t.Errorf("a color of its own: %s", style)
			}
		}
	}
	if painted < 20 {
		t.Errorf("only %d parts of the charts are painted", painted)
	}
}

func TestTheTimelineIsInProportion(t *testing.T) {
	bars := timeline(deployment(), 4*time.Second)
	want := []bar{{Name: "start", Kind: "done", Left: 0, Width: 25}, {Name: "posttest", Kind: "failed", Left: 50, Width: 25}, {Name: "undo start", Kind: "undo", Left: 75, Width: 12.5}}
	for i, w := range want {
		if got := bars[i]; got.Name != w.Name || got.Kind != w.Kind || got.Left != w.Left || got.Width != w.Width {
			t.Errorf("got  %+v\nwant %+v", got, w)
		}
	}
}

func TestADeploymentOfWhichLittleIsKnownHasAPageToo(t *testing.T) {
	d := deploy.Deployment{ID: "a", Service: "b", Started: began, Outcome: deploy.Running, Steps: []deploy.Record{{Step: deploy.Start, Started: began}}}
	_, all := written(t, d)
	if got := inside(all, "probe"); !strings.Contains(got, "Nothing was asked") || !strings.Contains(inside(all, "timeline"), "start") {
		t.Errorf("probe: %s", got)
	}
}

func TestAFileIsWrittenAtOnce(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out.html")
	for range 2 {
		if err := WriteFile(name, deployment(), "1.2.3", began); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(name)
	if err != nil || !strings.HasSuffix(string(content), "</html>\n") {
		t.Errorf("%v: %.100s", err, content)
	}
	if left, err := os.ReadDir(filepath.Dir(name)); err != nil || len(left) != 1 {
		t.Errorf("beside it: %v, %v", left, err)
	}
	if err := WriteFile(filepath.Join(name, "x.html"), deployment(), "1.2.3", began); err == nil {
		t.Error("a folder that is none")
	}
}
