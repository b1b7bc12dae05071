package top

import (
	"fmt"
	"slices"
	"strconv"
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

// A column is one of the table.
type column struct {
	title    string
	width    int // at least
	most     int // at most, where there is more room; 0 = width
	right    bool
	optional int // which of them goes last when there is no room: the highest first; 0 stays
	text     func(r *row) string
}

// columns are from left to right.
var columns = []column{
	{"KIND", 6, 0, false, 2, func(r *row) string { return r.Kind }},
	{"ID", 16, 24, false, 4, func(r *row) string { return r.ID }},
	{"USER", 9, 24, false, 0, func(r *row) string { return name(r.User) }},
	{"SOURCE", 15, 39, false, 3, func(r *row) string { return r.Source.String() }},
	{"TO", 14, 48, false, 0, func(r *row) string { return where(&r.Session) }},
	{"STATE", 9, 0, false, 0, func(r *row) string { return r.State }},
	{"AGE", 6, 0, true, 1, func(r *row) string { return age(r.Age) }},
	{"UP/S", 9, 0, true, 0, func(r *row) string { return rate(r.Up) }},
	{"DOWN/S", 9, 0, true, 0, func(r *row) string { return rate(r.Down) }},
	{"MOVED", 9, 0, true, 5, func(r *row) string { return screen.Size(r.FromClient + r.ToClient) }},
}

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

// gap is between two columns, and mark what stands before the first.
const (
	gap  = "  "
	mark = "> "
)

// layout returns the columns that there is room for and how wide each is; width 0 is as wide
// as need be.
func layout(rows []row, width int) (chosen []column, widths []int) {
	chosen = slices.Clone(columns)
	need := func() (n int) {
		for _, c := range chosen {
			n += c.width + len(gap)
		}
		return n - len(gap) + len(mark)
	}
	for width > 0 && need() > width {
		last := 0
		for i, c := range chosen {
			if c.optional > chosen[last].optional {
				last = i
			}
		}
		if chosen[last].optional == 0 {
			break
		}
		chosen = slices.Delete(chosen, last, last+1)
	}
	spare := width - need()
	for _, c := range chosen {
		w := c.width
		wanted := w
		for i := range rows {
			wanted = max(wanted, min(screen.Columns(screen.Escape(c.text(&rows[i]), maxCell)), max(c.most, c.width)))
		}
		switch {
		case width == 0:
			w = wanted
		case spare > 0:
			w = min(wanted, w+spare)
			spare -= w - c.width
		}
		widths = append(widths, w)
	}
	return chosen, widths
}

// maxCell bounds a cell where there is no other bound.
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
	chosen, widths := layout(rows, width)
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

// fit cuts a line of printable characters to a width, unless that is 0.
func fit(text string, width int) string {
	if width <= 0 || screen.Columns(text) <= width {
		return text
	}
	n := 0
	for i, r := range text {
		if n += screen.Columns(string(r)); n > width {
			return text[:i]
		}
	}
	return text
}

func (v *view) paint(colour, text string) string {
	if !v.colours || text == "" {
		return text
	}
	return colour + text + plain
}

// frame returns the lines of a screen: what there is in all, the list around the row that is
// selected, and what keys do.
func (v *view) frame(width, height int) []string {
	rows := v.shown()
	selected := slices.IndexFunc(rows, func(r row) bool { return r.key() == v.selected })
	if (selected < 0 || !v.moved) && len(rows) > 0 {
		selected = 0
		v.selected = rows[0].key()
	}
	chosen, widths := layout(rows, width)
	lines := []string{v.paint(string(cli.Bold), fit(v.summary(), width)), "", v.title(chosen, widths, width)}
	room := max(height-len(lines)-1, 1)
	first := min(max(selected-room/2, 0), max(len(rows)-room, 0))
	for i := first; i < min(first+room, len(rows)); i++ {
		lines = append(lines, v.line(&rows[i], chosen, widths, width))
	}
	for len(lines) < height-1 {
		lines = append(lines, "")
	}
	return append(lines[:max(height-1, 0)], v.bottom(width))
}

// summary is the first line.
func (v *view) summary() string {
	relays, tunnels, detached, up, down := 0, 0, 0, 0.0, 0.0
	for i := range v.rows {
		r := &v.rows[i]
		if r.Tunnel == nil {
			relays++
		} else {
			tunnels++
		}
		if r.State == "detached" {
			detached++
		}
		up, down = up+r.Up, down+r.Down
	}
	text := fmt.Sprintf("wsproxy at %s   %s, %s, %d detached   up %s/s, down %s/s", screen.Escape(v.server, 64),
		many(relays, "relay"), many(tunnels, "tunnel"), detached, screen.Size(int64(up)), screen.Size(int64(down)))
	if v.answer.Draining {
		text += "   draining"
	}
	if n := v.answer.LeftOut + v.answer.Unanswered; n > 0 {
		text += fmt.Sprintf("   %d not shown", n)
	}
	return text
}

func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// bottom is the last line.
func (v *view) bottom(width int) string {
	switch {
	case v.typing:
		return fit("filter: "+screen.Escape(v.filter, maxCell)+"_   Enter keeps, Esc clears", width)
	case v.question != "":
		return v.paint(string(cli.Red), fit(v.question, width))
	case v.note != "":
		return v.paint(string(cli.Yellow), fit(v.note, width))
	}
	text := "q quit  up/down select  k close  / filter  s sort by " + orders[(v.order+1)%len(orders)].name + "   sorted by " + orders[v.order].name
	if v.filter != "" {
		text += "   filter: " + screen.Escape(v.filter, maxCell)
	}
	return v.paint(faint, fit(text, width))
}
