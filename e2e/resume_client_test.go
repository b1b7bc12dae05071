package e2e

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// resumeQuiet is how long a client waits for a word before it asks, and then for
	// the answer.
	resumeQuiet = 500 * time.Millisecond
	// resumeTick is how often it looks at its clock.
	resumeTick = 50 * time.Millisecond
	// resumeAckAfter is when it acknowledges a few bytes; the contract says a second.
	resumeAckAfter = 400 * time.Millisecond
	// resumeAhead is how much may wait in a client for the server.
	resumeAhead = 1 << 20
	// resumeStuck is how long a reader or writer waits, for a test that is stuck
	// shall say where. It is longer than what tests let both wait.
	resumeStuck = 4 * patience
)

var errResumeTaken = errors.New("another WebSocket has taken the session over")

// A resumeSent is a message of a tunnel.
type resumeSent struct {
	opcode  byte
	payload []byte
}

// A resumeClient keeps a session over as many WebSockets as it takes, and
// complains of whatever a server must not do. To a relay it is a net.Conn.
type resumeClient struct {
	t       testing.TB
	via     resumeVia
	path    string // /relay or /tunnel
	query   string // of the first GET
	auth    string // token=..., if a token is needed
	tunnel  bool
	window  uint64                            // what is granted beyond what was passed on
	buffer  uint64                            // the server's RESUME_BUFFER
	damaged bool                              // by proxies that alter messages
	take    func(opcode byte, payload []byte) // gets a tunnel's messages
	quiet   time.Duration                     // without a word, after which it asks
	retry   time.Duration                     // between two tries
	patient time.Duration                     // how long it tries in all

	tries int           // since the last WebSocket, each of which is waited for longer; of run
	done  chan struct{} // closed when the session is over
	all   sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	sock    *resumeSocket // the last one whose first message has come; nil while another is tried
	live    *resumeSocket // sock, while it is read
	token   string
	timeout uint64
	attempt uint64
	taken   int   // take-ups
	begun   int   // sessions: more than one if the first message was lost
	lost    int   // WebSockets
	err     error // how it ended

	// What comes.
	position uint64 // of complete messages
	passed   uint64 // to the reader
	acked    uint64 // of it
	ackedAt  time.Time
	granted  uint64
	owesAck  bool
	in       []byte
	inEnd    bool // eof has come

	// What goes.
	base    uint64 // acknowledged
	out     []byte // bytes of a relay from base on
	queue   []resumeSent
	next    uint64 // position to send from on this WebSocket
	most    uint64 // position that was ever sent
	limit   uint64
	outEnd  bool // eof is to be sent
	endSent bool // on this WebSocket
	endEver bool
	bye     int // the code to close with, once all was sent
	byeSent bool
	pongs   int
	heard   time.Time
	asked   time.Time // ping was sent, zero if something came since
	ping    bool      // is to be sent
}

// resumeOpen begins a session. It ends with the test.
func resumeOpen(t testing.TB, via resumeVia, pathAndQuery string, change ...func(*resumeClient)) *resumeClient {
	t.Helper()
	path, query, _ := strings.Cut(pathAndQuery, "?")
	c := &resumeClient{
		t: t, via: via, path: path, query: query, tunnel: path == "/tunnel", window: resumeFirst, buffer: resumeBuffer,
		quiet: resumeQuiet, retry: 20 * time.Millisecond, patient: 2 * patience, done: make(chan struct{}), limit: resumeFirst,
	}
	if c.tunnel {
		c.window, c.limit, c.buffer = resumeFirstMessages, resumeFirstMessages, resumeBufferMessages
	}
	c.granted = c.limit
	if c.via.wait == 0 {
		c.via.wait = 4 * time.Second
	}
	for _, f := range change {
		f(c)
	}
	c.changed = sync.NewCond(&c.mu)
	c.all.Go(c.run)
	c.all.Go(c.tick)
	t.Cleanup(func() {
		c.finish(net.ErrClosed)
		c.all.Wait()
	})
	return c
}

// resumeOver is resumeOpen for a relay, whose session must have begun.
func resumeOver(t *testing.T, via resumeVia, target net.Addr, change ...func(*resumeClient)) *resumeClient {
	t.Helper()
	c := resumeOpen(t, via, relayPath(target), change...)
	c.waitBegun(t)
	return c
}

// waitBegun waits for a token.
func (c *resumeClient) waitBegun(t *testing.T) {
	t.Helper()
	eventually(t, patience, "the session begins", func() bool { return c.view(func() bool { return c.token != "" || c.err != nil }) })
	if err := c.end(); err != nil {
		t.Fatalf("the session does not begin: %v", err)
	}
}

// view asks something under the lock.
func (c *resumeClient) view(f func() bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return f()
}

// end returns how the session has ended, nil if it lives.
func (c *resumeClient) end() (err error) {
	c.view(func() bool { err = c.err; return true })
	return err
}

// takenUp returns how often the session was taken up so far.
func (c *resumeClient) takenUp() (n int) {
	c.view(func() bool { n = c.taken; return true })
	return n
}

// finish ends everything, with the first error that there is.
func (c *resumeClient) finish(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	close(c.done)
	if c.live != nil {
		c.live.Close()
	}
	c.changed.Broadcast()
}

// cut loses the WebSocket, as a network does.
func (c *resumeClient) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live != nil {
		c.live.cut()
	}
}

// run keeps a WebSocket until the session is over.
func (c *resumeClient) run() {
	trying := time.Now()
	for {
		sock, err := c.connect()
		if err == nil {
			served := c.serve(sock)
			err, trying = served, time.Now()
		}
		if fatal := c.judge(err); fatal != nil {
			c.finish(fatal)
			return
		}
		if time.Since(trying) > c.patient {
			c.finish(fmt.Errorf("nobody takes the session up: %w", err))
			return
		}
		select {
		case <-c.done:
			return
		case <-time.After(c.retry/2 + rand.N(c.retry)):
		}
	}
}

// A resumeFatal is an end that no other WebSocket can mend.
type resumeFatal struct{ error }

func (e resumeFatal) Unwrap() error { return e.error }

// judge returns an error that is for good, or nil if the WebSocket was lost.
func (c *resumeClient) judge(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost++
	var (
		broken *resumeTorn
		closed *resumeClosed
		fatal  resumeFatal
	)
	switch {
	case c.err != nil:
		return c.err
	case errors.As(err, &fatal):
		return fatal.error
	case errors.As(err, &broken):
		if !c.damaged {
			c.t.Errorf("%s of a resumable session: %v", c.path, err)
		}
	case errors.As(err, &closed):
		switch closed.code {
		case 1000:
			if !c.byeSent && !(c.inEnd && c.endEver) {
				if !c.tunnel {
					c.t.Errorf("the server closes a relay with 1000 before both sides have ended (its eof: %v, ours: %v)", c.inEnd, c.endEver)
				}
			}
			return io.EOF
		case 1002, 1003, 1008, 1009, 1011, 4404, 4409:
			if closed.code == 4404 && c.byeSent {
				return io.EOF // the answer to our close was lost
			}
			return err
		case 4001:
			if c.sock != nil { // since resumed
				return errResumeTaken
			}
		default:
			if c.byeSent && c.bye == closed.code {
				return err // the answer to ours
			}
		}
	}
	c.sock = nil
	c.changed.Broadcast()
	return nil
}

// connect makes a WebSocket and hears its first message.
func (c *resumeClient) connect() (*resumeSocket, error) {
	c.mu.Lock()
	c.attempt++
	token, position, attempt := c.token, c.position, c.attempt
	c.sock = nil
	c.mu.Unlock()
	query, protocols := c.query, []string{resumeV1, resumeProtocol}
	if token != "" {
		unit := map[bool]string{false: "bytes", true: "messages"}[c.tunnel]
		query = fmt.Sprintf("%s=%d&attempt=%d", unit, position, attempt)
		if c.auth != "" {
			query += "&" + c.auth
		}
		protocols = []string{resumeProtocol, "resume." + token}
	}
	if rand.IntN(2) == 0 {
		protocols[0], protocols[1] = protocols[1], protocols[0]
	}
	via := c.via
	via.wait = min(via.wait<<c.tries, patience)
	c.tries++
	sock, answer, err := resumeDial(via, c.path+"?"+query, protocols...)
	if err != nil {
		if answer != nil && answer.status < 500 {
			return nil, resumeFatal{err}
		}
		return nil, err
	}
	if sock.selected != resumeProtocol {
		sock.Close()
		return nil, resumeFatal{fmt.Errorf("the server selects %q", sock.selected)}
	}
	first, err := sock.read()
	if err == nil {
		err = c.begin(sock, token != "", first)
	}
	if err != nil {
		sock.cut()
		return nil, err
	}
	_ = sock.SetDeadline(time.Time{})
	c.tries = 0
	return sock, nil
}

// begin takes the server's first message.
func (c *resumeClient) begin(sock *resumeSocket, again bool, m resumeMessage) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	want := map[bool]string{false: "session", true: "resumed"}[again]
	if m.note == nil || m.note.kind != want {
		return torn("the first message is %.100q, not %s", m.payload, want)
	}
	n := m.note
	if again {
		if n.position < c.base || n.position > c.most {
			return torn("resumed says position %d; %d are acknowledged and %d were sent", n.position, c.base, c.most)
		}
		if n.limit < c.limit {
			return torn("resumed lets the limit fall from %d to %d", c.limit, n.limit)
		}
		c.taken++
		c.next, c.limit = n.position, n.limit
	} else {
		if n.limit != c.limit {
			return torn("the first limit is %d", n.limit)
		}
		c.begun++
		c.token, c.timeout = n.resume, n.timeout
	}
	c.sock, c.live, c.endSent, c.byeSent, c.pongs = sock, sock, false, false, 0
	c.owesAck, c.heard, c.asked, c.ping = true, time.Now(), time.Time{}, false
	return nil
}

// serve reads until the WebSocket ends, and returns how.
func (c *resumeClient) serve(sock *resumeSocket) error {
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.writeAll(sock)
	}()
	defer func() {
		c.mu.Lock()
		c.live = nil
		c.changed.Broadcast()
		c.mu.Unlock()
		sock.cut()
		<-written
	}()
	for {
		m, err := sock.read()
		if err == nil {
			err = c.received(m)
		}
		if err != nil {
			sock.answer(err)
			return err
		}
	}
}
