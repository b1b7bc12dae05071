package display

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"wsproxy/command/screen"
)

// rateOver is how many drawings a rate is of: a second.
const rateOver = 4

// eraseLine goes to the front of the line and empties it.
const eraseLine = "\r\x1b[2K"

// A sample is the counters at a time.
type sample struct {
	at                time.Time
	requests, in, out int64
}

// A live is the line at the bottom of a terminal. One goroutine uses it.
type live struct {
	o       *Options
	samples []sample // the last rateOver+1
	text    string
	shown   string // what the terminal shows of it, "" if nothing
}

func newLive(o *Options) *live { return &live{o: o} }

// above writes lines above the live line.
func (l *live) above(chunks []chunk) {
	if len(chunks) == 0 {
		return
	}
	l.remove()
	for _, c := range chunks {
		w := l.o.Out
		if c.err {
			w = l.o.Err
		}
		if _, err := w.Write(c.text); !c.err && errors.Is(err, syscall.EPIPE) && l.o.Broken != nil {
			l.o.Broken()
		}
	}
	l.draw()
}

// remove takes the line away.
func (l *live) remove() {
	if l.shown != "" {
		_, _ = io.WriteString(l.o.Out, eraseLine)
		l.shown = ""
	}
}

// hide takes the line away, until the next tick.
func (l *live) hide() {
	l.remove()
	l.text = ""
}

func (l *live) draw() {
	if l.text == "" || l.text == l.shown {
		return
	}
	_, _ = io.WriteString(l.o.Out, eraseLine+l.text)
	l.shown = l.text
}

// tick makes the line anew, and draws it if it has changed.
func (l *live) tick(now time.Time) {
	c := l.o.Counters
	l.samples = append(l.samples, sample{now, c.Requests.Load(), c.In.Load(), c.Out.Load()})
	if len(l.samples) > rateOver+1 {
		l.samples = l.samples[1:]
	}
	first, last := l.samples[0], l.samples[len(l.samples)-1]
	seconds := last.at.Sub(first.at).Seconds()
	if seconds <= 0 {
		return
	}
	rate := func(from, to int64) float64 { return float64(to-from) / seconds }
	open := c.Open.Load()
	many := "s"
	if open == 1 {
		many = ""
	}
	text := fmt.Sprintf("%d connection%s   %.0f requests/s   in %s/s   out %s/s", open, many,
		rate(first.requests, last.requests), screen.Size(int64(rate(first.in, last.in))), screen.Size(int64(rate(first.out, last.out))))
	// The last column stays free: a terminal that wraps there would keep the line.
	if width := l.o.Width(); width <= 8 {
		text = ""
	} else if len(text) > width-1 {
		text = strings.TrimRight(text[:width-1], " ")
	}
	if text != "" && l.o.Colours {
		text = string(faint) + text + string(plain)
	}
	if text == "" {
		l.remove()
	}
	l.text = text
	l.draw()
}
