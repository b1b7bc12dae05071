package ledger

import (
	"time"

	"wsproxy/messages"
)

const (
	// creditParts is of how many parts of a window one is given back at a time: the
	// protocol asks for a half at the latest. Of a wide one, less is kept from the
	// client.
	creditParts, wideCreditParts = 4, 16
	// measured is of how many windows' bytes the rate is measured: one comes at once,
	// and then nothing for a round trip.
	measured = 2
	// widerPays is by how much a window that was doubled must have raised the rate.
	widerPays = 1.25
	// widerAgain is after what time that is tried once more, when it did not.
	widerAgain = 2 * time.Second
	// near is how long a window's bytes need at least where a wider one is tried. On a
	// shorter way 256 KiB are 65 MB/s, and what else waits only costs processor time: over
	// loopback a tenth more for each byte.
	near = 4 * time.Millisecond
	// keepsUp is the part of a window that always waits for a peer that keeps up, at
	// most.
	keepsUp = 4
	// WindowLook is how often a window that was widened is looked at, whatever comes: that
	// long at least a connection that pauses keeps it.
	WindowLook = time.Second
)

// A Window says how much credit the client of a raw connection is given
// (flow=credit): what was passed on to the outside peer, so that at most a window is on
// its way or waits. It begins with [messages.Window] and becomes wider, up to
// [messages.MaxWindow], while that makes the connection faster.
//
// How long the way is can't be told behind a front proxy. So it is tried: the rate
// is measured over some windows' bytes, the window doubled, and after a window's bytes the
// rate measured again. If that did not pay, or the peer does not keep up, or the
// connection becomes slower, it becomes narrower: less is given than was passed
// on. What the client has been given it keeps.
//
// It has no clock: each call is told the time. The zero Window is that of a new
// connection.
type Window struct {
	// Room takes what the window becomes wider by, in bytes, if there is room for it, and
	// gives it back if bytes is negative. Of 0 it says whether there is room still.
	// nil = there never is.
	Room func(bytes int) bool

	wider   int       // bytes beyond messages.Window; all of them were taken from Room
	used    int       // bytes by which what the client may send is less than at the beginning
	waits   int       // bytes received and not passed on
	began   time.Time // when this measurement began; the zero Time before the first
	passed  int       // bytes passed on since then
	stood   int       // the least that waited since then: what waits by bursts goes by itself
	rate    float64   // bytes/s: the highest that was measured since the width last changed, or then
	tried   bool      // it was doubled, and whether that pays is to be seen
	settles bool      // and what is being measured is how the wider one fills
	again   time.Time // when it may be doubled once more
}

// Size returns how many bytes may be on their way or wait, in the end: what the
// client was given before may be more.
func (w *Window) Size() int { return messages.Window + w.wider }

// Received notes that the client has sent n bytes, and reports whether it was
// allowed to.
func (w *Window) Received(n int) bool {
	w.used += n
	w.waits += n
	return w.used <= messages.Window
}

// Passed notes that n bytes were passed on, and returns how much credit the
// client is to be given, or 0.
func (w *Window) Passed(n int, now time.Time) (credit int) {
	w.waits -= n
	w.measure(n, now)
	// used is what the client lacks of the window that it began with: below 0 it has more.
	credit = w.Size() - (messages.Window - w.used) - w.waits
	if step := max(messages.Window/creditParts, w.Size()/wideCreditParts); credit < step {
		return 0
	}
	w.used -= credit
	return credit
}

// measure counts n bytes that were passed on, and judges when they are enough.
func (w *Window) measure(n int, now time.Time) {
	w.stood = min(w.stood, w.waits)
	if w.began.IsZero() {
		w.began, w.stood = now, w.waits
		return
	}
	due := w.Size()
	if !w.settles {
		due *= measured
	}
	if w.passed += n; w.passed >= due {
		w.judge(now)
	}
}

// Look is called every WindowLook while the window is wider than at first, which it
// reports. A connection that pauses is narrowed at once, a slow one by and by.
func (w *Window) Look(now time.Time) (wider bool) {
	switch {
	case w.wider == 0, now.Sub(w.began) < WindowLook:
	case w.passed == 0:
		w.narrow(w.wider)
	default:
		w.judge(now)
	}
	return w.wider > 0
}

// End gives back all that the window took.
func (w *Window) End() { w.narrow(w.wider) }

// judge ends a measurement.
func (w *Window) judge(now time.Time) {
	took, size := now.Sub(w.began), w.Size()
	if took <= 0 {
		return
	}
	rate := float64(w.passed) / took.Seconds()
	unused := took >= WindowLook && w.passed < size/2 // no way is as long as that
	stood := w.stood
	w.began, w.passed, w.stood = now, 0, w.waits
	switch {
	case stood > size/2, w.wider > 0 && (unused || rate < w.rate/2 || !w.Room(0)):
		w.halve(now)
	case w.settles:
		w.settles = false
		return
	case w.tried && rate < w.rate*widerPays:
		w.halve(now)
	case took >= measured*near && took < WindowLook && (w.tried || !now.Before(w.again)):
		w.double(now, stood)
	}
	if w.Size() == size {
		rate = max(rate, w.rate)
	}
	w.rate = rate
}

// double makes the window twice as wide, if there is room for that.
func (w *Window) double(now time.Time, stood int) {
	more := min(w.Size(), messages.MaxWindow-w.Size())
	w.tried = false
	if more == 0 || stood > w.Size()/keepsUp || w.Room == nil || !w.Room(more) {
		w.again = now.Add(widerAgain)
		return
	}
	w.wider += more
	w.tried, w.settles = true, true
}

// halve makes the window half as wide, or what it was at first.
func (w *Window) halve(now time.Time) {
	w.again = now.Add(widerAgain)
	w.narrow(min(w.Size()/2, w.wider))
}

func (w *Window) narrow(bytes int) {
	if bytes > 0 {
		w.wider -= bytes
		w.Room(-bytes)
	}
	w.tried, w.settles = false, false
}
