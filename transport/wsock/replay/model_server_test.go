package replay

import (
	"bytes"
)

// Closes of the contract that the model has.
const (
	closeNormal = 1000
	closePage   = 3000
	closeAway   = 4000
	closeTaken  = 4001
	closeGone   = 4404
	closeCannot = 4409
)

// none is the socket of a session that is detached.
const none = -1

// A server is the session as the server has it: what is built, and around it
// what its owner does.
type server struct {
	s       Sender
	r       Receiver
	socket  int
	attempt uint64  // the last one that was accepted
	flight  []Piece // what the write under way says
	from    uint64  // and where that began
	ackNow  bool
	ends    ends
}

// ends is how far the ends of both directions, and of the session, have got.
type ends struct {
	source    bool   // the target has ended
	eofSent   bool   // on this WebSocket
	closeSent bool   // on this WebSocket
	eofCame   bool   // the client's
	finished  bool   // the client's end was told to the target, as a FIN
	reset     bool   // the target was reset
	over      bool   // the session is
	fin       bool   // once all is passed on, a FIN is due
	echoed    uint64 // of an echoing target: what it has read and not written
}

func newServer(s *setup) server {
	sender, receiver := NewSender(s.unit), NewReceiver(s.unit)
	sender.limit = s.first
	receiver.first, receiver.told, receiver.window, receiver.changed = s.first, s.first, s.first, s.first
	receiver.MaxWindow = int64(s.serverMax)
	return server{s: *sender, r: *receiver}
}

// give has the target write n units more.
func (w *world) give(n uint64) {
	s := &w.server.s
	if w.unit == Bytes {
		s.Keep(Message{Payload: stream[s.end : s.end+n : s.end+n]})
	} else {
		for range n {
			payload, json := content(s.end)
			s.Keep(Message{Payload: payload, JSON: json})
		}
	}
	if w.echo {
		w.server.ends.echoed -= n
	}
}

func (w *world) canGive() uint64 {
	v := &w.server
	if v.ends.source || v.ends.over {
		return 0
	}
	n := min(w.down-v.s.end, uint64(v.s.Room()), w.grain)
	if w.echo {
		n = min(n, v.ends.echoed)
	}
	return n
}

func (w *world) canEnd() bool {
	v := &w.server
	return !v.ends.source && !v.ends.over && v.s.end == w.down && (!w.echo || v.ends.finished)
}

// read has the target read n units.
func (w *world) read(n uint64) {
	v := &w.server
	v.r.Passed(int64(n))
	if w.echo {
		v.ends.echoed += n
	}
	v.ackNow = v.ackNow || v.r.Due()
	w.finish()
}

func (w *world) canRead() uint64 {
	v := &w.server
	if v.ends.reset || w.lazyTarget && v.s.end < w.down || w.echo && v.ends.echoed > 0 {
		return 0
	}
	return min(uint64(v.r.Unpassed()), w.grain)
}

// finish tells the target the client's end, once it has all.
func (w *world) finish() {
	v := &w.server
	if v.ends.fin && v.r.Unpassed() == 0 && !v.ends.reset && !v.ends.finished {
		v.ends.finished = true
		if v.r.passed != w.up {
			w.failf("the target's input ends at %d of %d", v.r.passed, w.up)
		}
	}
}

// What the server writes next, in the order of urgency.
type writing uint8

const (
	writeNothing writing = iota
	writeAck
	writeData
	writeEOF
	writeClose
)

func (w *world) canWrite() writing {
	v := &w.server
	switch e := v.ends; {
	case v.socket == none || e.over || e.closeSent || v.s.inFlight || !w.roomDown(v.socket):
		return writeNothing
	case v.ackNow:
		return writeAck
	case v.s.Pending():
		return writeData
	case e.source && !e.eofSent && w.unit == Bytes:
		return writeEOF
	case e.source && e.finished:
		return writeClose
	}
	return writeNothing
}

func (w *world) write(what writing) {
	v := &w.server
	switch what {
	case writeAck:
		position, limit := v.r.Ack()
		v.ackNow = false
		w.sendDown(v.socket, frame{kind: frameAck, position: position, limit: limit})
	case writeData:
		v.from = v.s.next
		v.flight = v.s.Next(v.flight[:0], w.pieces)
		at := v.from
		for _, p := range v.flight {
			w.sendDown(v.socket, frame{kind: frameData, position: p.Position, n: p.Position - at})
			at = p.Position
		}
		w.intact()
	case writeEOF:
		v.ends.eofSent = true
		w.sendDown(v.socket, frame{kind: frameEOF})
	case writeClose:
		v.ends.closeSent = true
		w.sendDown(v.socket, frame{kind: frameClose, code: closeNormal})
	}
}

// intact checks the bytes of the write under way.
func (w *world) intact() {
	at := w.server.from
	if len(w.server.flight) == 0 {
		w.failf("something is pending, and there is nothing to write")
	}
	for _, p := range w.server.flight {
		want, json := content(at)
		if w.unit == Bytes {
			want, json = stream[at:p.Position], false
		}
		if !bytes.Equal(p.Payload, want) || p.JSON != json || w.unit == Messages && p.Position != at+1 {
			w.failf("what is written from %d to %d is something else", at, p.Position)
		}
		at = p.Position
	}
	if at > w.server.s.limit {
		w.failf("%d is written, beyond the limit", at)
	}
}

// wrote has the write return.
func (w *world) wrote() {
	w.intact()
	w.server.flight = w.server.flight[:0]
	w.server.s.Wrote()
}

// detach is what happens when the WebSocket is lost.
func (w *world) detach() {
	v := &w.server
	if v.s.inFlight {
		w.wrote()
	}
	w.serverLeaves(v.socket)
	v.socket, v.ackNow, v.ends.eofSent, v.ends.closeSent = none, false, false, false
}

// end ends the session. The target is told a FIN when it has all, or is reset.
func (w *world) end(fin bool) {
	v := &w.server
	if v.s.inFlight {
		w.wrote()
	}
	v.s.Drop()
	if v.s.Held() != 0 {
		w.failf("the session is over and holds %d bytes", v.s.Held())
	}
	w.serverLeaves(v.socket)
	v.socket, v.ends.over = none, true
	if !v.ends.finished {
		v.ends.fin, v.ends.reset = fin, !fin
		w.finish()
	}
}

// hear has the server read the next frame of a socket, which may be one that it
// has left behind.
func (w *world) hear(id int) {
	v, s := &w.server, w.socket(id)
	f := s.up.pop()
	if f.kind == frameGet {
		w.takeUp(id, f)
		return
	}
	if id != v.socket {
		w.failf("the server reads a socket that is not the session's")
	}
	switch f.kind {
	case frameAck:
		if err := v.s.Acked(f.position, f.limit); err != nil {
			w.failf("an ack: %v", err)
		}
	case frameData:
		if err := v.r.Came(int64(f.n)); err != nil {
			w.failf("data: %v", err)
		}
		if v.r.Position() != f.position {
			w.failf("a trailer says %d at %d", f.position, v.r.Position())
		}
	case frameEOF:
		v.r.Ended()
		v.ends.eofCame, v.ends.fin = true, true
		w.finish()
	case frameClose:
		w.sendDown(id, frame{kind: frameClose, code: f.code})
		if f.code == closeAway {
			w.detach()
			return
		}
		w.end(v.ends.eofCame || f.code == closeNormal)
	}
}

// takeUp answers a GET.
func (w *world) takeUp(id int, f frame) {
	v := &w.server
	before := string(v.key(nil))
	refuse := func(code int) {
		w.sendDown(id, frame{kind: frameClose, code: code})
		w.serverLeaves(id)
		if string(v.key(nil)) != before {
			w.failf("a GET that is refused by %d has changed the session", code)
		}
	}
	if v.ends.over {
		refuse(closeGone)
		return
	}
	if f.n <= v.attempt {
		refuse(closeTaken)
		return
	}
	if f.position < v.s.Acknowledged() || f.position > v.s.Sent() {
		if v.s.Rewind(f.position) == nil {
			w.failf("it can be taken up at %d", f.position)
		}
		refuse(closeCannot)
		return
	}
	if old := v.socket; old != none {
		w.sendDown(old, frame{kind: frameClose, code: closeTaken})
		w.detach()
	}
	if err := v.s.Rewind(f.position); err != nil {
		w.failf("taking up at %d: %v", f.position, err)
	}
	v.socket, v.attempt, v.ackNow = id, f.n, true
	_, limit := v.r.Ack()
	w.sendDown(id, frame{kind: frameResumed, position: v.r.Position(), limit: limit})
}

func (v *server) key(b []byte) []byte {
	s, r, e := &v.s, &v.r, &v.ends
	b = number(b, s.end, s.next, s.sent, s.acked, s.limit, s.from, v.from, v.attempt, e.echoed)
	b = number(b, r.received, r.passed, r.acked, r.told, r.window, r.changed, r.taken)
	b = append(b, flags(s.inFlight, s.dropped, r.ended, v.ackNow, e.source, e.eofSent, e.closeSent, e.eofCame),
		flags(e.finished, e.reset, e.over, e.fin, v.socket == none))
	for _, c := range s.kept[s.freed:] {
		b = number(b, c.end)
	}
	for _, p := range v.flight {
		b = number(b, p.Position)
	}
	return append(b, '|')
}
