package resume

import (
	"encoding/binary"
	"strings"
	"testing"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

// What is dropped takes up nothing, and its trailer is told all the same, wherever the
// pieces end.
func TestDroppedMessageHasItsTrailer(t *testing.T) {
	message := binary.BigEndian.AppendUint64(testkit.Pattern(40*kib), 4711)
	for from := range 12 {
		for _, step := range []int{1, 3, 7, 8, 9, 5000} {
			var a assembly
			at := len(message) - from
			a.add(message[:at])
			a.drop()
			for ; at < len(message); at += step {
				a.add(message[at:min(at+step, len(message))])
			}
			if a.chunks != nil {
				t.Fatal("something is kept")
			}
			if position, ok := a.cutTrailer(); !ok || position != 4711 || a.size != 40*kib {
				t.Fatalf("dropped %d bytes before its end, in steps of %d: %d, %v, %d bytes", from, step, position, ok, a.size)
			}
		}
	}
}

// A message that is beyond the limit, and too long as well, is too long.
func TestPartsBeyondTheLimit(t *testing.T) {
	for size, want := range map[int]messages.Reason{
		40 * kib:              messages.ReasonBeyondLimit,
		replay.MaxPayload + 1: messages.ReasonMessageTooBig,
	} {
		r := newRig(t, replay.Bytes)
		r.sink.stuck, r.sink.let = true, make(chan struct{}) // no ack grants more
		a := r.begin()
		a.send(strings.Repeat("u", 40*kib))
		a.sendParts(strings.Repeat("v", size))
		if m := testkit.Hears[*messages.WebSocketEnded](r.Ear); m.Reason != want {
			t.Errorf("%d bytes: the owner hears %+v", size, m)
		}
		close(r.sink.let)
	}
}
