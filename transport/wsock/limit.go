package wsock

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
