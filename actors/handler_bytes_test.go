package actors

import (
	"fmt"
	"testing"
	"time"

	"wsproxy/messages"
)

// carries hands a stream over that carries what this process speaks.
func (v *rigTunnel) carries(id string) *fakeStream {
	v.r.t.Helper()
	s := v.r.stream(id)
	v.tell(&messages.Accepted{Stream: s, Protocol: messages.ProtocolHTTP})
	v.wantStream(s, "own, open")
	return s
}

// proceeds sends a request that goes as bytes, and has it proceed.
func (v *rigTunnel) proceeds(source, id string) *rigRequest {
	v.r.t.Helper()
	q := v.asksFrom(source, id, "")
	v.wantProceeds(q, true)
	return q
}

// upgraded has a request become a connection on which something moved last so long
// after the beginning.
func (v *rigTunnel) upgraded(q *rigRequest, moved time.Duration) {
	s := v.r.stream("s" + q.id)
	s.moved = time.Unix(0, 0).Add(moved)
	v.tell(&messages.RequestUpgraded{ID: q.id, Stream: s})
}

// A stream of this process's own is no raw connection: it takes no slot of those, and
// nobody gives way to it, or it to them. Nothing is logged of it.
func TestOwnStreamsAreNoRawConnections(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{Raw: 1}, needs: Tunnels{MaxConns: 1}}, func(r *tunnelRig) {
		v := r.ready(withCredit)
		for i := range 3 {
			v.carries(fmt.Sprint("own", i))
		}
		r.wantTaken(1, 0, 0)
		v.accepts("raw")
		r.wantTaken(1, 0, 1)
		v.carries("own4")
		refused := r.stream("refused")
		v.tell(&messages.Accepted{Stream: refused})
		v.wantStream(refused, "reject")
		if n := r.meter.of("raw started"); n != 1 {
			t.Errorf("%d raw connections are counted", n)
		}
		if lines := r.log.of("raw connection started"); len(lines) != 1 {
			t.Errorf("%d lines tell of raw connections", len(lines))
		}
		v.end()
		r.wantFree()
	})
}

// A client's end of such a stream is that of both directions, whatever its reason. Who
// speaks over it has what came before.
func TestOwnStreamsEnd(t *testing.T) {
	for reason, calls := range map[string]string{
		"":        "endread, endwrite",
		"eof":     "endread, endwrite",
		"other":   "endread, endwrite",
		"reset":   "endread, abort client_reset",
		"refused": "endread, abort refused",
	} {
		inRig(t, rigOptions{}, func(r *tunnelRig) {
			v := r.ready(withCredit)
			s := v.carries("c")
			s.slow = true // something waits, and nobody takes it
			v.tell(&messages.FromClient{Message: &messages.Close{ConnID: "c", Reason: reason}})
			v.wantStream(s, calls)
			time.Sleep(2 * flushPatience) // that is the affair of who speaks over it
			v.wantStream(s, "")
			v.end()
		})
	}
}

// When it has become an outside peer's connection, the peer has the patience that any
// has.
func TestJoinedStreamsHavePatience(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready(withCredit)
		s := v.carries("c")
		s.slow = true
		v.tell(&messages.FromClient{Message: &messages.Close{ConnID: "c", Reason: "eof"}})
		v.wantStream(s, "endread, endwrite")
		v.toConn(s, &messages.StreamJoined{}) // on its way meanwhile
		time.Sleep(2*flushPatience + time.Second)
		v.wantStream(s, "abort slow")
		v.end()
	})
}

func TestRequestAsBytesHasASlotUntilItsEnd(t *testing.T) {
	inRig(t, rigOptions{needs: Tunnels{MaxHTTP: 2}}, func(r *tunnelRig) {
		v := r.ready(withCredit)
		v.proceeds(v4, "1")
		second := v.proceeds(v4, "2")
		r.wantTaken(1, 2, 0)
		v.wantAnswer(v.asksFrom(v4, "3", ""), "tunnel_busy")
		v.tell(&messages.RequestEnded{ID: "1"})
		r.wantTaken(1, 1, 0)
		v.tell(&messages.RequestEnded{ID: "1"}) // nothing more
		v.upgraded(second, 0)
		v.proceeds(v4, "4")
		r.wantTaken(1, 2, 0)
		v.tell(&messages.RequestEnded{ID: "2"}, &messages.RequestEnded{ID: "4"})
		r.wantTaken(1, 0, 0)
		v.end()
		r.wantFree()
	})
}

// When the slots are used up the upgraded connection gives way that has been idle
// longest, of the address that has most slots, before any request does.
func TestIdlestUpgradedConnectionGivesWay(t *testing.T) {
	inRig(t, rigOptions{needs: Tunnels{MaxHTTP: 5}}, func(r *tunnelRig) {
		v := r.ready(withCredit)
		theirs := []*rigRequest{v.proceeds(v4, "1"), v.proceeds(v4, "2"), v.proceeds(v4, "3")}
		ours := v.proceeds(other, "4")
		plain := v.proceeds(other, "5")
		v.upgraded(theirs[0], 3*time.Second)
		v.upgraded(theirs[1], 1*time.Second)
		v.upgraded(theirs[2], 2*time.Second)
		v.upgraded(ours, 0)
		v.proceeds(third, "6")
		v.wantAnswer(theirs[1], "gave_way")
		if theirs[1].revoked != 1 {
			t.Errorf("its connection was revoked %d times", theirs[1].revoked)
		}
		v.proceeds(third, "7") // now both have two: the one idle longest
		v.wantAnswer(ours, "gave_way")
		v.proceeds(third, "8")
		v.wantAnswer(theirs[2], "gave_way")
		v.proceeds(third, "9")
		v.wantAnswer(theirs[0], "gave_way")
		v.proceeds(other, "10") // by a request of the address that has most
		r.wantTaken(1, 5, 0)
		v.wantAnswer(plain, "")
		v.end()
		r.wantFree()
	})
}

// A page that asks for many files at once keeps its WebSocket: they wait for each
// other.
func TestUpgradedConnectionOutlivesABurst(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{HTTP: 50, HTTPTunnel: 2}, needs: Tunnels{MaxHTTP: 10, MaxHTTPPerAddress: 2}}, func(r *tunnelRig) {
		v := r.ready(withCredit)
		socket, first := v.proceeds(v4, "1"), v.proceeds(v4, "2")
		v.upgraded(socket, 0)
		second := v.asksFrom(v4, "3", "")
		v.wantProceeds(second, false)
		v.tell(&messages.RequestEnded{ID: first.id})
		v.wantProceeds(second, true)
		v.wantAnswer(socket, "")
		v.end()
		r.wantFree()
	})
}

// An address that has all its slots by upgraded connections: the one idle
// longest gives way to its next request, and nobody else's.
func TestUpgradedConnectionGivesWayToItsOwnAddress(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{HTTP: 50, HTTPTunnel: 2}, needs: Tunnels{MaxHTTP: 10, MaxHTTPPerAddress: 2}}, func(r *tunnelRig) {
		v := r.ready(withCredit)
		ours := []*rigRequest{v.proceeds(v4, "1"), v.proceeds(v4, "2")}
		theirs := v.proceeds(other, "3")
		v.upgraded(theirs, 0)
		v.upgraded(ours[0], 2*time.Second)
		v.upgraded(ours[1], time.Second)
		v.proceeds(v4, "4")
		v.wantAnswer(ours[1], "gave_way")
		v.wantAnswer(ours[0], "")
		v.wantAnswer(theirs, "")
		r.wantTaken(1, 3, 0)
		v.end()
		r.wantFree()
	})
}
