package top

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"wsproxy/command/screen"
	"wsproxy/messages/inspect"
)

const (
	// resizeLook is how often the terminal is asked for its size.
	resizeLook = 200 * time.Millisecond
	// maxFilter bounds what can be typed, in bytes.
	maxFilter = 64
	// noteTime is how long a note stays.
	noteTime = 5 * time.Second
)

// Control sequences (ECMA-48, and xterm's for the other screen): what the user had on his
// comes back at the end.
const (
	begin     = "\x1b[?1049h\x1b[?25l"
	end       = "\x1b[?25h\x1b[?1049l"
	home      = "\x1b[H"
	lineErase = "\x1b[K"
	erase     = "\x1b[J"
	newLine   = "\r\n"
	pageRows  = 10
)

// A live shows a server's sessions in a terminal until somebody quits. One goroutine has it.
type live struct {
	client   *client
	view     view
	interval time.Duration
	out      io.Writer
	size     func() (width, height int)

	width, height int
	asking        bool
	closes        key       // the row that is asked about
	noted         time.Time // when view.note came
}

// An answer is one to a look.
type answer struct {
	inspect.Answer
	err error
}

// run shows until a key, the end of in, or ctx ends it.
func (l *live) run(ctx context.Context, in io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.view.marks = true
	l.width, l.height = l.size()
	if _, err := io.WriteString(l.out, begin); err != nil {
		return err
	}
	defer io.WriteString(l.out, end)
	pressed := make(chan []rune)
	go listen(ctx, in, pressed)
	answers, notes := make(chan answer, 1), make(chan string, 1)
	look := func() {
		if !l.asking {
			l.asking = true
			go func() { a, err := l.client.sessions(ctx); answers <- answer{a, err} }()
		}
	}
	look()
	ticks, sizes := time.NewTicker(l.interval), time.NewTicker(resizeLook)
	defer ticks.Stop()
	defer sizes.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
			look()
			continue
		case <-sizes.C:
			width, height := l.size()
			if width == l.width && height == l.height && (l.view.note == "" || time.Since(l.noted) < noteTime) {
				continue
			}
			if l.width, l.height = width, height; time.Since(l.noted) >= noteTime {
				l.view.note = ""
			}
		case a := <-answers:
			l.asking = false
			if a.err != nil {
				l.note(a.err.Error())
			} else {
				l.view.take(a.Answer)
			}
		case note := <-notes:
			l.note(note)
			look()
		case keys, open := <-pressed:
			if !open {
				return nil
			}
			for _, k := range keys {
				quit, id := l.press(k)
				if quit {
					return nil
				}
				if id != "" {
					go func() {
						select {
						case notes <- l.end(ctx, id):
						case <-ctx.Done():
						}
					}()
				}
			}
		}
		if err := l.draw(); err != nil {
			return err
		}
	}
}

// listen reads keys. It ends with in, or when nobody listens any more and a key comes.
func listen(ctx context.Context, in io.Reader, pressed chan<- []rune) {
	defer close(pressed)
	var rest []byte
	buf := make([]byte, 256)
	for {
		n, err := in.Read(buf)
		var keys []rune
		keys, rest = readKeys(append(rest, buf[:n]...))
		select {
		case pressed <- keys:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// end closes sessions, and returns what there is to say of it.
func (l *live) end(ctx context.Context, id string) string {
	if err := l.client.close(ctx, id); err != nil {
		return err.Error()
	}
	return "closed " + id
}

func (l *live) note(text string) {
	l.view.note, l.noted = screen.Escape(text, maxCell), time.Now()
}

// draw writes a whole screen. A line is erased before it is written: behind a character in
// the last column, terminals would take that one, too.
func (l *live) draw() error {
	var b strings.Builder
	b.WriteString(home)
	lines := l.view.frame(l.width, l.height)
	for i, line := range lines {
		if i > 0 {
			b.WriteString(newLine)
		}
		if i == len(lines)-1 {
			b.WriteString(erase)
		}
		b.WriteString(lineErase + line)
	}
	_, err := io.WriteString(l.out, b.String())
	return err
}

// press does what a key is for. It returns whether it is for the end, and the id of the
// session that is to be closed, or "".
func (l *live) press(k rune) (quit bool, closes string) {
	v := &l.view
	switch {
	case k == ctrlC || k == ctrlD:
		return true, ""
	case v.typing:
		l.typed(k)
		return false, ""
	case v.question != "":
		v.question = ""
		if k == 'y' || k == 'Y' {
			return false, l.closes.id
		}
		return false, ""
	}
	v.note = ""
	switch k {
	case 'q', 'Q':
		return true, ""
	case keyUp:
		l.move(-1)
	case keyDown:
		l.move(1)
	case keyPageUp:
		l.move(-pageRows)
	case keyPageDown:
		l.move(pageRows)
	case keyHome:
		l.move(-len(v.rows))
	case keyEnd:
		l.move(len(v.rows))
	case 's':
		v.next()
	case '/':
		v.typing = true
	case keyEscape:
		v.filter = ""
	case 'k':
		l.ask()
	}
	return false, ""
}

// typed changes the filter.
func (l *live) typed(k rune) {
	v := &l.view
	switch {
	case k == enter || k == '\n':
		v.typing = false
	case k == keyEscape:
		v.typing, v.filter = false, ""
	case k == backspace || k == deleted:
		_, n := utf8.DecodeLastRuneInString(v.filter)
		v.filter = v.filter[:len(v.filter)-n]
	case k <= utf8.MaxRune && unicode.IsPrint(k) && len(v.filter)+utf8.RuneLen(k) <= maxFilter:
		v.filter += string(k)
	}
}

// move selects another row.
func (l *live) move(by int) {
	rows := l.view.shown()
	if len(rows) == 0 {
		return
	}
	i := slices.IndexFunc(rows, func(r row) bool { return r.key() == l.view.selected })
	l.view.moved = true
	l.view.selected = rows[min(max(i+by, 0), len(rows)-1)].key()
}

// maxPart bounds what a question tells of one thing, in columns: all of them fit a screen
// of 40 by 24.
const maxPart = 100

// ask asks whether the selected row is to be closed. The keys come first, for where there is
// no room for all.
func (l *live) ask() {
	rows := l.view.shown()
	i := slices.IndexFunc(rows, func(r row) bool { return r.key() == l.view.selected })
	if i < 0 {
		return
	}
	r := &rows[i]
	l.closes = r.key()
	l.view.question = fmt.Sprintf("y = yes, any other key = no: close %s %s of %s from %s (%s)?", screen.Escape(r.Kind, maxPart), screen.Escape(r.ID, maxPart),
		screen.Escape(name(r.User), maxPart), screen.Escape(r.Source.String(), maxPart), screen.Escape(besideID(&r.Session), maxPart))
}
