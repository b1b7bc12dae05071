package display

import (
	"fmt"
	"strconv"
	"time"

	"wsproxy/command/expose/tap"
	"wsproxy/command/screen"
)

// A colour is how a terminal is told to write from here on (ECMA-48, SGR).
type colour string

const (
	plain   colour = "\x1b[0m"
	bold    colour = "\x1b[1m"
	faint   colour = "\x1b[2m"
	red     colour = "\x1b[31m"
	green   colour = "\x1b[32m"
	yellow  colour = "\x1b[33m"
	magenta colour = "\x1b[35m"
	cyan    colour = "\x1b[36m"
)

func (d *Display) paint(c colour, text string) string {
	if !d.o.Colours {
		return text
	}
	return string(c) + text + string(plain)
}

func statusColour(status int) colour {
	switch {
	case status == 0 || status >= 500:
		return red
	case status >= 400:
		return yellow
	case status >= 300 || status == 101:
		return cyan
	}
	return green
}

// Lasts writes that a request goes on for long: its line comes at its end.
func (d *Display) Lasts(e tap.Exchange) { d.request(&e, true) }

// Ends writes the line of a request.
func (d *Display) Ends(e *tap.Exchange) { d.request(e, false) }

func (d *Display) request(e *tap.Exchange, opens bool) {
	if d.o.JSON {
		r := request{"request", e.Start, e.Tunnel, e.Method, e.Path, e.Status, milliseconds(e.FirstByte), milliseconds(e.Duration), e.In, e.Out, e.Remote, e.Cut, e.Own, e.Replayed, e.Hint}
		if opens {
			r.Event = "open"
		}
		var line [512]byte // most fit
		d.put(false, append(r.append(line[:0]), '\n'))
		return
	}
	status := "---"
	if e.Status != 0 {
		status = strconv.Itoa(e.Status)
	}
	tail := "  " + took(e.Duration) + "  " + screen.Size(e.In) + " in, " + screen.Size(e.Out) + " out"
	switch {
	case opens && e.Upgraded:
		tail = "  open"
	case opens:
		tail = "  events"
	case e.Cut:
		tail += "  cut"
	}
	if e.Replayed {
		tail += "  replay"
	}
	d.line(e.Start.Add(e.Duration), e.Tunnel, d.paint(statusColour(e.Status), status), screen.Escape(e.Method, 16), e.Path, tail, e.Hint)
}

// line writes a line of a request or a connection, with a hint below that is not the
// same as that of the line before.
func (d *Display) line(at time.Time, tunnel, status, method, path, tail, hint string) {
	var front [256]byte // most lines fit
	b := front[:0]
	if d.o.Colours {
		b = append(b, faint...)
	}
	b = at.AppendFormat(b, time.TimeOnly)
	if d.o.Colours {
		b = append(b, plain...)
	}
	used := 8 + 2 + 3 + 2 + 7 + 1
	if d.o.NameWidth > 0 {
		b = fmt.Appendf(b, "  %-*s", d.o.NameWidth, tunnel)
		used += 2 + d.o.NameWidth
	}
	b = append(append(append(b, "  "...), status...), "  "...)
	b = append(b, method...)
	for n := len(method); n < 7; n++ {
		b = append(b, ' ')
	}
	b = append(b, ' ')
	room := maxPath
	if width := d.o.Width(); width > 0 {
		room = max(width-used-len(tail)-1, minPath)
	}
	b = append(b, screen.Escape(path, room)...)
	b = append(b, d.paint(faint, tail)...)
	b = append(b, '\n')
	if d.hints(tunnel, hint) {
		b = append(b, "          "+d.paint(yellow, screen.Escape(hint, 4*maxPath))+"\n"...)
	}
	d.put(false, b)
}

// hints reports whether a tunnel's line has a hint that its line before did not have.
func (d *Display) hints(tunnel, hint string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hinted[tunnel] == hint {
		return false
	}
	d.hinted[tunnel] = hint
	return hint != ""
}

// A connection is a line of JSON about a raw connection.
type connection struct {
	Event    string    `json:"event"` // "open" or "connection"
	Time     time.Time `json:"time"`
	Tunnel   string    `json:"tunnel,omitempty"`
	Protocol string    `json:"protocol"` // "tcp"
	Remote   string    `json:"remote"`
	Duration float64   `json:"duration_ms"`
	In       int64     `json:"bytes_in"`
	Out      int64     `json:"bytes_out"`
	Cut      bool      `json:"cut,omitempty"`
	Error    string    `json:"error,omitempty"`
}

// A Connection is a raw connection that begins or has ended.
type Connection struct {
	Tunnel, Remote string
	Start          time.Time
	Duration       time.Duration
	In, Out        int64
	Opens, Cut     bool
	Err            error
}

// Connection writes the line of a raw connection.
func (d *Display) Connection(c Connection) {
	why := ""
	if c.Err != nil {
		why = c.Err.Error()
	}
	if d.o.JSON {
		j := connection{"connection", c.Start, c.Tunnel, "tcp", c.Remote, milliseconds(c.Duration), c.In, c.Out, c.Cut, why}
		if c.Opens {
			j.Event = "open"
		}
		d.putJSON(j)
		return
	}
	tail := "  " + took(c.Duration) + "  " + screen.Size(c.In) + " in, " + screen.Size(c.Out) + " out"
	mark := green
	switch {
	case c.Err != nil:
		tail, mark = "  refused", red
	case c.Opens:
		tail, mark = "  open", cyan
	case c.Cut:
		tail, mark = tail+"  cut", yellow
	}
	d.line(c.Start.Add(c.Duration), c.Tunnel, d.paint(mark, "tcp"), "", c.Remote, tail, why)
}

// took writes a duration for people.
func took(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return strconv.FormatFloat(float64(d)/1e6, 'f', 2, 64) + " ms"
	case d < 100*time.Millisecond:
		return strconv.FormatFloat(float64(d)/1e6, 'f', 1, 64) + " ms"
	case d < time.Second:
		return strconv.Itoa(int(d/time.Millisecond)) + " ms"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s"
	}
	return d.Round(time.Second).String()
}
