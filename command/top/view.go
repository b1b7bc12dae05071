package top

import (
	"fmt"
	"strings"
	"time"

	"wsproxy/command/cli"
	"wsproxy/command/screen"
)

const (
	plain   = "\x1b[0m"
	reverse = "\x1b[7m"
	faint   = "\x1b[2m"
)

// age writes seconds for people, in six columns.
func age(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 100*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

func rate(bytes float64) string {
	if bytes < 0.5 {
		return "-"
	}
	return screen.Size(int64(bytes + 0.5))
}

// A view draws a table.
type view struct {
	*table
	server   string
	colours  bool
	selected key  // the row that keys are about
	marks    bool // whether it is marked
	moved    bool // somebody has selected it; else it is the first, whichever that is
	typing   bool // a filter is being typed
	note     string
	question string // that y answers
}

// maxCell bounds a cell where there is no other bound, in columns.
const maxCell = 256

// cell returns text as so many columns.
func cell(text string, width int, right bool) string {
	text = screen.Escape(text, width)
	pad := strings.Repeat(" ", max(width-screen.Columns(text), 0))
	if right {
		return pad + text
	}
	return text + pad
}

// list returns the title and all rows as lines, which are no wider than width unless that is 0.
func (v *view) list(width int) []string {
	rows := v.shown()
	chosen, widths := v.layout(rows, width)
	lines := []string{v.title(chosen, widths, width)}
	for i := range rows {
		lines = append(lines, v.line(&rows[i], chosen, widths, width))
	}
	return append(lines, v.left()...)
}

// left says what is not in the list.
func (v *view) left() (lines []string) {
	if v.answer.LeftOut > 0 {
		lines = append(lines, fmt.Sprintf("%d more sessions are not shown: there are too many", v.answer.LeftOut))
	}
	return lines
}

func (v *view) title(chosen []column, widths []int, width int) string {
	var cells []string
	for i, c := range chosen {
		cells = append(cells, cell(c.title, widths[i], c.right))
	}
	return v.paint(string(cli.Bold), fit(strings.TrimRight(v.margin(false)+strings.Join(cells, gap), " "), width))
}

func (v *view) margin(marked bool) string {
	switch {
	case !v.marks:
		return ""
	case marked:
		return mark
	}
	return strings.Repeat(" ", len(mark))
}

func (v *view) line(r *row, chosen []column, widths []int, width int) string {
	var cells []string
	for i, c := range chosen {
		cells = append(cells, cell(c.text(r), widths[i], c.right))
	}
	marked := v.marks && r.key() == v.selected
	text := fit(strings.TrimRight(v.margin(marked)+strings.Join(cells, gap), " "), width)
	switch {
	case marked:
		return v.paint(reverse, text)
	case r.State == "detached":
		return v.paint(string(cli.Yellow), text)
	case r.State == "closing" || r.State == "leaving":
		return v.paint(faint, text)
	case r.Up+r.Down >= 0.5:
		return v.paint(string(cli.Green), text)
	}
	return text
}

func (v *view) paint(colour, text string) string {
	if !v.colours || text == "" {
		return text
	}
	return colour + text + plain
}
