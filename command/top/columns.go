package top

import (
	"slices"

	"wsproxy/command/screen"
)

// A column is one of the table.
type column struct {
	title string
	width int // at least
	most  int // at most, where there is more room; 0 = width
	right bool
	rank  int // the lowest gets room first, and 0 in any case
	text  func(r *row) string
}

// Columns of which there is more to say.
const (
	idTitle    = "ID"
	userTitle  = "USER"
	whereTitle = "TO"
)

// columns are from left to right. At 40 columns there are those of rank 0. At 80 there are
// STATE and KIND, too, and USER and AGE or, where nobody has a name, SOURCE.
var columns = []column{
	{"KIND", 6, 0, false, 2, func(r *row) string { return r.Kind }},
	{idTitle, 16, 24, false, 6, func(r *row) string { return r.ID }},
	{userTitle, 9, 24, false, 3, func(r *row) string { return name(r.User) }},
	{"SOURCE", 15, 39, false, 4, func(r *row) string { return r.Source.String() }},
	{whereTitle, 17, 48, false, 0, func(r *row) string { return where(&r.Session) }}, // a subdomain and one more
	{"STATE", 8, 0, false, 1, func(r *row) string { return r.State }},
	{"AGE", 6, 0, true, 5, func(r *row) string { return age(r.Age) }},
	{"UP/S", 8, 0, true, 0, func(r *row) string { return rate(r.Up) }},
	{"DOWN/S", 8, 0, true, 0, func(r *row) string { return rate(r.Down) }},
	{"MOVED", 9, 0, true, 7, func(r *row) string { return screen.Size(r.FromClient + r.ToClient) }},
}

const (
	// lastRank is that of the column of users where all are anonymous, and it tells nothing.
	lastRank = 8
	// leastWhere is down to how many columns it gives way where a session leads, for the
	// rates, and easyWhere up to how many it grows before others do.
	leastWhere = 4
	easyWhere  = 24
)

// gap is between two columns, and mark what stands before the first.
const (
	gap  = "  "
	mark = "> "
)

// layout returns the columns that there is room for and how wide each is; width 0 is as wide
// as need be.
func (v *view) layout(rows []row, width int) (chosen []column, widths []int) {
	chosen, spare := v.choose(width)
	widths = make([]int, len(chosen))
	to := slices.IndexFunc(chosen, func(c column) bool { return c.title == whereTitle })
	if slices.ContainsFunc(chosen, func(c column) bool { return c.title == idTitle }) {
		chosen[to].text = func(r *row) string { return besideID(&r.Session) }
	}
	for i, c := range chosen {
		widths[i] = c.width
	}
	if width > 0 && spare < 0 {
		widths[to] = max(widths[to]+spare, leastWhere)
		return chosen, widths
	}
	grow := func(i, most int) {
		wanted := widths[i]
		for j := range rows {
			wanted = max(wanted, min(screen.Columns(screen.Escape(chosen[i].text(&rows[j]), maxCell)), most))
		}
		if width > 0 {
			wanted = min(wanted, widths[i]+spare)
		}
		spare -= wanted - widths[i]
		widths[i] = wanted
	}
	grow(to, easyWhere)
	for i, c := range chosen {
		grow(i, c.most)
	}
	return chosen, widths
}

// choose returns the columns that have room, from left to right, and how much is left then.
func (v *view) choose(width int) (chosen []column, spare int) {
	named := slices.ContainsFunc(v.rows, func(r row) bool { return r.User != "" })
	spare = width - len(mark) + len(gap)
	kept := make([]bool, len(columns))
	for rank := range lastRank + 1 {
		for i, c := range columns {
			if c.title == userTitle && !named {
				c.rank = lastRank
			}
			need := c.width + len(gap)
			if c.rank == rank && (rank == 0 || width == 0 || need <= spare) {
				kept[i] = true
				spare -= need
			}
		}
	}
	for i, c := range columns {
		if kept[i] {
			chosen = append(chosen, c)
		}
	}
	return chosen, spare
}
