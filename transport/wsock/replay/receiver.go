package replay

import "wsproxy/messages"

// A Receiver counts what one side receives and passes on, and says what the
// other side may send. It belongs to an owner with a lock.
//
// Its window is what the other side may send beyond what was passed on: the
// first limit, or more while the other side uses that up, it is passed on, and
// there is room. Narrowing takes nothing back that was told: it lets the other
// side use that up without telling more.
type Receiver struct {
	// Widen takes room for so many units more, and reports whether there is any;
	// less than zero gives back. It is called for what goes beyond the first
	// limit, by Ack, Quiet and Drop. nil = there is never any.
	Widen func(units int64) bool
	// MaxWindow is how wide the window may become, in units.
	MaxWindow int64

	received uint64
	passed   uint64
	acked    uint64 // what the last ack said was passed on
	told     uint64 // the limit that the other side knows
	window   uint64
	changed  uint64 // the limit that was told when the window last changed
	taken    uint64 // of Widen
	first    uint64 // the first window
	unit     Unit
	ended    bool
}

// NewReceiver returns a Receiver whose other side knows the first limit.
func NewReceiver(unit Unit) *Receiver {
	first := unit.FirstLimit()
	return &Receiver{unit: unit, told: first, window: first, changed: first, first: first}
}

// Came counts a complete message. The error is ErrBeyondLimit or ErrBehindEnd,
// and then nothing was counted.
func (r *Receiver) Came(units int64) error {
	switch received := r.received + uint64(units); {
	case received == r.received:
		return nil
	case r.ended:
		return ErrBehindEnd
	case received > r.told:
		return ErrBeyondLimit
	default:
		r.received = received
		return nil
	}
}

// Ended says that an eof has come: nothing more may. Twice is as good as once.
func (r *Receiver) Ended() { r.ended = true }

// Passed counts what was passed on, at most what Unpassed returns.
func (r *Receiver) Passed(units int64) {
	r.passed = min(r.passed+uint64(units), r.received)
}

// Position returns what was received: what a client that takes the session up
// says, and a server in resumed.
func (r *Receiver) Position() uint64 { return r.received }

// Left returns how much more may come.
func (r *Receiver) Left() int64 { return int64(r.told - r.received) }

// Unpassed returns how much was received and is not passed on.
func (r *Receiver) Unpassed() int64 { return int64(r.received - r.passed) }

// Due reports whether an ack is due now.
func (r *Receiver) Due() bool { return r.passed-r.acked >= r.unit.ack(r.window) }

// Waits reports whether something was passed on that no ack has told: one is due
// within a second.
func (r *Receiver) Waits() bool { return r.passed != r.acked }

// Ack returns what an ack says now, and notes it as told. Neither ever falls. An
// ack that is due may widen the window, one that comes earlier does not: a quarter
// of the window that took a second to be passed on asks for no more.
func (r *Receiver) Ack() (position, limit uint64) {
	wider := r.Due() && r.usedUp() && r.widen()
	r.acked = r.passed
	r.told = max(r.told, min(r.passed+r.window, messages.MaxPosition))
	if wider {
		r.changed = r.told
	}
	r.settle()
	return r.acked, r.told
}

// usedUp reports whether the other side has sent all that it was told when the
// window last changed, and has not met a slow reader: then no wider window would
// help.
func (r *Receiver) usedUp() bool {
	return r.received >= r.changed && r.received-r.passed <= r.window/2
}

// widen doubles the window if there is room.
func (r *Receiver) widen() bool {
	wider := min(2*r.window, uint64(max(r.MaxWindow, 0)))
	if wider <= r.window || r.Widen == nil {
		return false
	}
	if need := wider - r.first; need > r.taken {
		if !r.Widen(int64(need - r.taken)) {
			return false
		}
		r.taken = need
	}
	r.window = wider
	return true
}

// settle gives back what the other side can't use any more.
func (r *Receiver) settle() {
	outstanding := max(r.window, r.told-r.passed)
	r.giveBack(outstanding - r.first)
}

// giveBack gives back all room but so much.
func (r *Receiver) giveBack(left uint64) {
	if r.taken > left {
		r.Widen(-int64(r.taken - left))
		r.taken = left
	}
}

// IsWide reports whether the window is wider than at first: Quiet is to be called
// some time.
func (r *Receiver) IsWide() bool { return r.window > r.unit.FirstLimit() }

// Quiet narrows the window to the first one. Its owner calls it when little has
// been passed on for a while. What has been told stays so, and as the other side
// uses that up the acks give the room back.
func (r *Receiver) Quiet() {
	if r.window > r.first {
		r.window, r.changed = r.first, r.told
	}
	r.settle()
}

// Drop gives back all that was taken by Widen, which is not called after it. The
// session is over.
func (r *Receiver) Drop() {
	r.giveBack(0)
	r.Widen, r.window = nil, r.first
}
