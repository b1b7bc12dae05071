package actors

import (
	"testing"
	"time"

	"wsproxy/actors/stalls"
	"wsproxy/messages"
)

// holds makes a connection one that holds so much memory.
func (v *rigTunnel) holds(id string, bytes int64) *fakeStream {
	v.r.t.Helper()
	s := v.accepts(id)
	s.set(bytes, 1)
	return s
}

// setMemory says what the tunnel holds in all.
func (v *rigTunnel) setMemory(bytes int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.memory = bytes
}

// setComing says that too, and how much of it a message has that comes just now.
func (v *rigTunnel) setComing(bytes, coming int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.memory, v.coming = bytes, coming
}

// When more is held than there is, the tunnel that holds most gives way, its
// newest first, until there is enough.
func TestTunnelThatHoldsMostGivesWay(t *testing.T) {
	inRig(t, rigOptions{needs: Tunnels{MaxConns: 9}}, func(r *tunnelRig) {
		light, heavy := r.ready(withBytes), r.ready()
		light.setMemory(5 << 20)
		spared := light.holds("light", 5<<20)
		heavy.setMemory(9 << 20)
		first, second := heavy.holds("first", 3<<20), heavy.holds("second", 3<<20)
		small := heavy.holds("small", 10)
		q := heavy.asks("q", "GET q")
		heavy.want("control GET q")
		q.held = 1 << 20
		last := heavy.holds("last", 2<<20)

		r.excess.Store(5 << 20)
		r.send(r.tunnels, &messages.MemoryShort{})
		heavy.wantStream(last, "abort slow")
		heavy.wantAnswer(q, "memory")
		heavy.wantStream(second, "abort slow")
		for _, s := range []*fakeStream{first, small, spared} {
			heavy.wantStream(s, "")
		}
		r.send(r.tunnels, &messages.MemoryShort{}) // what was asked for is on its way
		heavy.wantStream(first, "")

		heavy.setMemory(3 << 20)
		r.excess.Store(1)
		heavy.pass(roomLook)
		light.wantStream(spared, "abort slow") // it holds most now
		heavy.wantStream(first, "")
		r.excess.Store(0)
		heavy.pass(time.Minute)
		heavy.wantStream(first, "")
	})
}

// A tunnel that has ended is asked for nothing, and forgotten.
func TestTunnelThatEndedIsNotAskedForMemory(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		ended, other := r.ready(), r.ready()
		ended.setMemory(9 << 20)
		ended.end()
		other.setMemory(1)
		s := other.holds("c", 1)
		r.excess.Store(1)
		r.send(r.tunnels, &messages.MemoryShort{})
		other.wantStream(s, "abort slow")
	})
}

// Requests that keep their tunnel from being read give way: those of the address
// that holds most, newest first, while they hold most of it.
func TestRequestsThatHoldTheirTunnelUpGiveWay(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		v.setMemory(10 << 20)
		few := v.asksFrom(other, "few", "GET")
		many := []*rigRequest{v.asksFrom(v4, "1", "GET"), v.asksFrom(v4, "2", "GET")}
		v.take()
		few.held = 4 << 20
		for _, q := range many {
			q.held = 3 << 20
		}
		v.setFull(true)
		v.tell(&messages.ReadingWaits{})
		v.pass(rigStall / stalls.RequestPatience)
		v.wantAnswer(many[1], "")
		v.pass(2 * rigLook)
		v.wantAnswer(many[1], "memory")
		v.wantAnswer(many[0], "")
		many[1].held = 0
		v.pass(rigLook)
		v.wantAnswer(few, "memory") // now it holds most
		few.held = 0
		v.pass(time.Minute)
		v.wantAnswer(many[0], "") // most of what is held is not theirs
		v.setFull(false)
		v.pass(time.Minute)
	})
}

// An address whose requests hold what requests may have of their tunnel keeps no
// other's out: for each that finds no memory its newest gives way.
func TestRequestsThatHoldAllGiveWayToOthers(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		theirs := []*rigRequest{v.sends(v4, "1"), v.sends(v4, "2"), v.sends(v4, "3")}
		ours := v.sends(other, "ours")
		for _, q := range theirs {
			q.held = 10 << 20
		}
		ours.held = 1 << 20
		v.tell(&messages.CancelRequest{ID: "ours", Short: true}) // there is room, but for the pool
		v.wantAnswer(ours, "abandoned")
		v.wantAnswer(theirs[2], "")
		v.scarce = true
		v.wantAnswer(v.asksFrom(v4, "own", "GET"), "memory")
		v.wantAnswer(theirs[2], "")
		v.wantAnswer(v.asksFrom(other, "a", "GET"), "memory")
		v.wantAnswer(theirs[2], "memory")
		v.wantAnswer(theirs[1], "")
		again := v.sends(other, "b")
		v.tell(&messages.CancelRequest{ID: "b", Short: true}, &messages.CancelRequest{ID: "nobody", Short: true})
		v.wantAnswer(again, "abandoned")
		v.wantAnswer(theirs[1], "memory")
		v.wantAnswer(theirs[0], "")
		v.scarce = false
		v.end()
	})
}
