package document

import (
	"fmt"
	"html"
	"math"
	"os"
	"strings"

	"wsproxy/internal/bench/measure"
)

// A Panel is one diagram: lines over the same abscissa.
type Panel struct {
	Title string
	X     string // what the abscissa is
	Lines []Line
}

// A Line is one of a diagram. Its points are in the order of X.
type Line struct {
	Name string
	X, Y []float64
}

// Sizes in pixels of a panel, and of its margins.
const (
	panelWidth, panelHeight      = 720, 240
	left, right, top, bottom     = 76, 16, 34, 44
	plotWidth                    = panelWidth - left - right
	plotHeight                   = panelHeight - top - bottom
	ticks                        = 5
	characterWidth, legendMargin = 7, 24
)

// colours are readable on white and on black, and for those who don't tell red from
// green.
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7"}

// WriteSVG writes panels, one below the other.
func WriteSVG(path string, panels []Panel) error {
	var b strings.Builder
	height := panelHeight * len(panels)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n",
		panelWidth, height, panelWidth, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", panelWidth, height)
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(0 %d)">`+"\n", i*panelHeight)
		p.draw(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

func (p Panel) draw(b *strings.Builder) {
	var mostX, mostY float64
	for _, l := range p.Lines {
		for i := range l.X {
			mostX, mostY = max(mostX, l.X[i]), max(mostY, l.Y[i])
		}
	}
	stepX, stepY := step(mostX), step(mostY)
	mostX, mostY = max(mostX, stepX), stepY*math.Ceil(max(mostY, stepY)/stepY)
	x := func(v float64) float64 { return left + v/mostX*plotWidth }
	y := func(v float64) float64 { return top + plotHeight - v/mostY*plotHeight }
	text := func(atX, atY float64, anchor, s string) {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s" fill="#222">%s</text>`+"\n", atX, atY, anchor, html.EscapeString(s))
	}
	text(left, top-14, "start", p.Title)
	for v := 0.0; v <= mostY*1.0001; v += stepY {
		fmt.Fprintf(b, `<path d="M%d %.1fH%d" stroke="#ddd"/>`+"\n", left, y(v), left+plotWidth)
		text(left-6, y(v)+4, "end", measure.Number(v))
	}
	for v := 0.0; v <= mostX*1.0001; v += stepX {
		text(x(v), top+plotHeight+16, "middle", measure.Number(v))
	}
	text(left+plotWidth/2, panelHeight-10, "middle", p.X)
	at := float64(panelWidth - right)
	for i, l := range p.Lines {
		var points strings.Builder
		for k := range l.X {
			fmt.Fprintf(&points, "%.1f,%.1f ", x(l.X[k]), y(l.Y[k]))
		}
		colour := colours[i%len(colours)]
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", strings.TrimSpace(points.String()), colour)
		if len(p.Lines) > 1 {
			fmt.Fprintf(b, `<path d="M%.1f %dh-16" stroke="%s" stroke-width="3"/>`+"\n", at, top-18, colour)
			text(at-20, top-14, "end", l.Name)
			at -= float64(len([]rune(l.Name))*characterWidth + legendMargin)
		}
	}
}

// step is the distance of about as many round values as there are ticks up to most.
func step(most float64) float64 {
	if most <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(most/ticks)))
	for _, m := range []float64{1, 2, 5} {
		if power*m*ticks >= most {
			return power * m
		}
	}
	return power * 10
}
