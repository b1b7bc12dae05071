package tunnel

import (
	"time"

	"wsproxy/messages"
)

const (
	// inFlightWindow is how many bytes may be on their way to a client that reads
	// fast: what credit would allow a single raw connection. Measured over
	// loopback: with it, 99 of 100 pings beside an unpaced transfer take seven
	// times as long as alone, without it seventeen times.
	inFlightWindow = messages.Window
	// inFlightHold is how long data waits for a client that is further behind,
	// each batch anew. So whatever a client is busy with, and however long the
	// path, a batch of data goes out every millisecond: 64 MB/s.
	inFlightHold = time.Millisecond
	// interactiveFor is how long after a request or a small piece of data the next
	// one is expected. Without one there is nobody who would wait, and a bulk
	// transfer is not held back: over loopback 1.1 GB/s instead of 0.9.
	interactiveFor = 10 * time.Second
	// inFlightLook is after how many bytes the window is looked at when nobody
	// waits: how wide it can be must be known before.
	inFlightLook = 1 << 20
)

// An inFlight bounds what is on its way to a tunnel's client: what was written
// and the client has not read. The kernel at the other end acknowledges
// megabytes that only wait there, and every frame of another connection waits
// behind them. But the window that it offers shrinks by what waits (RFC 9293,
// section 3.8.6). So while somebody waits, a writer that is too far
// ahead sends control messages only, for a moment. It belongs to the writing
// pump.
type inFlight struct {
	look func() (window, unacked int64) // bytes, as [wsock.Conn.SendWindow]; set once

	widest      int64       // the widest window that was seen
	unseen      int         // bytes written since the last look
	interactive time.Time   // until when somebody is expected to wait
	since       time.Time   // when data began to wait; the zero Time if it doesn't
	hold        *time.Timer // nil until it is needed
}

// wrote notes that so many bytes were written, and whether there was a frame
// among them for which somebody waits.
func (f *inFlight) wrote(n int, interactive bool) {
	f.unseen += n
	if interactive {
		f.interactive = time.Now().Add(interactiveFor)
	}
}

// full reports whether data must wait, for inFlightHold at most.
func (f *inFlight) full() bool {
	if f.since.IsZero() && f.unseen < writeBatch {
		return false
	}
	now := time.Now()
	somebody := now.Before(f.interactive)
	if !somebody && f.unseen < inFlightLook {
		f.since = time.Time{}
		return false
	}
	if f.isAhead() && somebody {
		if f.since.IsZero() {
			f.since = now
		}
		if now.Sub(f.since) < inFlightHold {
			return true
		}
	}
	f.since = time.Time{}
	return false
}

// isAhead reports whether more than the inFlightWindow is on its way.
func (f *inFlight) isAhead() bool {
	window, unacked := f.look()
	f.widest, f.unseen = max(f.widest, window), 0
	return f.widest-window+unacked >= inFlightWindow
}

// await waits for wake, no longer than data must wait.
func (f *inFlight) await(wake <-chan struct{}) {
	rest := inFlightHold - time.Since(f.since)
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
