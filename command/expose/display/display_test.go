package display

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/command/expose/tap"
)

// A terminal is what was written to it.
type terminal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *terminal) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(b)
}

func (t *terminal) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

var start = time.Date(2030, 1, 2, 15, 4, 5, 0, time.Local)

func exchange() *tap.Exchange {
	return &tap.Exchange{Method: "GET", Path: "/a", Status: 200, Start: start, FirstByte: time.Millisecond, Duration: 12340 * time.Microsecond, In: 7, Out: 12345, Ended: true}
}

// written returns what a display has written to Out, and to Err, when it is closed.
func written(o Options, tell func(*Display)) (out, err string) {
	var a, b terminal
	o.Out, o.Err = &a, &b
	d := New(o)
	tell(d)
	d.Close()
	return a.String(), b.String()
}

func TestLines(t *testing.T) {
	narrow := func() int { return 70 }
	for _, test := range []struct {
		o      Options
		change func(*tap.Exchange)
		want   string
	}{
		{Options{}, func(*tap.Exchange) {}, "15:04:05  200  GET     /a  12.3 ms  7 B in, 12.3 kB out\n"},
		{Options{Colours: true}, func(e *tap.Exchange) { e.Status = 404 }, "\x1b[2m15:04:05\x1b[0m  \x1b[33m404\x1b[0m  GET     /a\x1b[2m  12.3 ms  7 B in, 12.3 kB out\x1b[0m\n"},
		{Options{}, func(e *tap.Exchange) { e.Status, e.Cut = 0, true }, "15:04:05  ---  GET     /a  12.3 ms  7 B in, 12.3 kB out  cut\n"},
		{Options{NameWidth: 3}, func(e *tap.Exchange) { e.Tunnel, e.Hint = "db", "try\x1b this" }, "15:04:05  db   200  GET     /a  12.3 ms  7 B in, 12.3 kB out\n          try\\x1b this\n"},
		{Options{}, func(e *tap.Exchange) { e.Path = "/\x1b[2J\x9b\u202e\u2028\xffö日\\" }, "15:04:05  200  GET     /\\x1b[2J\\x9b\\u202e\\u2028\\xffö日\\\\  12.3 ms  7 B in, 12.3 kB out\n"},
		{Options{Width: narrow}, func(e *tap.Exchange) { e.Path = "/" + strings.Repeat("ab", 100) }, "15:04:05  200  GET     /ababababababab…  12.3 ms  7 B in, 12.3 kB out\n"},
	} {
		e := exchange()
		test.change(e)
		if out, _ := written(test.o, func(d *Display) { d.Ends(e) }); out != test.want {
			t.Errorf("%q, not %q", out, test.want)
		}
	}
}

func TestJSON(t *testing.T) {
	out, _ := written(Options{JSON: true}, func(d *Display) {
		d.Ready(Address{URL: "https://x.test", Target: "localhost:3000"})
		e := exchange()
		e.Path = "/\x1b\xff\n"
		d.Ends(e)
		d.Connection(Connection{Remote: "203.0.113.9:1", Opens: true})
	})
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 3 {
		t.Fatalf("%q", out)
	}
	for i, event := range []string{"ready", "request", "open"} {
		var got map[string]any
		if err := json.Unmarshal([]byte(lines[i]), &got); err != nil || got["event"] != event {
			t.Errorf("%s: %v", lines[i], err)
		}
		if event == "request" && (got["duration_ms"] != 12.34 || got["status"] != 200.0 || got["bytes_out"] != 12345.0) {
			t.Errorf("%v", got)
		}
	}
}

// A hint stands below the first of the lines that have it: a page that loads twenty
// files of a service that is down says once that it is.
func TestHintOnce(t *testing.T) {
	out, _ := written(Options{NameWidth: 1}, func(d *Display) {
		for _, line := range []struct{ tunnel, hint string }{{"a", "down"}, {"b", "down"}, {"a", "down"}, {"a", ""}, {"a", "down"}} {
			e := exchange()
			e.Tunnel, e.Hint = line.tunnel, line.hint
			d.Ends(e)
		}
	})
	var short string
	for line := range strings.Lines(out) {
		if strings.HasSuffix(line, "down\n") {
			short += "!"
		} else {
			short += line[10:11]
		}
	}
	if short != "a!b!aaa!" {
		t.Errorf("%s of %q", short, out)
	}
}

// News is written each time, as what was written since may have said otherwise.
func TestNews(t *testing.T) {
	_, err := written(Options{}, func(d *Display) {
		for range 2 {
			d.News("lost")
			d.News("there again")
		}
	})
	if err != "lost\nthere again\nlost\nthere again\n" {
		t.Errorf("%q", err)
	}
}

// Notices go to the other writer, and the same one is not repeated.
func TestNotices(t *testing.T) {
	out, err := written(Options{ErrColours: true}, func(d *Display) {
		for range 3 {
			d.Say("one")
		}
		d.Warn("two\x07")
	})
	if out != "" || err != "one\n\x1b[31mtwo\\x07\x1b[0m\n" {
		t.Errorf("%q, %q", out, err)
	}
}

// The live line stands below the lines, and is gone at the end.
func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out terminal
		counters := &tap.Counters{}
		counters.Open.Store(2)
		d := New(Options{Out: &out, Err: &out, Live: true, Width: func() int { return 60 }, Counters: counters})
		for range 20 {
			counters.Requests.Add(25)
			counters.Out.Add(250_000)
			time.Sleep(drawInterval)
		}
		d.Ends(exchange())
		d.Rest()
		time.Sleep(drawInterval)
		if rested := show(out.String(), 60); rested[len(rested)-1] != "" {
			t.Errorf("the live line is still there: %q", rested)
		}
		d.Close()
		screen := show(out.String(), 60)
		if strings.Join(screen, "|") != "15:04:05  200  GET     /a  12.3 ms  7 B in, 12.3 kB out|" {
			t.Errorf("the screen is %q", screen)
		}
		if all := out.String(); !strings.Contains(all, "2 connections   100 requests/s   in 0 B/s   out 1.0 MB/s") {
			t.Errorf("%q", all)
		}
	})
}

// show is what a terminal of that width shows of text with eraseLine in it.
func show(text string, width int) []string {
	lines := []string{""}
	for text != "" {
		last := &lines[len(lines)-1]
		switch {
		case strings.HasPrefix(text, eraseLine):
			*last, text = "", text[len(eraseLine):]
			continue
		case text[0] == '\n':
			lines = append(lines, "")
		default:
			*last += text[:1]
			if len(*last) > width {
				panic(fmt.Sprintf("%q is too wide", *last))
			}
		}
		text = text[1:]
	}
	return lines
}

// A terminal that takes nothing holds nobody up, and what it misses is said.
func TestStoppedTerminal(t *testing.T) {
	stopped := make(chan struct{})
	var err terminal
	d := New(Options{Out: writerFunc(func(b []byte) (int, error) { <-stopped; return len(b), nil }), Err: &err})
	for range 10_000 {
		d.Ends(exchange())
	}
	close(stopped)
	d.Close()
	if !strings.Contains(err.String(), "lines were left out") {
		t.Errorf("%q", err.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// A line of JSON that somebody looks at in a terminal has nothing in it that the
// terminal obeys, and says the same.
func TestJSONIsForTerminals(t *testing.T) {
	path := "/a\u009b31m\u202e\u2066\x7f\U000e0041é漢\xff"
	out, _ := written(Options{JSON: true}, func(d *Display) {
		e := exchange()
		e.Path = path
		d.Ends(e)
	})
	for _, r := range strings.TrimSpace(out) {
		if !strconv.IsPrint(r) {
			t.Errorf("%U stands in %s", r, out)
		}
	}
	var line request
	if err := json.Unmarshal([]byte(out), &line); err != nil || line.Path != strings.ToValidUTF8(path, "\ufffd") || !strings.Contains(out, "é漢") {
		t.Errorf("%q, %v in %s", line.Path, err, out)
	}
}
