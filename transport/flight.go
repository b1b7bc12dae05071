package transport

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"wsproxy/messages"
)

const (
	// flightWindow is how many bytes may be on their way to a client that reads
	// fast. Measured over loopback: with it, 99 of 100 pings beside an unpaced
	// transfer take five times as long as alone, without it seventeen times.
	flightWindow = 2 * messages.Window
	// flightHold is how long at most data waits for a client that is further
	// behind, each batch anew. So whatever delays its answers (a long path, a
	// narrow way back, its own transfers), a batch of data goes out every
	// millisecond: 64 MB/s.
	flightHold = time.Millisecond
	// flightHurry is how long after a request or a small piece of data the next
	// one is expected. Without one there is nobody who would wait, and a bulk
	// transfer is not held back: that takes a fifth less processor time.
	flightHurry = 10 * time.Second

	flightMarker = 8 // bytes of a marker's payload
)

// A flight bounds what is on its way to a tunnel's client: what was written
// and the client has not come to. TCP doesn't tell: the kernel at the other
// end acknowledges megabytes that only wait there, and every frame of another
// connection waits behind them. So while somebody is in a hurry the writer
// marks its place with pings, whose payload says how many bytes went before.
// They are answered in their turn among the frames (RFC 6455, section 5.5.2),
// and a writer that is too far ahead of the answers sends control messages
// only, for a moment.
//
// The writing pump marks, the reading pump hears the answers. A client that
// forges them changes no bound but its own.
type flight struct {
	come atomic.Int64 // bytes that the client has come to; 0 = it has answered nothing yet

	sent   int64       // bytes written; the writing pump's, as all that follows
	marked int64       // sent at the newest marker
	hurry  time.Time   // until when somebody is expected to be in a hurry
	since  time.Time   // when data began to wait; the zero Time if it doesn't
	hold   *time.Timer // nil until it is needed
}

// hurried notes that a frame is sent for which somebody waits.
func (f *flight) hurried() { f.hurry = time.Now().Add(flightHurry) }

// marker counts n bytes that are about to be written, and returns the ping to
// be written after them; most of the time it is none.
func (f *flight) marker(n int) []byte {
	f.sent += int64(n)
	if f.sent-f.marked < flightWindow/4 || !time.Now().Before(f.hurry) {
		return nil
	}
	f.marked = f.sent
	return controlFrame(opPing, binary.BigEndian.AppendUint64(nil, uint64(f.sent)))
}

// full reports whether the client must come further before it is sent more, or
// flightHold must pass.
func (f *flight) full() bool {
	come := f.come.Load()
	if come == 0 || f.sent-come < flightWindow {
		f.since = time.Time{}
		return false
	}
	now := time.Now()
	if f.since.IsZero() {
		f.since = now
	}
	if now.Sub(f.since) >= flightHold || !now.Before(f.hurry) {
		f.since = time.Time{}
		return false
	}
	return true
}

// await waits for wake, no longer than full may be true.
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

// pong takes the payload of a pong, and reports whether it was the answer to a
// marker that tells something new.
func (f *flight) pong(payload []byte) bool {
	if len(payload) != flightMarker {
		return false
	}
	come := int64(binary.BigEndian.Uint64(payload))
	if come <= f.come.Load() {
		return false
	}
	f.come.Store(come)
	return true
}
