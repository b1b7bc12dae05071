package transport

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"wsproxy/messages"
)

const (
	// minFlight is the least that may be on its way to a tunnel's client, in
	// bytes: less would cut the writer's batches.
	minFlight = writeBatch
	// flightStep is how many bytes lie between two markers when nobody is in a
	// hurry.
	flightStep = 4 * messages.Window
	// flightStretch is how many times as much may be on its way as the path
	// itself holds. A frame of another connection then waits three of the
	// shortest round trips more; with less, answers that come late now and
	// then would make the path run empty.
	flightStretch = 4
	// flightNoise is what a round trip is taken for that took less: about so
	// long the client may wait for a processor. Over loopback on two busy cores
	// twice as much meant 1.6 times as long for 99 of 100 pings.
	flightNoise = 64 * time.Microsecond
	// flightPatience is how long a client may take to answer a marker. After
	// that it is taken for one that answers none, and is not limited until it
	// does.
	flightPatience = time.Second

	// flightHurry is how long after a request or a small piece of data the next
	// one is expected. Without one there is nobody who would wait, and a bulk
	// transfer is not held back: that takes a fifth less processor time.
	flightHurry = 10 * time.Second

	flightMarker = 24 // bytes of a marker's payload
)

// A flight bounds what is on its way to a tunnel's client: what was written
// and the client has not come to. TCP doesn't tell: the kernel at the other
// end acknowledges megabytes that only wait there, and every frame of another
// connection waits behind them. So the writer marks its place with pings. They
// are answered in their turn among the frames (RFC 6455, section 5.5.2), and a
// writer that is too far ahead of the answers sends control messages only, if
// somebody is in a hurry.
//
// How far ahead it may be comes from the rate at which the answers come and
// the shortest time that one took, as in congestion control by delay (BBR,
// draft-ietf-ccwg-bbr, section 2.4).
//
// The writing pump marks, the reading pump hears the answers; what a marker
// measures travels in its payload. A client that forges answers changes no
// bound but its own.
type flight struct {
	epoch time.Time    // set once; what the times in markers count from
	ahead atomic.Int64 // bytes: how far the writer may be ahead
	come  atomic.Int64 // bytes that the client has come to; 0 = it has answered nothing yet

	sent     int64         // bytes written; the writing pump's, as the next four
	hurry    time.Time     // until when somebody is expected to be in a hurry
	marked   int64         // sent at the newest marker
	lapsed   int64         // what come was when patience ended
	patience *time.Timer   // nil until it is needed
	least    time.Duration // the shortest that an answer took; the reading pump's
}

func (f *flight) init() {
	f.epoch = time.Now()
	f.ahead.Store(minFlight)
}

// hurried notes that a frame is sent for which somebody waits.
func (f *flight) hurried() { f.hurry = time.Now().Add(flightHurry) }

// marker counts n bytes that are about to be written, and returns the ping to
// be written after them; most of the time it is none.
func (f *flight) marker(n int) []byte {
	f.sent += int64(n)
	step := f.sent - f.marked
	if step < f.ahead.Load()/4 || step < flightStep && !time.Now().Before(f.hurry) {
		return nil
	}
	f.marked = f.sent
	payload := make([]byte, 0, flightMarker)
	for _, v := range []int64{f.sent, f.come.Load(), int64(time.Since(f.epoch))} {
		payload = binary.BigEndian.AppendUint64(payload, uint64(v))
	}
	return controlFrame(opPing, payload)
}

// full reports whether the client must come further before it is sent more.
func (f *flight) full() bool {
	come := f.come.Load()
	return come > 0 && come != f.lapsed && f.sent-come >= f.ahead.Load() && time.Now().Before(f.hurry)
}

// await waits for wake, no longer than the client may take.
func (f *flight) await(wake <-chan struct{}) {
	if f.patience == nil {
		f.patience = time.NewTimer(flightPatience)
	} else {
		f.patience.Reset(flightPatience)
	}
	select {
	case <-wake:
	case <-f.patience.C:
		f.lapsed = f.come.Load()
	}
}

// pong takes the payload of a pong, and reports whether it was the answer to a
// marker that tells something new.
func (f *flight) pong(payload []byte) bool {
	if len(payload) != flightMarker {
		return false
	}
	come := int64(binary.BigEndian.Uint64(payload))
	before := int64(binary.BigEndian.Uint64(payload[8:]))
	took := time.Since(f.epoch) - time.Duration(binary.BigEndian.Uint64(payload[16:]))
	if come <= f.come.Load() || took <= 0 {
		return false
	}
	if f.least == 0 || took < f.least {
		f.least = took
	}
	// The rate is that at which the client came to what was on its way with the
	// marker. It is smoothed as round trips are in RFC 6298, section 2: single
	// answers come late, or in bursts after one that was late.
	rate := float64(come-before) / float64(took)
	fits := int64(rate * flightStretch * float64(max(f.least, flightNoise)))
	ahead := f.ahead.Load()
	f.ahead.Store(max(minFlight, ahead+(fits-ahead)/8))
	f.come.Store(come)
	return true
}
