package wsock

import (
	"sync"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/wsock/kernel"
)

// The keepalive looks at each socket eight times per ping interval, so that an
// end is found within an eighth of the interval after it is due; two and a
// half intervals, from the protocol, are then twenty looks.
const (
	beatsPerInterval = 8
	beatsOfPatience  = beatsPerInterval * 5 / 2
)

// A beat goes round the sockets in as many turns, so that neither pings nor pongs
// come in a burst that others wait behind: of 20,000 sockets 10 are pinged in a turn, and 80
// looked at (p99 of other pings: docs/performance.md). Turns are not shorter than shortestTurn.
const (
	mostTurns    = 256 // so that a uint8 says which
	shortestTurn = 5 * time.Millisecond
)

// A Keepalive pings all WebSockets and finds the clients that are gone, with
// one goroutine and one timer for all of them, which owns every pulse. It
// never waits for a client.
type Keepalive struct {
	mu    sync.Mutex
	young map[*Conn]struct{} // under mu: those that have joined since the last beat; nil for none

	leave   chan *Conn // those that the goroutine knows
	stop    chan struct{}
	stopped chan struct{}
}

// A pulse is what the keepalive remembers of a Conn. Only its goroutine
// touches it.
type pulse struct {
	group   uint8  // at which turn of a beat the socket is looked at
	phase   uint8  // at which beat of the interval it is pinged
	silent  uint8  // beats in a row in which the client was waited for and sent nothing
	stalled uint8  // beats in a row in which a write made no progress
	heard   uint32 // Conn.heard at the last beat
	written uint32 // Conn.written at the last beat
	acked   uint64 // bytes that the client's kernel had acknowledged at the last beat of a write
	taken   uint64 // the same at the last beat of a long silence
	pinged  uint64 // what it will be when the newest ping has arrived
}

// NewKeepalive starts the goroutine. It pings each socket once per interval.
func NewKeepalive(interval time.Duration) *Keepalive {
	k := &Keepalive{leave: make(chan *Conn), stop: make(chan struct{}), stopped: make(chan struct{})}
	go k.run(interval)
	return k
}

// Close ends the goroutine and waits for its end. Sockets may join and leave
// after that, to no effect.
func (k *Keepalive) Close() {
	close(k.stop)
	<-k.stopped
}

// add has a socket looked at from the next beat on. One that is gone by then never
// costs the goroutine a turn, as those don't that come and go by the thousand.
func (k *Keepalive) add(s *Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.young == nil {
		k.young = make(map[*Conn]struct{})
	}
	k.young[s] = struct{}{}
}

// remove ends that. It may wait for a turn.
func (k *Keepalive) remove(s *Conn) {
	k.mu.Lock()
	_, young := k.young[s]
	delete(k.young, s)
	k.mu.Unlock()
	if young {
		return
	}
	select {
	case k.leave <- s:
	case <-k.stopped:
	}
}

// joined returns those that have joined since the last call.
func (k *Keepalive) joined() map[*Conn]struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	young := k.young
	k.young = nil // a map never shrinks
	return young
}

func (k *Keepalive) run(interval time.Duration) {
	defer close(k.stopped)
	beat := interval / beatsPerInterval
	r := newRota(int(min(max(beat/shortestTurn, 1), mostTurns)))
	turn := beat / time.Duration(len(r.groups))
	due := time.Now().Add(turn)
	ticker := time.NewTicker(turn)
	defer ticker.Stop()
	for {
		select {
		case s := <-k.leave:
			r.leave(s)
		case <-ticker.C:
			// Turns that were missed are made up for, so that a busy machine's beats
			// don't get longer; but a process that has stood still for long, as its
			// clients may have, looks at each but once.
			now := time.Now()
			for n := 0; n < len(r.groups) && !due.After(now); n++ {
				if r.next == 0 {
					r.join(k.joined())
				}
				sockets, beat := r.turn()
				for s := range sockets {
					s.beat(beat)
				}
				due = due.Add(turn)
			}
			if due.Before(now) {
				due = now
			}
		case <-k.stop:
			return
		}
	}
}

// A rota says whose turn it is. All turns of a beat come to every socket once.
type rota struct {
	groups []map[*Conn]struct{} // by turn
	next   int                  // whose turn it is next
	beat   uint8                // of the interval
	slot   int                  // of the next that joins: one of the turns of firstPings beats
}

func newRota(turns int) *rota {
	r := &rota{groups: make([]map[*Conn]struct{}, turns)}
	for i := range r.groups {
		r.groups[i] = make(map[*Conn]struct{})
	}
	return r
}

// firstPings is over how many beats the first pings of those are spread that join at once.
// The first one comes a beat after a socket was first looked at, since whoever has just come
// needs none, and the last one, with a beat until it joins and one of turns, within an
// interval.
const firstPings = beatsPerInterval - 2

// join spreads sockets over the interval.
func (r *rota) join(young map[*Conn]struct{}) {
	for s := range young {
		s.pulse.group = uint8(r.slot / firstPings)
		s.pulse.phase = (r.beat + 1 + uint8(r.slot%firstPings)) % beatsPerInterval
		r.groups[s.pulse.group][s] = struct{}{}
		r.slot = (r.slot + 1) % (firstPings * len(r.groups))
	}
}

func (r *rota) leave(s *Conn) { delete(r.groups[s.pulse.group], s) }

// turn returns who is looked at next, at which beat.
func (r *rota) turn() (sockets map[*Conn]struct{}, beat uint8) {
	sockets, beat = r.groups[r.next], r.beat
	if r.next++; r.next == len(r.groups) {
		r.next, r.beat = 0, (r.beat+1)%beatsPerInterval
	}
	return sockets, beat
}

// takesData reports whether the client's kernel takes data without having come
// to the newest ping: then the client can't answer it yet. What it takes after
// the ping is no sign of life.
func (s *Conn) takesData() bool {
	before := s.pulse.taken
	s.pulse.taken = kernel.BytesAcked(s.raw)
	return s.pulse.silent > beatsPerInterval+1 && s.pulse.taken != before && s.pulse.taken < s.pulse.pinged
}

// beat judges the client by what happened since the last beat, and pings it
// when its turn has come.
func (s *Conn) beat(beat uint8) {
	p := &s.pulse
	if s.leaving.Load() {
		return
	}

	// Silence counts only while the client is being waited for: what it sends
	// while its target holds the proxy up is not read. Nor is its end, so a
	// connection known to be broken has as long for its last bytes. While data
	// is on its way the client gets no ping that it could answer.
	heard := s.heard.Load()
	if heard != p.heard || s.writing.Load() || !s.reading.Load() && !s.broken.Load() {
		p.heard, p.silent = heard, 0
	} else if p.silent++; p.silent > beatsPerInterval && s.takesData() {
		p.silent = beatsPerInterval
	} else if p.silent >= beatsOfPatience {
		s.giveUp(messages.ReasonClientSilent)
		return
	}

	// A write that waits is judged by what the client's kernel acknowledges:
	// the kernel here takes bytes in steps of megabytes.
	written := s.written.Load()
	if !s.writing.Load() || written != p.written {
		p.written, p.stalled, p.acked = written, 0, 0
	} else if acked := kernel.BytesAcked(s.raw); acked != p.acked {
		p.acked, p.stalled = acked, 0
	} else if p.stalled++; p.stalled >= beatsOfPatience {
		s.giveUp(messages.ReasonClientStalled)
		return
	}

	if beat == p.phase {
		s.ping()
	} else {
		s.flush()
	}
}
