package tap

import "time"

// maxKept is how many bytes of each body are kept, each way.
const maxKept = 64 << 10

// An Exchange is a request and its answer. One that has ended is never changed any
// more; before, copies are handed out.
type Exchange struct {
	ID     uint64
	Tunnel string // the name of its tunnel, "" for the only one
	// Remote is the address of the connection's first outside client.
	Remote string
	// Method and Path are as they came. A stranger chooses them: they may hold any
	// bytes but blanks and line ends.
	Method, Path string
	Status       int // 0 if no answer came
	Start        time.Time
	FirstByte    time.Duration // until the head of the final answer; 0 if none came
	Duration     time.Duration // until the answer's last byte, or the end of the upgraded connection
	In, Out      int64         // bytes of the bodies, or of the upgraded connection

	Upgraded    bool // it has become another connection
	EventStream bool // its answer goes on for as long as the client stays
	Ended       bool
	Cut         bool // it ended before it was whole
	Own         bool // answered here, not by the service
	Replayed    bool // asked by the page of requests, not from outside
	// Hint is what may help the user, a sentence; "" if there is nothing.
	Hint string

	// Kept is nil if nothing is kept.
	*Kept

	head  bool   // its method is HEAD
	page  bool   // it is from a browser that shows pages
	probe []byte // the front of its answer's body, while a hint is looked for in it
}

// Kept is what is kept of an exchange to be looked at. Bytes that are in it are
// never changed, so that a copy of the slices may be read while more is appended.
type Kept struct {
	RequestHead, RequestBody []byte
	AnswerHead, AnswerBody   []byte
	RequestCut, AnswerCut    bool // more has passed than is kept

	held int // what the keeper was asked for
}

// lasts reports whether it goes on for as long as the client likes.
func (e *Exchange) lasts() bool { return e.Upgraded || e.EventStream }

// snapshot returns a copy that stays as it is.
func (e *Exchange) snapshot() Exchange {
	c := *e
	if e.Kept != nil {
		kept := *e.Kept
		c.Kept = &kept
	}
	c.probe = nil
	return c
}

// A Watcher is told of exchanges. It must not block, and may be called by many
// connections at once.
type Watcher interface {
	// Lasts tells of an exchange that has its answer and will go on for long: an
	// upgraded one, or a stream of events.
	Lasts(e Exchange)
	// Ends tells of an exchange that has ended. It is the watcher's from now on.
	Ends(e *Exchange)
}

// A Keeper keeps what has passed. It must not block, and may be called by many
// connections at once.
type Keeper interface {
	// Begins tells of a request whose head has come, Answered of the head of its
	// final answer, Ends of its end.
	Begins(e Exchange)
	Answered(e Exchange)
	Ends(e *Exchange)
	// Grow asks whether so many bytes more may be kept, and counts them if so.
	// Those of an exchange that has ended are the keeper's to count.
	Grow(bytes int) bool
}

// keep appends to kept what of b has room, and reports whether all had.
func (e *Exchange) keep(k Keeper, kept *[]byte, b []byte) bool {
	n := min(len(b), maxKept-len(*kept))
	if n > 0 {
		before := cap(*kept)
		need := len(*kept) + n
		if need > before {
			size := max(need, min(2*before, maxKept))
			if !k.Grow(size - before) {
				return false
			}
			e.held += size - before
			grown := make([]byte, len(*kept), size)
			copy(grown, *kept)
			*kept = grown
		}
		*kept = append(*kept, b[:n]...)
	}
	return n == len(b)
}

// Held returns how many bytes the keeper was asked for.
func (e *Exchange) Held() int {
	if e.Kept == nil {
		return 0
	}
	return e.held
}
