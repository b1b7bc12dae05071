package mux

import (
	"time"

	"wsproxy/messages"
)

const (
	// creditParts is of how many parts of a window one is given back at a time: the
	// protocol asks for a half at the latest.
	creditParts = 4
	// keepsUp is the part of a window that waits at most for a reader that keeps up.
	keepsUp = 4
	// near is how long a window's bytes take at least where a wider one is tried. On
	// a shorter way 256 KiB are 65 MB/s already, and more would only wait in memory.
	near = 4 * time.Millisecond
	// far is how long they take at most: no way is so long that a wider window
	// would help, and a wide one becomes narrower.
	far = time.Second
	// widerPays is by how much a window that was doubled must have raised the rate
	// for it to be doubled again.
	widerPays = 1.25
	// widerAgain is after what time that is tried once more.
	widerAgain = 2 * time.Second
	// maxWidened is how many bytes all windows of a tunnel together may be wider than
	// at first: what strangers can make this process keep, beside 256 KiB for each
	// connection that its program doesn't read. It is enough for seven uploads of
	// 8 MiB under way.
	maxWidened = 64 << 20
	// widenShare is the part of what is left of that which one step takes at most: so
	// a few fast connections leave something to those that come after them.
	widenShare = 2
)

// A window says how much the server may send on one connection. It begins with
// [messages.Window] and is doubled, up to [messages.MaxWindow], while that
// makes the connection faster, its reader keeps up, and all together have room.
//
// How long the way is can't be told behind front proxies, so it is tried: the
// rate is measured over a window's bytes, then the window is doubled, and after
// a window's bytes that fill the wider one the rate is measured again. If that
// did not pay it becomes narrower, by giving back less than was read: what the
// server has been given it keeps.
type window struct {
	size     int       // how many bytes may be on their way or wait, in the end
	may      int       // how many more the server may send, as far as it has been told or will be
	passed   int       // bytes read since began
	began    time.Time // when this measurement began; the zero Time before the first
	rate     float64   // bytes/s that the last one has found
	tried    bool      // it was doubled, and whether that pays is to be seen
	settles  bool      // and what is measured now is how the wider one fills
	again    time.Time // when it may be doubled once more
	reserved int       // of widened: what it may hold beyond messages.Window
}

func newWindow() window { return window{size: messages.Window, may: messages.Window} }

// came counts bytes that have come, and reports whether they were allowed.
func (w *window) came(n int) bool {
	w.may -= n
	return w.may >= 0
}

// due reports whether so much was read that credit is to be given back. unread
// is how many bytes wait for the reader.
func (w *window) due(unread int) bool { return w.size-w.may-unread >= w.size/creditParts }

// credit returns how much is given back now, which is due. It may be more or
// less than was read, by what the window becomes wider or narrower. widened is what all
// windows of the tunnel have reserved.
func (w *window) credit(unread int, now time.Time, widened *int) int {
	w.measure(w.size-w.may-unread, unread, now, widened)
	n := max(w.size-w.may-unread, 0)
	w.may += n
	w.reserve(max(w.size, w.may+unread)-messages.Window, widened)
	return n
}

// end gives back what the window has reserved.
func (w *window) end(widened *int) { w.reserve(0, widened) }

func (w *window) reserve(n int, widened *int) {
	*widened += n - w.reserved
	w.reserved = n
}

// measure counts bytes that were read, and judges when they are a window's.
func (w *window) measure(read, unread int, now time.Time, widened *int) {
	if w.began.IsZero() {
		w.began = now
		return
	}
	if w.passed += read; w.passed < w.size {
		return
	}
	took, rate := now.Sub(w.began), float64(w.passed)
	w.began, w.passed = now, 0
	if took > 0 {
		rate /= took.Seconds()
	}
	switch {
	case took > far:
		w.narrow()
	case w.settles:
		w.settles = false
	case w.tried && rate < w.rate*widerPays:
		w.narrow()
		w.again = now.Add(widerAgain)
	case took >= near && unread <= w.size/keepsUp && !now.Before(w.again):
		w.double(rate, *widened)
	}
}

// double makes the window twice as wide, if there is room for it.
func (w *window) double(rate float64, widened int) {
	more := min(w.size, messages.MaxWindow-w.size)
	if w.tried = false; more == 0 || more > (maxWidened-widened)/widenShare {
		return
	}
	w.size += more
	w.rate, w.tried, w.settles = rate, true, true
}

// narrow makes it half as wide, or what it was at first.
func (w *window) narrow() {
	w.size = max(w.size/2, messages.Window)
	w.tried, w.settles = false, false
}
