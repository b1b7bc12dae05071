package replay

import (
	"testing"
	"unsafe"

	"wsproxy/messages"
)

// room is what a session's windows may take together.
type room struct{ left, taken int64 }

func (r *room) widen(units int64) bool {
	if units > r.left {
		return false
	}
	r.left -= units
	r.taken += units
	return true
}

// wide returns a Receiver that may become so wide, out of so much room.
func wide(unit Unit, most, left int64) (*Receiver, *room) {
	r, room := NewReceiver(unit), &room{left: left}
	r.MaxWindow, r.Widen = most, room.widen
	return r, room
}

// through receives so much and passes it on at once, with the acks that are due.
func through(t *testing.T, r *Receiver, units int64) {
	t.Helper()
	for units > 0 {
		n := min(units, 8<<10)
		must(t, r.Came(n))
		r.Passed(n)
		if units -= n; r.Due() {
			r.Ack()
		}
	}
}

func TestReceiverHoldsTheOtherSideToItsLimit(t *testing.T) {
	if size := unsafe.Sizeof(Receiver{}); size > 200 {
		t.Errorf("a Receiver takes %d bytes", size)
	}
	for unit, first := range map[Unit]int64{Bytes: 64 << 10, Messages: 64} {
		r := NewReceiver(unit)
		must(t, r.Came(first))
		if r.Came(1) != ErrBeyondLimit || r.Position() != uint64(first) || r.Unpassed() != first {
			t.Errorf("at %d of %d", r.Position(), first)
		}
		r.Passed(10)
		if r.Came(1) != ErrBeyondLimit {
			t.Error("what was passed on is granted before it was told")
		}
		if position, limit := r.Ack(); position != 10 || limit != uint64(first)+10 {
			t.Errorf("the ack says %d, %d", position, limit)
		}
		must(t, r.Came(10))
		if r.Came(1) != ErrBeyondLimit {
			t.Error("more is taken than was told")
		}
		r.Passed(1000000)
		if r.Unpassed() != 0 {
			t.Error("what has not come is passed on")
		}
	}
}

func TestReceiverTakesNothingBehindTheEnd(t *testing.T) {
	r := NewReceiver(Bytes)
	must(t, r.Came(5))
	r.Ended()
	r.Ended()
	must(t, r.Came(0)) // a message without bytes is none
	if r.Came(1) != ErrBehindEnd || r.Position() != 5 {
		t.Error("bytes are taken behind the end")
	}
	r.Passed(5)
	if position, _ := r.Ack(); position != 5 {
		t.Error("what came before it is not acknowledged")
	}
}

func TestReceiverSaysWhenAnAckIsDue(t *testing.T) {
	for _, test := range []struct {
		unit         Unit
		window, want int64
	}{
		{Bytes, 64 << 10, 16 << 10}, {Bytes, 128 << 10, 32 << 10}, {Bytes, 1 << 20, 32 << 10},
		{Messages, 64, 16}, {Messages, 1024, 32},
	} {
		r := NewReceiver(test.unit)
		r.window, r.told = uint64(test.window), uint64(test.window)
		must(t, r.Came(test.window))
		if r.Due() || r.Waits() {
			t.Error("an ack of nothing is due")
		}
		r.Passed(1)
		if r.Due() || !r.Waits() {
			t.Error("what was passed on doesn't wait for its ack")
		}
		if r.Passed(test.want - 2); r.Due() {
			t.Errorf("of %d an ack is due before %d", test.window, test.want)
		}
		if r.Passed(1); !r.Due() {
			t.Errorf("of %d no ack is due at %d", test.window, test.want)
		}
		if r.Ack(); r.Due() || r.Waits() {
			t.Error("the ack is due again")
		}
	}
}

// What an ack says never falls, and says the same again if nothing has happened:
// so one that was lost is made good.
func TestReceiverRepeatsItsAck(t *testing.T) {
	r, _ := wide(Bytes, 1<<20, 1<<30)
	through(t, r, 3<<20)
	position, limit := r.Ack()
	for range 3 {
		if p, l := r.Ack(); p != position || l != limit {
			t.Errorf("%d, %d and then %d, %d", position, limit, p, l)
		}
	}
	r.Quiet()
	if p, l := r.Ack(); p != position || l != limit {
		t.Errorf("narrower, %d, %d and then %d, %d", position, limit, p, l)
	}
}

func TestReceiverWidensWhatIsUsedUp(t *testing.T) {
	r, room := wide(Bytes, 1<<20, 1<<30)
	for _, test := range []struct{ received, window int64 }{
		{48, 64}, {16, 128}, // 64 KiB were told, then 64 + 128
		{112, 128}, {32, 256}, {224, 256}, {32, 512}, {448, 512}, {64, 1024}, {4096, 1024},
	} {
		if through(t, r, test.received<<10); r.window != uint64(test.window)<<10 {
			t.Fatalf("at %d KiB the window has %d KiB, want %d", r.received>>10, r.window>>10, test.window)
		}
	}
	if _, limit := r.Ack(); limit != r.passed+1<<20 || room.taken != 1<<20-64<<10 {
		t.Errorf("%d are granted, %d taken", limit-r.passed, room.taken)
	}
	if r.Drop(); room.taken != 0 {
		t.Errorf("in the end %d are left", room.taken)
	}
}

func TestReceiverWidensUpToItsBounds(t *testing.T) {
	for _, test := range []struct {
		name       string
		most, left int64
		want       uint64
	}{
		{"up to a window that is no power of two", 100 << 10, 1 << 30, 100 << 10},
		{"not without room", 1 << 20, 0, 64 << 10},
		{"as far as there is room", 1 << 20, 100 << 10, 128 << 10},
		{"not below the first window", 1000, 1 << 30, 64 << 10},
		{"not without a bound", 0, 1 << 30, 64 << 10},
	} {
		r, room := wide(Bytes, test.most, test.left)
		if through(t, r, 4<<20); r.window != test.want || room.taken != int64(test.want)-64<<10 {
			t.Errorf("%s: %d, %d taken", test.name, r.window, room.taken)
		}
	}
	r := NewReceiver(Messages)
	if r.MaxWindow = 1024; r.Widen != nil {
		t.Fatal("there is room")
	}
	through(t, r, 64)
	if _, limit := r.Ack(); limit != 128 {
		t.Errorf("without Widen: up to %d", limit)
	}
	r, _ = wide(Messages, 1024, 1<<30)
	for range 4000 {
		through(t, r, 1)
	}
	if r.window != 1024 {
		t.Errorf("%d messages", r.window)
	}
}

// A wider window helps nobody whose reader is slow, or who sends little.
func TestReceiverStaysNarrow(t *testing.T) {
	r, _ := wide(Bytes, 1<<20, 1<<30)
	must(t, r.Came(64<<10))
	for range 1000 { // what comes waits
		r.Passed(16 << 10)
		_, limit := r.Ack()
		must(t, r.Came(int64(limit-r.Position())))
	}
	if r.window != 64<<10 {
		t.Errorf("behind a slow reader it has %d", r.window)
	}
	r, room := wide(Bytes, 1<<20, 1<<30)
	for range 1000 { // an ack every second
		must(t, r.Came(1000))
		r.Passed(1000)
		r.Ack()
	}
	if r.window != 64<<10 || room.taken != 0 {
		t.Errorf("for a little it has %d", r.window)
	}
}

func TestReceiverNarrowsWhenItIsQuiet(t *testing.T) {
	r, room := wide(Bytes, 1<<20, 1<<30)
	through(t, r, 8<<20)
	_, told := r.Ack()
	most := room.taken
	if r.Quiet(); room.taken != most {
		t.Error("room was given back that the other side may use")
	}
	for r.Position() < told-64<<10 {
		n := int64(min(1000, told-64<<10-r.Position()))
		must(t, r.Came(n))
		r.Passed(n)
		if _, limit := r.Ack(); limit != told {
			t.Fatalf("it was told %d more", limit-told)
		}
		if outstanding := int64(told - r.passed); room.taken != outstanding-64<<10 {
			t.Fatalf("of %d that are outstanding %d are taken", outstanding, room.taken)
		}
	}
	must(t, r.Came(1000))
	r.Passed(1000)
	if _, limit := r.Ack(); limit != told+1000 || room.taken != 0 {
		t.Errorf("then up to %d more, %d are taken", limit-told, room.taken)
	}
	if through(t, r, 8<<20); r.window != 1<<20 || room.taken != most {
		t.Errorf("it is as wide as %d again", r.window)
	}
}

// Wide again while some of the room has not been given back, it takes the rest.
func TestReceiverTakesRoomOnce(t *testing.T) {
	r, room := wide(Bytes, 1<<20, 1<<20-64<<10)
	for range 20 {
		if through(t, r, 2<<20); room.taken != 1<<20-64<<10 || r.window != 1<<20 {
			t.Fatalf("%d taken, the window has %d", room.taken, r.window)
		}
		r.Quiet()
		r.Quiet()
		through(t, r, 100<<10)
	}
}

func TestReceiverCountsUpToTheEnd(t *testing.T) {
	r, room := wide(Bytes, 1<<20, 1<<30)
	const last = messages.MaxPosition
	r.received, r.passed, r.acked, r.told, r.changed = last-70_000, last-70_000, last-70_000, last-70_000+64<<10, last-70_000+64<<10
	through(t, r, 69_999)
	if r.Came(2) != ErrBeyondLimit {
		t.Error("a position beyond the last one")
	}
	through(t, r, 1)
	if position, limit := r.Ack(); position != last || limit != last {
		t.Errorf("%d, %d", position, limit)
	}
	if r.Drop(); room.taken != 0 {
		t.Errorf("%d are left", room.taken)
	}
}
