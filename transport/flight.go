package transport

import (
	"time"

	"wsproxy/messages"
)

const (
	// flightWindow is how many bytes may be on their way to a client that reads
	// fast: what credit would allow a single raw connection. Measured over
	// loopback: with it, 99 of 100 pings beside an unpaced transfer take seven
	// times as long as alone, without it seventeen times.
	flightWindow = messages.Window
	// flightHold is how long data waits for a client that is further behind,
	// each batch anew. So whatever a client is busy with, and however long the
	// path, a batch of data goes out every millisecond: 64 MB/s.
	flightHold = time.Millisecond
	// flightHurry is how long after a request or a small piece of data the next
	// one is expected. Without one there is nobody who would wait, and a bulk
	// transfer is not held back: over loopback 1.1 GB/s instead of 0.9.
	flightHurry = 10 * time.Second
	// flightLook is after how many bytes the window is looked at when nobody is
	// in a hurry: how wide it can be must be known before.
	flightLook = 1 << 20
)

// A flight bounds what is on its way to a tunnel's client: what was written
// and the client has not read. The kernel at the other end acknowledges
// megabytes that only wait there, and every frame of another connection waits
// behind them. But the window that it offers shrinks by what waits (RFC 9293,
// section 3.8.6). So while somebody is in a hurry, a writer that is too far
// ahead sends control messages only, for a moment. It belongs to the writing
// pump.
type flight struct {
	look func() (window, unacked int64) // bytes, as kernelAhead; set once

	widest int64       // the widest window that was seen
	unseen int         // bytes written since the last look
	hurry  time.Time   // until when somebody is expected to be in a hurry
	since  time.Time   // when data began to wait; the zero Time if it doesn't
	hold   *time.Timer // nil until it is needed
}

// wrote notes that so many bytes were written, and whether there was a frame
// among them for which somebody waits.
func (f *flight) wrote(n int, hurry bool) {
	f.unseen += n
	if hurry {
		f.hurry = time.Now().Add(flightHurry)
	}
}

// full reports whether data must wait, for flightHold at most.
func (f *flight) full() bool {
	if f.since.IsZero() && f.unseen < writeBatch {
		return false
	}
	now := time.Now()
	hurry := now.Before(f.hurry)
	if !hurry && f.unseen < flightLook {
		f.since = time.Time{}
		return false
	}
	if f.isAhead() && hurry {
		if f.since.IsZero() {
			f.since = now
		}
		if now.Sub(f.since) < flightHold {
			return true
		}
	}
	f.since = time.Time{}
	return false
}

// isAhead reports whether more than the flightWindow is on its way.
func (f *flight) isAhead() bool {
	window, unacked := f.look()
	f.widest, f.unseen = max(f.widest, window), 0
	return f.widest-window+unacked >= flightWindow
}

// await waits for wake, no longer than data must wait.
func (f *flight) await(wake <-chan struct{}) {
	rest := flightHold - time.Since(f.since)
	if f.hold == nil {
		f.hold = time.NewTimer(rest)
	} else {
		f.hold.Reset(rest)
	}
	select {
	case <-wake:
	case <-f.hold.C:
	}
}
