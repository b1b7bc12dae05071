package inflight

import (
	"cmp"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/kernel"
)

const (
	// MaxBatch is how many bytes of data are written at once at most: a frame that
	// comes meanwhile waits no longer than that takes.
	MaxBatch = 64 << 10
	// readWindow is how many bytes may wait in the kernel of a client that reads
	// fast: what credit would allow a single raw connection. Measured over
	// loopback: with it, 99 of 100 pings beside an unpaced transfer take seven
	// times as long as alone, without it seventeen times.
	readWindow = messages.Window
	// readHold is how long data waits for a client that is further behind,
	// each batch anew. So whatever a client is busy with, and however long the
	// path, a batch of data goes out every millisecond: 64 MB/s.
	readHold = time.Millisecond
	// interactiveFor is how long after a request or a small piece of data the next
	// one is expected. Without one there is nobody who would wait behind what the
	// client's kernel holds: over loopback 1.1 GB/s instead of 0.9.
	interactiveFor = 10 * time.Second

	// slack is by how much bytes on their way may lengthen a round trip. Less
	// would take a jitter of radio links for a queue.
	slack = 20 * time.Millisecond
	// least is how many bytes may be on their way however long that takes: less
	// than a data frame can't be sent.
	least = wsock.BufferSize
	// unbounded is the limit that doesn't bind: the kernel takes no more.
	unbounded = wsock.SendBuffer
	// baseFor is after what time the empty path is measured again, while the limit
	// binds: the path may have become a longer one, and who keeps it full sees no other
	// round trip. It costs two round trips.
	baseFor = 20 * time.Second
	// probeFor is how long at most that is tried.
	probeFor = 2 * time.Second
	// empty is below how many bytes on their way the path counts as empty.
	empty = 4 << 10
	// unboundedLook is after how many bytes the kernel is asked again while the
	// limit does not bind.
	unboundedLook = 256 << 10
	// maxHold is after what time at most a path is looked at that was full.
	maxHold = 10 * time.Millisecond
)

// A Bound is kept by the writer of one WebSocket, before each write. It knows of
// two places where bytes wait.
//
// One is the path: a router's queue holds a megabyte and more, and every byte
// there adds to the round trip, which the kernel measures. What may be on its way is
// scaled, once a round trip, by what a round trip may last and what it does. On a path on
// which nothing queues up that does not bind.
//
// The other is the client's kernel. It acknowledges megabytes that only wait there. But
// the window that it offers shrinks by what waits (RFC 9293, section 3.8.6). While
// somebody is expected to wait, a writer that is too far ahead stops for a
// moment.
type Bound struct {
	look func() kernel.Sending // set once

	unseen int           // bytes written since the last look
	next   int           // after how many there is another look
	wait   time.Duration // for how long data waits, when there is no room
	hold   *time.Timer   // nil until it is needed

	limit   int64         // bytes that may be on their way; unbounded if it does not bind
	met     bool          // the limit has held the writer back in this round
	round   time.Time     // when the limit is looked at again
	base    time.Duration // what a round trip takes on the empty path
	based   time.Time     // when that was measured
	probing bool          // the path is empty, and what is written next measures it
	sent    time.Time     // when that was; the zero Time before
	written int64         // bytes since then, and itself

	widest      int64     // the widest window that was seen, bytes
	interactive time.Time // until when somebody is expected to wait
	since       time.Time // when data began to wait for the client to read; the zero Time if it doesn't
}

// Watch has the Bound ask look for what the kernel knows. It is called once, before
// anything else.
func (b *Bound) Watch(look func() kernel.Sending) { b.look, b.limit = look, unbounded }

// Wrote notes that so many bytes were written, and whether there was something
// among them for which somebody waits.
func (b *Bound) Wrote(n int, interactive bool) {
	b.unseen += n
	if b.probing {
		b.written += int64(n)
		if b.sent.IsZero() {
			b.sent = time.Now()
		}
	}
	if interactive {
		b.interactive = time.Now().Add(interactiveFor)
	}
}

// Room returns about how many bytes of data may be written now, at most MaxBatch.
// If it is 0, Await says for how long.
func (b *Bound) Room() int {
	if left := b.next - b.unseen; left >= MaxBatch || left > 0 && b.next < unboundedLook { // no batch is cut short only to look
		return min(b.next-b.unseen, MaxBatch)
	}
	now := time.Now()
	s := b.look()
	b.widest, b.unseen, b.next = max(b.widest, s.Window), 0, 0
	room := b.pathRoom(s, now)
	if room <= 0 || !b.isRead(s, now) {
		return 0
	}
	b.next = int(min(room, unboundedLook))
	if b.probing || now.Before(b.interactive) {
		b.next = min(b.next, MaxBatch)
	}
	return min(b.next, MaxBatch)
}

// isRead reports whether the client reads what its kernel has, or has had its
// time to. Data waits for readHold at most.
func (b *Bound) isRead(s kernel.Sending, now time.Time) bool {
	if now.Before(b.interactive) && b.widest-s.Window+s.Unacked >= readWindow {
		if b.since.IsZero() {
			b.since = now
		}
		if b.wait = readHold - now.Sub(b.since); b.wait > 0 {
			return false
		}
	}
	b.since = time.Time{}
	return true
}

// pathRoom returns how many bytes the path has room for.
func (b *Bound) pathRoom(s kernel.Sending, now time.Time) int64 {
	if s.RTT <= 0 { // the kernel does not tell
		return unbounded
	}
	if b.base == 0 {
		b.base = cmp.Or(s.MinRTT, s.RTT)
	}
	b.base = min(b.base, s.RTT)
	if !now.Before(b.round) && now.Sub(b.based) <= baseFor {
		b.scale(s)
		b.round, b.met = now.Add(s.RTT), false
	}
	room := b.probe(s, now)
	if room <= 0 {
		b.met = true
		b.wait = min(max(s.RTT*time.Duration(1-room)/time.Duration(max(s.Unacked, 1)), readHold), maxHold)
	}
	return room
}

// scale sets the limit for the next round trip. What is on its way is the rate by
// the round trip (Little's law): so the limit is the rate by what that may last.
// To the bytes of a frame, which come at once, a round trip adds half a frame's time.
func (b *Bound) scale(s kernel.Sending) {
	frame := s.RTT * least / time.Duration(max(s.Unacked, least))
	may := b.base + slack + frame/2
	switch {
	case s.RTT > may && s.Unacked > least/2: // less is no queue of ours
		b.limit = max(b.limit/2, min(b.limit, s.Unacked)*int64(may)/int64(s.RTT), least)
	case b.met && s.RTT <= may:
		b.limit = min(b.limit*5/4, b.limit*int64(may)/int64(s.RTT)+1, unbounded)
	}
}

// probe returns how many bytes the limit leaves room for, and measures the empty
// path now and then. Then it is filled again in the course of a round trip: all at
// once would queue up.
func (b *Bound) probe(s kernel.Sending, now time.Time) (room int64) {
	past := now.Sub(b.based)
	switch {
	case b.limit == unbounded: // should it bind, the path is soon measured
		b.based = now.Add(probeFor - baseFor)
	case past > baseFor+probeFor:
		b.based, b.probing, b.sent = now, false, time.Time{}
	case past < s.RTT:
		return b.limit*int64(past)/int64(s.RTT) - s.Unacked
	case past <= baseFor:
	case !b.probing:
		if s.Unacked < empty {
			b.probing, b.written = true, 0
		}
		return empty - s.Unacked
	case b.sent.IsZero(): // there was nothing to send
	case b.written > s.Unacked: // more is acknowledged than was on its way before
		b.base, b.based, b.probing, b.sent = now.Sub(b.sent), now, false, time.Time{}
		b.round = now.Add(2 * s.RTT)
		return 0
	default:
		return 0
	}
	return b.limit - s.Unacked
}

// Await waits for wake, no longer than data must wait.
func (b *Bound) Await(wake <-chan struct{}) {
	if b.hold == nil {
		b.hold = time.NewTimer(b.wait)
	} else {
		b.hold.Reset(b.wait)
	}
	select {
	case <-wake:
	case <-b.hold.C:
	}
}
