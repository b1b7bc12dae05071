package replay

type clientState uint8

const (
	begins  clientState = iota // session has not come
	talks                      // session or resumed has come
	asks                       // its GET is not answered
	lost                       // it has no WebSocket, and wants one
	retired                    // it is over
)

// A client says section 9 of the contract from the other side, with what it
// needs for that and nothing else: it knows neither the Sender nor the Receiver.
// It keeps all that it has ever sent.
type client struct {
	state   clientState
	why     int // the close that ended it
	socket  int
	thief   bool
	attempt uint64

	written  uint64 // by the page
	next     uint64 // from here on this WebSocket is written
	sent     uint64
	acked    uint64
	limit    uint64
	knows    bool // the acked position that limit came with
	eof      bool // the page has ended
	eofSent  bool
	closes   int // the close that it wants
	closeWas bool

	received uint64
	passed   uint64 // to the page
	ackSaid  uint64
	told     uint64
	eofCame  int
}

// unsaid is what an ack has said that is due whatever was passed on.
const unsaid = 1 << 60

func newClient(s *setup) client {
	return client{limit: s.first, knows: true, told: s.first}
}

// pageWrites has the page write n units more.
func (w *world) pageWrites(c *client, n uint64) {
	c.written += n
	if c.written == w.up && w.closes {
		c.closes = closeNormal
	}
}

func (w *world) pageCanWrite(c *client) uint64 {
	if c.state == retired || c.closes != 0 || c.limit < c.written {
		return 0
	}
	return min(w.up-c.written, c.limit-c.written, w.grain)
}

func (w *world) pageCanEnd(c *client) bool {
	return c.state != retired && w.unit == Bytes && !w.closes && !c.eof && c.closes == 0 && c.written == w.up
}

func (w *world) pageReads(c *client, n uint64) { c.passed += n }

func (w *world) pageCanRead(c *client) uint64 {
	if w.lazyPage && c.written < w.up {
		return 0
	}
	return min(c.received-c.passed, w.grain)
}

// What a client can write, each at any time.
func (w *world) clientCanAck(c *client) bool {
	return c.state == talks && !c.closeWas && c.passed != c.ackSaid && w.roomUp(c.socket)
}

func (w *world) clientAcks(c *client) {
	c.ackSaid = c.passed
	c.told = max(c.told, c.passed+w.clientMax)
	w.sendUp(c.socket, frame{kind: frameAck, position: c.ackSaid, limit: c.told})
}

func (w *world) clientCanSend(c *client) uint64 {
	if (c.state != talks && c.state != begins) || c.closeWas || !w.roomUp(c.socket) || c.limit < c.next {
		return 0
	}
	n := min(c.written, c.limit) - c.next
	if w.unit == Messages {
		n = min(n, 1)
	}
	return min(n, w.grain)
}

func (w *world) clientSends(c *client, n uint64) {
	c.next += n
	c.sent = max(c.sent, c.next)
	w.sendUp(c.socket, frame{kind: frameData, position: c.next, n: n})
}

// clientCanFinish reports whether eof or the close frame is next.
func (w *world) clientCanFinish(c *client) bool {
	if c.state != talks || c.closeWas || !w.roomUp(c.socket) {
		return false
	}
	if c.closes == closePage {
		return true
	}
	return c.next == c.written && (c.eof && !c.eofSent || c.closes != 0)
}

func (w *world) clientFinishes(c *client) {
	if c.closes != 0 {
		c.closeWas = true
		w.sendUp(c.socket, frame{kind: frameClose, code: c.closes})
		return
	}
	c.eofSent = true
	w.sendUp(c.socket, frame{kind: frameEOF})
}

// clientGoesAway has it say 4000, after which it ignores how the WebSocket ends.
func (w *world) clientGoesAway(c *client) {
	w.sendUp(c.socket, frame{kind: frameClose, code: closeAway})
	w.clientLeaves(c.socket, false)
	c.state, c.socket = lost, none
}

// ask has a client try to take the session up, whatever becomes of what it had.
func (w *world) ask(c *client) {
	w.clientLeaves(c.socket, true)
	c.attempt++
	c.state = asks
	c.eofSent, c.closeWas = false, false
	c.socket = w.dial(c.attempt, c.received)
}

// steal has somebody else try that, who has read a part of what the server has
// sent, and may be wrong about how far that is.
func (w *world) steal(attempt, position uint64) {
	c := client{thief: true, state: asks, attempt: attempt, sent: w.up, received: position, passed: position}
	c.socket = w.dial(c.attempt, position)
	w.clients = append(w.clients, c)
}

// clientLoses has a client see that its WebSocket has ended.
func (w *world) clientLoses(c *client) {
	w.clientLeaves(c.socket, true)
	c.socket = none
	if c.state == begins { // it knows no token, and begins anew
		c.state = retired
	} else {
		c.state = lost
	}
}

func (w *world) retire(c *client, why int) {
	w.clientLeaves(c.socket, false)
	c.socket, c.state, c.why = none, retired, why
}

// listen has a client read the next frame of its WebSocket.
func (w *world) listen(c *client) {
	s := w.socket(c.socket)
	f := s.down.pop()
	if first := f.kind == frameSession || f.kind == frameResumed; f.kind != frameClose && first != (c.state == begins || c.state == asks) {
		w.failf("frame %d comes in state %d", f.kind, c.state)
	}
	switch f.kind {
	case frameSession:
		c.state, c.limit, c.ackSaid = talks, max(c.limit, f.limit), unsaid
	case frameResumed:
		w.resumed(c, f)
	case frameAck:
		if f.position > c.sent || f.position < c.acked || f.limit < c.limit {
			w.failf("the client has sent %d, and had an ack %d, %d; now %d, %d", c.sent, c.acked, c.limit, f.position, f.limit)
		}
		c.acked, c.limit, c.knows = f.position, f.limit, true
	case frameData:
		if c.eofCame > 0 {
			w.failf("data comes behind eof")
		}
		if f.position != c.received+f.n {
			w.failf("%d units up to %d come at %d", f.n, f.position, c.received)
		}
		if c.received += f.n; c.received > c.told && w.setup.thieves == 0 {
			w.failf("%d comes, the limit is %d", c.received, c.told)
		}
	case frameEOF:
		if c.received != w.down {
			w.failf("eof comes at %d of %d", c.received, w.down)
		}
		c.eofCame = 1 // twice is as good as once
	case frameClose:
		w.closed(c, f.code)
	}
}

func (w *world) resumed(c *client, f frame) {
	if f.position < c.acked || f.position > c.sent {
		if w.setup.thieves == 0 {
			w.failf("the client has sent %d, %d are acknowledged, and the server has %d", c.sent, c.acked, f.position)
		}
		w.clientLeaves(c.socket, true) // somebody else has sent in its name
		c.socket, c.state, c.why = none, retired, closeTaken
		return
	}
	c.state, c.next, c.limit, c.knows = talks, f.position, max(c.limit, f.limit), false
	c.written = max(c.written, f.position) // a thief knows what was written
	c.ackSaid = unsaid                     // it answers by an ack
}

// closed is what a client makes of a close frame.
func (w *world) closed(c *client, code int) {
	alone := w.setup.thieves == 0
	switch code {
	case closeTaken:
		if c.state == asks { // its attempt was too old: a higher one
			w.clientLeaves(c.socket, true)
			c.socket, c.state = none, lost
			return
		}
		if alone {
			w.failf("nobody else has the token, and the client hears 4001 behind resumed")
		}
	case closeCannot:
		if alone {
			w.failf("the client can't take the session up at %d", c.received)
		}
	case closeNormal:
		if !c.closeWas { // the server's, who has all
			w.sendUp(c.socket, frame{kind: frameClose, code: closeNormal})
			if alone && (w.unit == Bytes && c.eofCame == 0 || c.received != w.down || w.unit == Bytes && !c.eof) {
				w.failf("the server closes, and the client has %d of %d", c.received, w.down)
			}
		}
	case closeGone:
		if !w.server.ends.over {
			w.failf("the session is there, and the client hears 4404")
		}
	}
	w.retire(c, code)
}

func (c *client) key(b []byte) []byte {
	b = number(b, uint64(c.state), uint64(c.why), c.attempt, c.written, c.next, c.sent, c.acked, c.limit,
		uint64(c.closes), c.received, c.passed, c.ackSaid, c.told, uint64(c.eofCame))
	return append(b, flags(c.thief, c.eof, c.eofSent, c.closeWas, c.knows, c.socket == none))
}
