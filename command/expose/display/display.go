package display

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"wsproxy/command/expose/tap"
	"wsproxy/command/screen"
)

const (
	// flushInterval is how long lines are gathered before they are written. Nobody
	// sees the difference, and many requests cost few writes.
	flushInterval = 40 * time.Millisecond
	// drawInterval is the least time between two drawings of the live line.
	drawInterval = 250 * time.Millisecond
	// maxWaiting bounds the lines that wait for a terminal that takes none, such as
	// one that somebody has stopped with Ctrl-S.
	maxWaiting = 256 << 10
	// repeatInterval is how long a notice that is the same as before is not written.
	repeatInterval = 10 * time.Minute
	// maxRemembered bounds the notices that are known to have been written.
	maxRemembered = 64
	// maxPath bounds a path on a line that has no other bound.
	maxPath = 1 << 10
	// minPath is what a path gets of a line, however narrow the terminal.
	minPath = 16
)

// Options say how a display writes.
type Options struct {
	Out, Err io.Writer // lines and addresses; notices
	// Broken is called, maybe several times, when nobody reads Out any more; it may
	// be nil.
	Broken func()
	// JSON writes an object a line on Out.
	JSON bool
	// Colours are written on Out, and ErrColours on Err.
	Colours, ErrColours bool
	// Width is how many columns the terminal of Out has now, 0 if it is none.
	Width func() int
	// Live keeps a line with what goes on at the bottom. It needs a Width.
	Live bool
	// Counters are what that line shows.
	Counters *tap.Counters
	// NameWidth is that of the longest name of a tunnel, 0 if there are no names.
	NameWidth int
}

// A Display writes lines. Its methods never wait for the terminal, and may be called
// by many at once.
type Display struct {
	o    Options
	wake chan struct{} // has room for one
	stop chan struct{}
	done chan struct{}
	once sync.Once
	rest atomic.Bool // the live line is not wanted any more

	mu      sync.Mutex
	waiting []chunk
	spare   []byte // room for the text of the next chunk, what was written last; nil if there is none
	size    int
	leftOut int // lines for which there was no room
	notices map[string]time.Time
	hinted  map[string]string // by tunnel: the hint of its last line
}

// A chunk is lines for one of the two writers.
type chunk struct {
	err  bool
	text []byte
}

// New returns a display that writes until Close.
func New(o Options) *Display {
	d := &Display{o: o, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}), notices: make(map[string]time.Time), hinted: make(map[string]string)}
	if o.Width == nil {
		d.o.Width = func() int { return 0 }
	}
	go d.write()
	return d
}

// Close writes what waits, takes the live line away, and ends the display.
func (d *Display) Close() {
	d.once.Do(func() { close(d.stop) })
	<-d.done
}

// Rest takes the live line away for good: the program is about to end, maybe without
// another word.
func (d *Display) Rest() {
	d.rest.Store(true)
	d.put(false, nil)
}

// put puts a copy of lines down to be written.
func (d *Display) put(err bool, text []byte) {
	d.mu.Lock()
	if d.size+len(text) > maxWaiting {
		d.leftOut++
		d.mu.Unlock()
		return
	}
	d.size += len(text)
	if n := len(d.waiting); n > 0 && d.waiting[n-1].err == err {
		d.waiting[n-1].text = append(d.waiting[n-1].text, text...)
	} else {
		d.waiting = append(d.waiting, chunk{err, append(d.spare, text...)})
		d.spare = nil
	}
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// take returns what waits.
func (d *Display) take() []chunk {
	d.mu.Lock()
	defer d.mu.Unlock()
	waiting := d.waiting
	if d.leftOut > 0 {
		waiting = append(waiting, chunk{true, fmt.Appendf(nil, "(%d lines were left out: they came faster than they could be written)\n", d.leftOut)})
	}
	d.waiting, d.size, d.leftOut = nil, 0, 0
	return waiting
}

// keep keeps the room of lines that were written, of maxWaiting or little more, for
// others: under load they come again and again.
func (d *Display) keep(written []chunk) {
	if len(written) == 0 {
		return
	}
	d.mu.Lock()
	d.spare = written[0].text[:0]
	d.mu.Unlock()
}

// write is the one that writes.
func (d *Display) write() {
	defer close(d.done)
	line := newLive(&d.o)
	var ticks <-chan time.Time
	if d.o.Live {
		ticker := time.NewTicker(drawInterval)
		defer ticker.Stop()
		ticks = ticker.C
	}
	pause := time.NewTimer(flushInterval)
	defer pause.Stop()
	for {
		select {
		case <-d.wake:
			if d.rest.Load() {
				line.hide()
			}
			pause.Reset(flushInterval)
			select {
			case <-pause.C:
			case <-d.stop:
			}
			waiting := d.take()
			line.above(waiting)
			d.keep(waiting)
		case <-ticks:
			if !d.rest.Load() {
				line.tick(time.Now())
			}
		case <-d.stop:
			line.remove()
			line.above(d.take())
			line.remove()
			return
		}
	}
}

// An Address is where a tunnel can be reached.
type Address struct {
	Event  string    `json:"event"` // "ready"
	Time   time.Time `json:"time"`
	Tunnel string    `json:"tunnel,omitempty"`
	URL    string    `json:"url,omitempty"`
	Raw    string    `json:"raw,omitempty"` // host and port
	Target string    `json:"target"`
}

// Ready writes where a tunnel can be reached. The addresses are the server's words.
func (d *Display) Ready(a Address) {
	if d.o.JSON {
		a.Event = "ready"
		d.putJSON(a)
		return
	}
	var b []byte
	if d.o.NameWidth > 0 {
		b = fmt.Appendf(b, "%-*s  ", d.o.NameWidth, a.Tunnel)
	}
	at := a.URL
	if a.Raw != "" {
		at = "tcp://" + a.Raw
	}
	b = append(b, d.paint(bold, screen.Escape(at, maxPath))...)
	d.put(false, append(b, "  ->  "+screen.Escape(a.Target, maxPath)+"\n"...))
}

func (d *Display) putJSON(v any) {
	b, err := json.Marshal(v)
	if err == nil {
		d.put(false, append(screen.EscapeJSON(b), '\n'))
	}
}

// Say writes a notice, a sentence. One that was written before is not written again
// for a while.
func (d *Display) Say(sentence string) { d.say(plain, sentence) }

// News is Say for what has become of something, which is written each time: what was
// said before it is not true any more.
func (d *Display) News(sentence string) { d.putNotice(plain, sentence) }

// Warn is Say for what is dangerous or wrong.
func (d *Display) Warn(sentence string) { d.say(red, sentence) }

func (d *Display) say(c colour, sentence string) {
	now := time.Now()
	d.mu.Lock()
	said, again := d.notices[sentence]
	again = again && now.Sub(said) < repeatInterval
	if !again {
		if len(d.notices) >= maxRemembered {
			clear(d.notices)
		}
		d.notices[sentence] = now
	}
	d.mu.Unlock()
	if !again {
		d.putNotice(c, sentence)
	}
}

func (d *Display) putNotice(c colour, sentence string) {
	text := screen.Escape(sentence, 4*maxPath)
	if d.o.ErrColours && c != plain {
		text = string(c) + text + string(plain)
	}
	d.put(true, append([]byte(text), '\n'))
}
