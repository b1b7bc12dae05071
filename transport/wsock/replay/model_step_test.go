package replay

type actionKind uint8

const (
	targetWrites actionKind = iota
	targetEnds
	targetReads
	serverWrites
	serverWrote
	serverAckDue
	serverHears
	serverLoses
	serverQuiet
	serverGivesUp
	clientWrites
	clientEnds
	clientReads
	clientAcks
	clientSends
	clientFinishes
	clientHears
	clientLoses
	clientAsks
	clientLeaves
	clientGoesAway
	networkCuts
	thiefAsks
)

// An action is a step of the model. Which is whose: a socket's id, a client's
// index, what is written, a thief's attempt.
type action struct {
	kind     actionKind
	which    int
	n        uint64
	progress bool // it will happen if nothing else does
}

// actions appends all that may happen next.
func (w *world) actions(all []action) []action {
	v := &w.server
	add := func(can bool, kind actionKind, which int, progress bool) {
		if can {
			all = append(all, action{kind: kind, which: which, progress: progress})
		}
	}
	some := func(n uint64, kind actionKind, which int) {
		if n > 0 {
			all = append(all, action{kind, which, n, true})
		}
		if n > 1 {
			all = append(all, action{kind, which, 1, true})
		}
	}
	some(w.canGive(), targetWrites, 0)
	add(w.canEnd(), targetEnds, 0, true)
	some(w.canRead(), targetReads, 0)
	if what := w.canWrite(); what != writeNothing {
		add(true, serverWrites, int(what), true)
	}
	add(v.s.inFlight, serverWrote, 0, true)
	add(v.socket != none && !v.ackNow && v.r.Waits(), serverAckDue, 0, true)
	add(w.quiet && v.r.window > v.r.first, serverQuiet, 0, false)
	add(w.timeout && v.socket == none && !v.ends.over, serverGivesUp, 0, false)
	for i := range w.sockets {
		s := &w.sockets[i]
		if !s.serverDone {
			add(s.up.n > 0, serverHears, s.id, true)
			add(s.cut || s.clientDone && s.up.n == 0, serverLoses, s.id, true)
		}
		add(w.cuts < w.setup.cuts && !s.cut, networkCuts, s.id, false)
	}
	for i := range w.clients {
		c := &w.clients[i]
		some(w.pageCanWrite(c), clientWrites, i)
		add(w.pageCanEnd(c), clientEnds, i, true)
		some(w.pageCanRead(c), clientReads, i)
		add(w.clientCanAck(c), clientAcks, i, true)
		some(w.clientCanSend(c), clientSends, i)
		add(w.clientCanFinish(c), clientFinishes, i, true)
		add(w.leaves && c.state == talks && c.closes == 0, clientLeaves, i, false)
		switch hurried := w.hurried < w.impatience; c.state {
		case lost:
			add(true, clientAsks, i, true)
		case talks:
			add(hurried, clientAsks, i, false)
			add(hurried && w.away && !c.closeWas, clientGoesAway, i, false)
		case asks:
			add(hurried, clientAsks, i, false)
		}
		if s := w.socket(c.socket); s != nil {
			add(s.down.n > 0, clientHears, i, true)
			add(s.cut || s.serverDone && s.down.n == 0, clientLoses, i, true)
		}
	}
	if w.thieves < w.setup.thieves && w.clients[0].state != begins {
		for _, attempt := range []uint64{v.attempt, v.attempt + 1, v.attempt + 3} {
			for _, position := range []uint64{v.s.acked, v.s.sent, (v.s.acked + v.s.sent) / 2, v.s.sent + 1} {
				all = append(all, action{thiefAsks, int(attempt), position, false})
			}
		}
	}
	return all
}

// do takes a step, and checks what must hold after every one.
func (w *world) do(a action) {
	before := w.heights()
	switch c := w.client(a); a.kind {
	case targetWrites:
		w.give(a.n)
	case targetEnds:
		w.server.ends.source = true
	case targetReads:
		w.read(a.n)
	case serverWrites:
		w.write(writing(a.which))
	case serverWrote:
		w.wrote()
	case serverAckDue:
		w.server.ackNow = true
	case serverHears:
		w.hear(a.which)
	case serverLoses:
		if a.which == w.server.socket {
			w.detach()
		}
		w.serverLeaves(a.which)
	case serverQuiet:
		w.server.r.Quiet()
	case serverGivesUp:
		w.end(w.server.ends.eofCame && w.server.ends.finished)
	case clientWrites:
		w.pageWrites(c, a.n)
	case clientEnds:
		c.eof = true
	case clientReads:
		w.pageReads(c, a.n)
	case clientAcks:
		w.clientAcks(c)
	case clientSends:
		w.clientSends(c, a.n)
	case clientFinishes:
		w.clientFinishes(c)
	case clientHears:
		w.listen(c)
	case clientLoses:
		w.clientLoses(c)
	case clientAsks:
		if c.state != lost {
			w.hurried++
		}
		w.ask(c)
	case clientLeaves:
		c.closes = closePage
	case clientGoesAway:
		w.hurried++
		w.clientGoesAway(c)
	case networkCuts:
		w.cuts++
		w.socket(a.which).cut = true
	case thiefAsks:
		w.thieves++
		w.steal(uint64(a.which), a.n)
	}
	if w.prompt {
		w.hurry()
	}
	w.sweep()
	w.check(before)
}

// hurry does at once what else happens at some time.
func (w *world) hurry() {
	if w.server.s.inFlight {
		w.wrote()
	}
	for n := w.canRead(); n > 0; n = w.canRead() {
		w.read(n)
	}
	w.server.ends.source = w.server.ends.source || w.canEnd()
	for i := range w.clients {
		c := &w.clients[i]
		for n := w.pageCanRead(c); n > 0; n = w.pageCanRead(c) {
			w.pageReads(c, n)
		}
		c.eof = c.eof || w.pageCanEnd(c)
	}
}

func (w *world) client(a action) *client {
	if a.kind >= clientWrites && a.kind <= clientGoesAway {
		return &w.clients[a.which]
	}
	return nil
}

// heights are the positions and limits that never fall.
func (w *world) heights() [11]uint64 {
	s, r, c := &w.server.s, &w.server.r, &w.clients[0]
	return [...]uint64{s.end, s.sent, s.acked, s.limit, r.received, r.passed, r.told, w.server.attempt, c.acked, c.received, c.limit}
}

// check holds a state to the invariants that are about any state. The others are
// where something happens.
func (w *world) check(before [11]uint64) {
	s, r := &w.server.s, &w.server.r
	for i, height := range w.heights() {
		if height < before[i] {
			w.failf("position %d falls from %d to %d", i, before[i], height)
		}
	}
	kept := s.acked
	if s.inFlight {
		kept = min(kept, s.from)
	}
	switch {
	case w.server.ends.over:
	case s.end-s.acked > max(w.first, w.clientMax):
		w.failf("the server keeps %d units", s.end-s.acked)
	case w.unit == Bytes && uint64(s.held) > s.end-kept+max(maxChunk, w.grain):
		w.failf("the server holds %d bytes for %d", s.held, s.end-kept)
	case kept == s.end && (s.held != 0 || s.kept != nil):
		w.failf("everything is acknowledged, and %d bytes are held", s.held)
	case r.told-r.passed > max(w.first, w.serverMax):
		w.failf("%d units are granted", r.told-r.passed)
	case r.told-r.passed > w.first+r.taken, w.pool < 0, w.pool+int64(r.taken) != w.setup.pool:
		w.failf("%d units are granted, %d are taken, there is room for %d", r.told-r.passed, r.taken, w.pool)
	}
	for i := range w.clients {
		c := &w.clients[i]
		if c.received-c.passed > max(w.first, w.clientMax) && !c.thief {
			w.failf("%d units wait for the page", c.received-c.passed)
		}
		// Until the ack behind resumed has come the client knows the limit, and not
		// yet what it need not keep any more.
		if c.written-c.acked > max(w.first, w.serverMax) && c.knows && !c.thief {
			w.failf("the client keeps %d units", c.written-c.acked)
		}
	}
}

// rest checks a state in which nothing happens any more, unless the network or
// somebody impatient does something: everything has got through, and each side
// knows the other's end.
func (w *world) rest() {
	c, v := &w.clients[0], &w.server
	switch {
	case w.setup.thieves > 0 || c.state == retired && c.why == 0 || w.timeout && c.why == closeGone:
		return // it was somebody else's, or nobody's, or too late
	case w.leaves && c.closes == closePage:
		if c.why != closeNormal && (!v.ends.over || v.ends.reset == v.ends.finished) {
			w.failf("the client has left, and the server has not ended: %+v", v.ends)
		}
		return
	case v.r.passed != w.up || !v.ends.finished:
		w.failf("the target has %d of %d: %+v", v.r.passed, w.up, v.ends)
	case c.state != retired:
		w.failf("the client is in state %d", c.state)
	}
	if w.closes {
		if !v.ends.over {
			w.failf("the client's close is lost")
		}
		return
	}
	if c.passed != w.down || c.eofCame == 0 || c.why != closeNormal && c.why != closeGone {
		w.failf("the page has %d of %d, %+v", c.passed, w.down, c)
	}
	if !v.ends.over && v.socket != none { // it may wait for an answer that was lost
		w.failf("the server has a WebSocket, and the client has gone")
	}
}
