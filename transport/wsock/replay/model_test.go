package replay

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// The model of a session: a server made of a Sender and a Receiver as built
// (model_server_test.go), clients that say section 9 of the contract once more
// in the plainest way (model_client_test.go), and WebSockets between them that
// break anywhere (here). model_explore_test.go goes through the states of small
// instances, all of them, and through random ones of larger instances.
//
// What is sent is a function of its position, so that "exactly once and in
// order" can be read off positions. Of the server's bytes, which go through the
// Sender's memory, each one is compared with that function.
//
// No state has a time. What the contract does after a time may happen at any.

// A setup is what an instance of the model is like.
type setup struct {
	unit       Unit
	down, up   uint64 // units that each side has to send
	first      uint64 // both sides' first window
	serverMax  uint64 // up to where the server widens its window
	clientMax  uint64 // the client's window from its first ack on
	pool       int64  // room for the server's wider windows
	queue      int    // frames that fit in a WebSocket, in each direction, up to maxQueue
	cuts       int    // of WebSockets, by the network
	impatience int    // take-ups by a client whose WebSocket may work
	thieves    int    // take-ups by somebody else who has the token
	timeout    bool   // a detached session may be given up
	quiet      bool   // the window may become narrower at any time
	grain      uint64 // units that move in one step, at most
	pieces     int    // the largest write, in bytes; 0 = a piece
	prompt     bool   // writes return, and page and target read and end, at once
	lazyPage   bool   // doesn't read before it has written all
	lazyTarget bool   // the same
	echo       bool   // the target writes what it reads, and reads no more before
	closes     bool   // the client ends with a close frame (1000) instead of eof
	leaves     bool   // it may end with 3000 at any time
	away       bool   // it may send 4000, and come back
}

type frameKind uint8

const (
	frameGet frameKind = iota + 1
	frameSession
	frameResumed
	frameAck
	frameData
	frameEOF
	frameClose
)

// A frame is a complete message, or a take-up's GET. One of which only a part
// arrives is as if it had not come, also if wrong bytes make it complete: its
// trailer tells.
type frame struct {
	kind     frameKind
	position uint64 // of data: behind it
	n        uint64 // of data: units; of a GET: its attempt
	limit    uint64
	code     int // of a close frame
}

// A queue is one direction of a WebSocket. It has room for what a setup says, for
// the frames of one write, and a close frame.
type queue struct {
	frames [2 * maxQueue]frame
	n      int
}

// maxQueue is the most that a setup may say.
const maxQueue = 6

func (q *queue) push(f frame) {
	q.frames[q.n] = f
	q.n++
}

func (q *queue) pop() frame {
	f := q.frames[0]
	q.n--
	copy(q.frames[:q.n], q.frames[1:])
	return f
}

func (q *queue) all() []frame { return q.frames[:q.n] }

// A socket is a WebSocket. Each side sees what the other has written, in order.
// When it is cut, what is under way arrives up to any point.
type socket struct {
	id       int
	up, down queue
	cut      bool
	// A side that is done reads no more, and writes no more.
	serverDone, clientDone bool
}

// A world is a state of the model.
type world struct {
	*setup
	server  server
	clients []client
	sockets []socket
	last    int // id of the newest socket
	pool    int64
	cuts    int
	hurried int
	thieves int
	fault   string // what is wrong with the step that led here
}

func (w *world) failf(format string, args ...any) {
	if w.fault == "" {
		w.fault = fmt.Sprintf(format, args...)
	}
}

func newWorld(s *setup) *world {
	w := &world{setup: s, pool: s.pool}
	w.server = newServer(s)
	w.clients = []client{newClient(s)}
	w.sockets = make([]socket, 1)
	w.sockets[0].down.push(frame{kind: frameSession, limit: s.first})
	w.server.r.Widen = w.widen
	return w
}

// widen is the Receiver's Widen.
func (w *world) widen(units int64) bool {
	if units > w.pool {
		return false
	}
	w.pool -= units
	return true
}

// copyTo makes another world the same as this one. It has memory of its own, and
// what it had is used again. The bytes in a Sender's chunks are in both: they don't
// change, or only into what every copy makes of them.
func (w *world) copyTo(c *world) {
	kept, flight, clients, sockets := c.server.s.kept, c.server.flight, c.clients, c.sockets
	*c = *w
	c.server.s.kept = nil
	if len(w.server.s.kept) > 0 {
		c.server.s.kept = append(kept[:0], w.server.s.kept...)
	}
	c.server.flight = append(flight[:0], w.server.flight...)
	c.clients = append(clients[:0], w.clients...)
	c.sockets = append(sockets[:0], w.sockets...)
	c.server.r.Widen = c.widen
}

func (w *world) socket(id int) *socket {
	for i := range w.sockets {
		if w.sockets[i].id == id {
			return &w.sockets[i]
		}
	}
	return nil
}

// dial returns the id of a new socket, with a GET on its way.
func (w *world) dial(attempt, position uint64) int {
	w.last++
	w.sockets = append(w.sockets, socket{id: w.last})
	w.sendUp(w.last, frame{kind: frameGet, position: position, n: attempt})
	return w.last
}

// sendUp writes a frame of a client. On a socket that is cut it goes nowhere.
func (w *world) sendUp(id int, f frame) {
	if s := w.socket(id); s != nil && !s.cut && !s.serverDone {
		s.up.push(f)
	}
}

func (w *world) sendDown(id int, f frame) {
	if s := w.socket(id); s != nil && !s.cut && !s.clientDone {
		s.down.push(f)
	}
}

// roomUp reports whether a client can write: a socket that is cut takes all.
func (w *world) roomUp(id int) bool {
	s := w.socket(id)
	return s == nil || s.cut || s.serverDone || s.up.n < w.queue
}

func (w *world) roomDown(id int) bool {
	s := w.socket(id)
	return s == nil || s.cut || s.clientDone || s.down.n < w.queue
}

// sweep forgets sockets of which nobody hears any more.
func (w *world) sweep() {
	for i := len(w.sockets) - 1; i >= 0; i-- {
		if s := &w.sockets[i]; s.serverDone && s.clientDone {
			w.sockets = slices.Delete(w.sockets, i, i+1)
		}
	}
}

// serverLeaves has the server read nothing more from a socket.
func (w *world) serverLeaves(id int) {
	if s := w.socket(id); s != nil {
		s.serverDone, s.up.n = true, 0
	}
}

// clientLeaves has the client read nothing more. What it has written arrives, or
// up to any point if it has given the socket up.
func (w *world) clientLeaves(id int, given bool) {
	if s := w.socket(id); s != nil {
		s.clientDone, s.down.n = true, 0
		s.cut = s.cut || given
	}
}

// stream is what both sides send, in bytes. No two places of it look alike.
var stream = text(0, 4<<20)

// content returns the payload of a message of a tunnel, of which some are empty.
func content(position uint64) (payload []byte, json bool) {
	n := (position * 7 % 5) * 3
	if position%11 == 10 {
		n = 20_000
	}
	return stream[position : position+n], position%3 == 0
}

// key returns the state in bytes. Two states with the same key behave the same.
func (w *world) key(b []byte) []byte {
	b = w.server.key(b)
	for i := range w.clients {
		b = w.clients[i].key(b)
	}
	b = number(b, uint64(w.cuts), uint64(w.hurried), uint64(w.thieves), uint64(w.pool))
	for i := range w.sockets {
		s := &w.sockets[i]
		b = append(b, 'S', flags(s.cut, s.serverDone, s.clientDone, w.server.socket == s.id))
		for j := range w.clients {
			b = append(b, flags(w.clients[j].socket == s.id))
		}
		for _, f := range s.up.all() {
			b = f.key(append(b, '^'))
		}
		for _, f := range s.down.all() {
			b = f.key(append(b, 'v'))
		}
	}
	return b
}

func (f frame) key(b []byte) []byte {
	return number(append(b, byte(f.kind)), f.position, f.n, f.limit, uint64(f.code))
}

func number(b []byte, numbers ...uint64) []byte {
	for _, n := range numbers {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func flags(all ...bool) (b byte) {
	for i, set := range all {
		if set {
			b |= 1 << i
		}
	}
	return b
}

// String is for those who look for a fault.
func (w *world) String() string {
	s, r := &w.server.s, &w.server.r
	text := fmt.Sprintf("server: socket %d, attempt %d, end %d next %d sent %d acked %d limit %d flight %v; received %d passed %d told %d window %d; %+v\n",
		w.server.socket, w.server.attempt, s.end, s.next, s.sent, s.acked, s.limit, s.inFlight, r.received, r.passed, r.told, r.window, w.server.ends)
	for _, c := range w.clients {
		text += fmt.Sprintf("client: %+v\n", c)
	}
	for _, s := range w.sockets {
		text += fmt.Sprintf("socket %d: up %v, down %v, cut %v, done %v %v\n", s.id, s.up.all(), s.down.all(), s.cut, s.serverDone, s.clientDone)
	}
	return text
}
