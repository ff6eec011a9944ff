package report

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/go-analyze/charts"

	"bg/color"
	"bg/probe"
)

// The library paints with fixed colors, and a page is light or dark as its reader
// likes. So it paints with these, which stand for the variables of the page's
// style sheet.
var paints = []struct {
	color    charts.Color
	variable string
}{
	{charts.ColorRGB(1, 2, 3), "var(--text)"},
	{charts.ColorRGB(1, 2, 4), "var(--line)"},
	{charts.ColorRGB(1, 2, 5), "var(--page)"},
	{charts.ColorRGB(1, 2, 6), "var(--blue)"},
	{charts.ColorRGB(1, 2, 7), "var(--green)"},
	{charts.ColorRGB(1, 2, 8), "var(--other)"},
	{charts.ColorRGB(1, 2, 9), "var(--bad)"},
}

const (
	text  = 0
	line  = 1
	page  = 2
	blue  = 3
	green = 4
	other = 5
	bad   = 6
)

// curve is one line of a chart.
type curve struct {
	name   string
	paint  int // of paints
	values []float64
}

// chart is a picture with its heading.
type chart struct {
	ID, Title string
	SVG       template.HTML
}

// draw makes the charts of what clients saw.
func draw(p *probe.Report) ([]chart, error) {
	if p == nil || len(p.Series) < 2 {
		return nil, nil
	}
	width := slot(p.Series)
	names := make([]string, len(p.Series))
	curves := map[string][]float64{}
	for i, s := range p.Series {
		names[i] = fmt.Sprintf("%.1f s", s.At.Seconds())
		for name, value := range map[string]float64{
			"blue": rate(s.Colors[color.Blue], width), "green": rate(s.Colors[color.Green], width), "other": rate(s.Other, width), "failed": rate(s.Failed, width),
			"mean": milliseconds(s.Mean), "slowest": milliseconds(s.Slowest),
		} {
			curves[name] = append(curves[name], value)
		}
	}
	answers := []curve{{"blue", blue, curves["blue"]}, {"green", green, curves["green"]}}
	if has(curves["other"]) {
		answers = append(answers, curve{"without a color", other, curves["other"]})
	}
	var all []chart
	for _, each := range []struct {
		id, title string
		curves    []curve
	}{
		{"answers", "Requests per second, by the color that answered", answers},
		{"failures", "Failed requests per second", []curve{{"failed", bad, curves["failed"]}}},
		{"latency", "Latency in ms", []curve{{"mean", other, curves["mean"]}, {"slowest", bad, curves["slowest"]}}},
	} {
		svg, err := lines(names, each.curves)
		if err != nil {
			return nil, fmt.Errorf("draw %s: %w", each.id, err)
		}
		all = append(all, chart{ID: each.id, Title: each.title, SVG: svg})
	}
	return all, nil
}

// slot returns how long each slot of a series is.
func slot(series []probe.Slot) time.Duration {
	width := series[1].At - series[0].At
	for i := 1; i < len(series); i++ {
		width = min(width, series[i].At-series[i-1].At)
	}
	return max(width, time.Millisecond)
}

func rate(n int, width time.Duration) float64 { return float64(n) / width.Seconds() }

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func has(values []float64) bool {
	for _, v := range values {
		if v > 0 {
			return true
		}
	}
	return false
}

// lines draws curves over the named points as SVG that takes the page's colors.
func lines(names []string, curves []curve) (template.HTML, error) {
	var series charts.LineSeriesList
	var palette []charts.Color
	var legend []string
	for _, c := range curves {
		series = append(series, charts.LineSeries{Name: c.name, Values: c.values})
		legend = append(legend, c.name)
		palette = append(palette, paints[c.paint].color)
	}
	painter := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: 900, Height: 220})
	option := charts.NewLineChartOptionWithSeries(series)
	option.Theme = charts.MakeTheme(charts.ThemeOption{
		AxisStrokeColor: paints[line].color, AxisSplitLineColor: paints[line].color, BackgroundColor: paints[page].color,
		TextColor: paints[text].color, SeriesColors: palette,
	})
	option.XAxis.Labels, option.LineStrokeWidth, option.Symbol = names, 2, charts.Symbol{Shape: charts.SymbolNone}
	option.XAxis.LabelCount = 10
	zero := 0.0
	option.YAxis = []charts.YAxisOption{{Min: &zero}}
	option.Legend.SeriesNames = legend
	if err := painter.LineChart(option); err != nil {
		return "", err
	}
	svg, err := painter.Bytes()
	if err != nil {
		return "", err
	}
	return themed(string(svg)), nil
}

// themed puts the page's variables in the place of the paints.
func themed(svg string) template.HTML {
	for _, p := range paints {
		svg = strings.ReplaceAll(svg, fmt.Sprintf("rgb(%d,%d,%d)", p.color.R, p.color.G, p.color.B), p.variable)
	}
	return template.HTML(svg) //nolint:gosec // made here, of numbers and of names that are not from outside
}
