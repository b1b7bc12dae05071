package resume

import (
	"runtime"
	"strings"
	"testing"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/replay"
)

// What waits takes up little more than what it is counted as, also if it comes in
// messages of just more than half of a buffer.
func TestHalfFullBuffersDoNotWait(t *testing.T) {
	data := strings.Repeat("x", wsock.Poolable)
	for name, send := range map[string]func(*client){
		"whole":    func(a *client) { a.send(data) },
		"in parts": func(a *client) { a.sendParts(data) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, replay.Bytes)
			r.sink.stuck, r.sink.let = true, make(chan struct{})
			defer close(r.sink.let)
			a := r.begin()
			a.send("a stuck target's")
			for range 3 {
				send(a)
			}
			a.say(messages.PingText)
			a.wantKind(messages.KindPong)
			r.session.mu.Lock()
			defer r.session.mu.Unlock()
			memory := int64(0)
			for _, p := range r.session.queue {
				memory += int64(cap(p.data))
			}
			if memory > r.session.queued/4*5 {
				t.Errorf("%d bytes wait, and take up %d", r.session.queued, memory)
			}
		})
	}
}

// A message of any length that is not complete takes up 64 KiB, and its trailer.
func TestIncompleteMessageWaitsInLittleMemory(t *testing.T) {
	var a assembly
	message := testkit.Pattern(maxMessage)
	if !a.add(message[:50_000]) || !a.add(message[50_000:]) {
		t.Fatal("the longest message is too long")
	}
	memory := 0
	for _, chunk := range a.chunks {
		memory += cap(chunk)
	}
	if memory != maxMessage {
		t.Errorf("the longest message takes up %d bytes", memory)
	}
	if position, ok := a.cutTrailer(); !ok || position == 0 || a.size != replay.MaxPayload || len(a.chunks) != 2 {
		t.Errorf("its position is %d, it has %d bytes in %d chunks", position, a.size, len(a.chunks))
	}
	a.release()
}

// A client that comes and goes while the session closes leaves nothing behind for each
// time.
func TestClosingSessionIsWaitedForOnce(t *testing.T) {
	r := newRig(t, replay.Bytes)
	a := r.begin()
	r.finish(messages.ReasonTargetEnded)
	a.Close()
	testkit.Eventually(t, "the session is detached", func() bool { return r.session.Conn() == nil })
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const times = 20_000
	for range times {
		r.session.endLater()
	}
	runtime.GC()
	runtime.GC() // timers that were stopped are cleared away by and by
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 32*times {
		t.Errorf("%d times have left %d bytes", times, grown)
	}
	r.session.Cut()
	testkit.Receive(t, r.closed)
	r.closed <- messages.ReasonTargetEnded
}
