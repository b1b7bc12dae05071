package mux

import (
	"fmt"
	"testing"
	"time"

	"wsproxy/messages"
)

// A path over which a server sends as fast as credit allows: what it may send comes
// half a round trip after the credit, and no faster than the line.
type path struct {
	rtt  time.Duration
	rate float64 // bytes/s of the line
}

// upload simulates some time of an upload and returns the rate in bytes/s of its
// last second. The reader reads everything at once, or stalls.
func (l path) upload(w *window, last time.Duration, widened *int) (rate float64) {
	type grant struct {
		at time.Time
		n  int
	}
	now := time.Unix(1e9, 0)
	end, free := now.Add(last), now
	grants := []grant{{now, w.may}}
	var lastSecond int
	for len(grants) > 0 {
		g := grants[0]
		grants = grants[1:]
		for g.n > 0 {
			n := min(g.n, 32<<10)
			g.n -= n
			if free.Before(g.at) {
				free = g.at
			}
			free = free.Add(time.Duration(float64(n) / l.rate * 1e9))
			now = free.Add(l.rtt / 2)
			if now.After(end) {
				return float64(lastSecond)
			}
			if end.Sub(now) < time.Second {
				lastSecond += n
			}
			if !w.came(n) {
				panic("more came than was allowed")
			}
			if w.due(0) {
				if n := w.credit(0, now, widened); n > 0 {
					grants = append(grants, grant{now.Add(l.rtt / 2), n})
				}
			}
		}
	}
	panic("no credit is given")
}

// A window becomes as wide as the way is long, and not wider than that pays.
func TestWindowFitsTheWay(t *testing.T) {
	for _, test := range []struct {
		path
		least, widest float64 // the rate in Mbit/s, the window in MiB
	}{
		{path{50 * time.Millisecond, 25e6}, 190, 4},
		{path{50 * time.Millisecond, 125e6}, 900, 8},
		{path{10 * time.Millisecond, 125e6}, 900, 4},
		{path{200 * time.Millisecond, 25e6}, 180, 8},
		{path{time.Millisecond, 1e9}, 1500, 0.25}, // near: more would only wait
		{path{50 * time.Millisecond, 1e6}, 7.5, 0.25},
	} {
		w, widened := newWindow(), 0
		rate := test.upload(&w, 10*time.Second, &widened)
		name := fmt.Sprintf("%v, %.0f Mbit/s", test.rtt, test.rate/125e3)
		if rate/125e3 < test.least || float64(w.size)/(1<<20) > test.widest {
			t.Errorf("%s: %.1f Mbit/s with a window of %d KiB", name, rate/125e3, w.size>>10)
		}
		if widened != w.size-messages.Window {
			t.Errorf("%s: %d are reserved for a window of %d", name, widened, w.size)
		}
		if w.end(&widened); widened != 0 {
			t.Errorf("%s: %d stay reserved", name, widened)
		}
	}
}

// Who doesn't read gets no wider window.
func TestWindowOfASlowReader(t *testing.T) {
	w, widened := newWindow(), 0
	now := time.Unix(1e9, 0)
	waiting := 0
	for range 1000 {
		n := min(w.may, 32<<10)
		if waiting += n; !w.came(n) {
			t.Fatal("more came than was allowed")
		}
		now = now.Add(2 * time.Millisecond)
		waiting -= min(waiting, 24<<10)
		if w.due(waiting) {
			w.credit(waiting, now, &widened)
		}
	}
	if w.size != messages.Window || widened != 0 {
		t.Errorf("the window is %d", w.size)
	}
}

// All windows together have a bound, and one takes not all that is left.
func TestWindowsShareABound(t *testing.T) {
	widened := 0
	var windows []*window
	far := path{50 * time.Millisecond, 125e6}
	for range 100 {
		w := newWindow()
		windows = append(windows, &w)
		far.upload(&w, 3*time.Second, &widened)
	}
	if widened > maxWidened || windows[0].size != messages.MaxWindow || windows[8].size <= messages.Window {
		t.Errorf("%d bytes are reserved; the first window is %d, the ninth %d", widened, windows[0].size, windows[8].size)
	}
	// One that pauses gives back, by giving less, when it goes on.
	w, before := windows[0], widened
	slow := path{50 * time.Millisecond, 1e6}
	w.may = min(w.may, 1<<20)
	slow.upload(w, 60*time.Second, &widened)
	if w.size > 1<<20 || widened >= before {
		t.Errorf("the window of a slow one stays %d", w.size)
	}
	for _, w := range windows {
		w.end(&widened)
	}
	if widened != 0 {
		t.Errorf("%d bytes stay reserved", widened)
	}
}
