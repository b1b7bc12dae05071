package wsock

import (
	"sync"
	"time"
)

// A Limiter bounds the bytes that a Conn passes, in each of two directions by itself:
// from the client, and to it. One goroutine a direction calls it, but for Close.
type Limiter interface {
	// Await waits until some bytes may pass, or until done is closed.
	Await(way int, done <-chan struct{})
	// Passed says how many have passed since.
	Passed(way, n int)
	// Close is called once, when the Conn is closed.
	Close()
}

// The directions of a Limiter.
const (
	fromClient = iota
	toClient
)

// Limit has the Conn ask limiter before it reads or writes. What keeps a session alive,
// and what else never waits, is not asked for, and what is asked for doesn't wait any
// more when the session closes. Called before the Conn is attached; nil is no limit.
func (s *Conn) Limit(limiter Limiter) { s.limiter = limiter }

// awaitLimit waits until the client may be read, by the limiter.
func (s *Session) awaitLimit() {
	if s.conn.limiter == nil {
		return
	}
	if held := s.at.held; held != nil {
		held.hold(true)
		defer held.hold(false)
	}
	s.conn.limiter.Await(fromClient, s.conn.closing)
}

// heldEvery is how often a client hears of the server while it is held up: before it
// asks. The project's own do that when 1.5 s have passed without a word.
const heldEvery = time.Second

// A holdup is of a client that is not read because of a limit: the client may ask
// whether the server still is there, and the question isn't read either. A timer runs
// while it is held up, and for heldEvery beyond at most: so a client that is held up
// again and again, each time for less, is told as often.
type holdup struct {
	say     func() // called each heldEvery while it is held up, under mu
	mu      sync.Mutex
	held    bool // under mu
	running bool // under mu: a timer runs
}

// hold says whether the client is held up from now on.
func (h *holdup) hold(held bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held = held; held && !h.running {
		h.running = true
		time.AfterFunc(heldEvery, h.look)
	}
}

func (h *holdup) look() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running = h.held; h.held {
		h.say()
		time.AfterFunc(heldEvery, h.look)
	}
}

// AwaitTurn waits until something may be written, by the limiter. Who writes data calls
// it when it has written, before it takes what it writes next: so nothing is held
// meanwhile, and what is urgent by then comes first.
func (s *Conn) AwaitTurn() {
	if s.limiter != nil {
		s.limiter.Await(toClient, s.closing)
	}
}

// wrote tells the limiter of frames that were written.
func (s *Conn) wrote(frames [][]byte) {
	n := 0
	for _, frame := range frames {
		n += len(frame)
	}
	s.limiter.Passed(toClient, n)
}

// endLimit lets go of the limiter, once.
func (s *Conn) endLimit() {
	if s.limiter != nil {
		s.limiter.Close()
	}
}
