package top

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"wsproxy/command/cli"
	"wsproxy/command/screen"
)

// apart is between two things that are said in one line.
const apart = "   "

// frame returns the lines of a screen: what there is in all and the filter, the list around
// the row that is selected, and at the bottom what keys do. Where the height is short, the
// bottom comes first, and then the list.
func (v *view) frame(width, height int) []string {
	rows := v.shown()
	selected := slices.IndexFunc(rows, func(r row) bool { return r.key() == v.selected })
	if (selected < 0 || !v.moved) && len(rows) > 0 {
		selected = 0
		v.selected = rows[0].key()
	}
	bottom := v.bottom(width)
	bottom = bottom[:min(len(bottom), max(height, 1))]
	height = max(height-len(bottom), 0)
	lines := v.header(width)
	lines = lines[len(lines)-min(len(lines), max(height-2, 0)):] // a title and a row
	chosen, widths := v.layout(rows, width)
	lines = append(lines, v.title(chosen, widths, width))
	room := max(height-len(lines), 0)
	first := min(max(selected-room/2, 0), max(len(rows)-room, 0))
	for i := first; i < min(first+room, len(rows)); i++ {
		lines = append(lines, v.line(&rows[i], chosen, widths, width))
	}
	if len(rows) == 0 {
		lines = append(lines, wrap(v.nothing(), width)...)
	}
	for len(lines) < height {
		lines = append(lines, "")
	}
	return append(lines[:height], bottom...)
}

// header is what there is in all, and the filter: two lines at least, so that the list does
// not move when there is one.
func (v *view) header(width int) []string {
	lines := v.painted(cli.Bold, pack(v.summary(), apart, width))
	switch {
	case v.filter != "":
		lines = append(lines, v.filtered(width))
	case len(lines) == 1:
		lines = append(lines, "")
	}
	return lines
}

// summary is what there is in all.
func (v *view) summary() []string {
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
	said := []string{
		"wsproxy at " + screen.Escape(v.server, maxCell),
		fmt.Sprintf("%s, %s, %d detached", many(relays, "relay"), many(tunnels, "tunnel"), detached),
		fmt.Sprintf("up %s/s, down %s/s", screen.Size(int64(up)), screen.Size(int64(down))),
	}
	if v.answer.Draining {
		said = append(said, "draining")
	}
	if n := v.answer.LeftOut + v.answer.Unanswered; n > 0 {
		said = append(said, fmt.Sprintf("%d not shown", n))
	}
	return said
}

func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// filtered says which filter there is, and what it leaves. Where there is no room for both,
// the filter is said.
func (v *view) filtered(width int) string {
	const least = 8 // columns of the filter
	all, left := len(v.rows), len(v.shown())
	does, colour := fmt.Sprintf("%sshows %d of %d", apart, left, all), cli.Bold
	if left == 0 {
		does, colour = fmt.Sprintf("%shides all %d", apart, all), cli.Yellow
	}
	text, room := "filter: ", maxCell
	if width > 0 {
		if width < len(text)+least+len(does) {
			does = ""
		}
		room = max(width-len(text)-len(does), 1)
	}
	return v.paint(string(colour), fit(text+screen.Escape(v.filter, room)+does, width))
}

// nothing says why the list is empty.
func (v *view) nothing() string {
	switch {
	case v.answer.Time.IsZero():
		return "" // nothing is known yet
	case len(v.rows) > 0:
		return "The filter hides all " + many(len(v.rows), "session") + ": Esc clears it."
	}
	return "There are no sessions."
}

// bottom is the last lines.
func (v *view) bottom(width int) []string {
	switch {
	case v.typing:
		typed := "filter: " + screen.Escape(v.filter, maxCell) + "_"
		return pack([]string{ending(typed, width), "Enter keeps, Esc clears"}, apart, width)
	case v.question != "":
		return v.painted(cli.Red, wrap(v.question, width))
	case v.note != "":
		return v.painted(cli.Yellow, wrap(v.note, width))
	}
	keys := []string{"q quit", "up/down select", "k close", "/ filter"}
	if v.filter != "" {
		keys = append(keys, "Esc no filter")
	}
	keys = append(keys, "s sort, now by "+orders[v.order].name)
	return v.painted(faint, pack(keys, gap, width))
}

func (v *view) painted(colour cli.Colour, lines []string) []string {
	for i, line := range lines {
		lines[i] = v.paint(string(colour), line)
	}
	return lines
}

// pack puts what is said into as few lines as there is room for; width 0 is one line.
func pack(said []string, between string, width int) (lines []string) {
	for _, text := range said {
		last := len(lines) - 1
		if last >= 0 && (width <= 0 || screen.Columns(lines[last]+between+text) <= width) {
			lines[last] += between + text
		} else {
			lines = append(lines, wrap(text, width)...)
		}
	}
	return lines
}

// wrap breaks printable text into lines, between words where they are no longer than a line.
func wrap(text string, width int) (lines []string) {
	if width <= 0 || screen.Columns(text) <= width {
		return []string{text}
	}
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case screen.Columns(line+" "+word) <= width:
			line += " " + word
			continue
		default:
			lines, line = append(lines, line), word
		}
		for screen.Columns(line) > width {
			piece := fit(line, width)
			if piece == "" { // not even one character has room
				return append(lines, "")
			}
			lines, line = append(lines, piece), line[len(piece):]
		}
	}
	return append(lines, line)
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

// ending cuts a line like fit, but keeps its end.
func ending(text string, width int) string {
	if width <= 0 || screen.Columns(text) <= width {
		return text
	}
	n := width - 1 // without the sign that something is missing
	for i := len(text); i > 0; {
		r, size := utf8.DecodeLastRuneInString(text[:i])
		if n -= screen.Columns(string(r)); n < 0 {
			return "…" + text[i:]
		}
		i -= size
	}
	return text
}
