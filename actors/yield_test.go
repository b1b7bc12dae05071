package actors

import (
	"fmt"
	"testing"
	"time"

	"wsproxy/messages"
)

// acceptsHalfClosed is accepts for a connection whose peer ends at once, and
// takes its time to read what is left.
func (v *rigTunnel) acceptsHalfClosed(id string) *fakeStream {
	v.r.t.Helper()
	s := v.accepts(id)
	s.slow = true
	v.toConn(s, &messages.OutsideEnded{Reason: messages.CloseEOF})
	return s
}

// turnedAway hands a raw connection over, and expects that there is no room.
func (v *rigTunnel) turnedAway(id, told string) {
	v.r.t.Helper()
	s := v.r.stream(id)
	v.tell(&messages.Accepted{Stream: s})
	v.wantStream(s, told)
}

// The one that has been idle longest gives way, in order: it is not reset, and
// its socket is not waited for.
func TestHalfClosedConnectionGivesWay(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{Raw: 4}, needs: Tunnels{MaxConns: 4}}, func(r *tunnelRig) {
		v := r.ready()
		open := v.accepts("open")
		first := v.acceptsHalfClosed("first")
		v.pass(time.Second)
		second := v.acceptsHalfClosed("second")
		v.pass(time.Second)
		third := v.acceptsHalfClosed("third")
		v.pass(time.Second)
		v.tell(data("first", 200)) // that is no longer the one
		v.wantStream(first, "write 200")

		for i, s := range []*fakeStream{second, third, first} {
			v.accepts(fmt.Sprint("new", i))
			v.wantStream(s, "endwrite")
			r.wantTaken(1, 0, 4) // its slot is the new one's
			if !r.alive(s.owner) || len(r.log.of("raw connection ended")) > 0 {
				t.Error("its end was not waited for")
			}
		}
		v.turnedAway("late", "reject")
		v.wantStream(open, "")
		v.want()
		for _, s := range []*fakeStream{first, second, third} {
			v.toConn(s, &messages.StreamClosed{})
			if r.alive(s.owner) {
				t.Errorf("%s lives on", s.id)
			}
		}
		r.wantTaken(1, 0, 4)
		if lines := r.log.of("raw connection ended"); len(lines) != 3 || lines[0].fields["reason"] != "eof" {
			t.Errorf("logged is %v", lines)
		}
		v.turnedAway("late", "reject") // they had their places no longer
		v.end()
		r.wantFree()
	})
}

// What comes for one that has given way is answered like what comes after its
// time.
func TestDataForAConnectionThatGaveWayIsAnswered(t *testing.T) {
	inRig(t, rigOptions{needs: Tunnels{MaxConns: 3}}, func(r *tunnelRig) {
		v := r.ready()
		v.accepts("1")
		v.accepts("2")
		s := v.acceptsHalfClosed("old")
		v.accepts("new")
		v.tell(data("old", 200), data("old", 200))
		v.wantStream(s, "endwrite")
		v.wantHeld(s, 0)
		v.want(unknown("old"))
	})
}

// A connection is no candidate because its peer could end, or because the client
// has.
func TestOnlyHalfClosedConnectionsGiveWay(t *testing.T) {
	inRig(t, rigOptions{needs: Tunnels{MaxConns: 3}}, func(r *tunnelRig) {
		v := r.ready(withCredit)
		open, ended, broken := v.accepts("open"), v.accepts("ended"), v.accepts("broken")
		v.tell(closeFor("ended", "eof"))
		broken.left = true
		v.toConn(broken, &messages.OutsideEnded{Reason: messages.CloseReset})
		v.pass(time.Hour)
		v.turnedAway("late", "reject")
		v.wantStream(open, "")
		v.wantStream(ended, "closewrite")
		v.toConn(broken, &messages.StreamClosed{})
		v.accepts("new")
	})
}

// Beyond the limit of all tunnels a connection of the same tunnel gives way, and
// none of another's.
func TestHalfClosedConnectionGivesWayToTheLimitOfAllTunnels(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{Raw: 3}, needs: Tunnels{MaxConns: 5}}, func(r *tunnelRig) {
		v, w := r.ready(), r.ready()
		others := w.acceptsHalfClosed("others")
		v.pass(time.Second)
		old := v.acceptsHalfClosed("old")
		v.accepts("1")
		v.accepts("2")
		v.wantStream(old, "endwrite")
		r.wantTaken(2, 0, 3)
		v.turnedAway("3", "own, reject")
		v.wantStream(others, "")
		v.toConn(old, &messages.StreamClosed{})
		r.wantTaken(2, 0, 3)
		w.accepts("4")
		w.wantStream(others, "endwrite")
		r.wantRefused(messages.ReasonRawLimit)
	})
}

// Another tunnel may be faster than the one for which a slot was given back.
// Then the new connection is closed: it does not ask for ever.
func TestSlotIsAskedForOnceMoreOnly(t *testing.T) {
	inRig(t, rigOptions{byHand: true}, func(r *tunnelRig) {
		v := r.readyByHand()
		var old []*fakeStream
		for i := range 2 {
			s := r.stream(fmt.Sprint("old", i))
			s.slow = true
			v.tell(&messages.Accepted{Stream: s})
			v.toConn(s, &messages.Granted{}, &messages.OutsideEnded{Reason: messages.CloseEOF})
			v.wantStream(s, "own, open")
			old = append(old, s)
			time.Sleep(time.Millisecond) // so that the first has been idle longest
		}
		r.asked.all()
		s := r.stream("new")
		v.tell(&messages.Accepted{Stream: s})
		v.toConn(s, &messages.Refused{Reason: messages.ReasonRawLimit})
		var sent []string
		for _, m := range r.asked.all() {
			switch m := m.(type) {
			case *messages.Acquire:
				sent = append(sent, "acquire "+m.Holder.Id)
			case *messages.Release:
				sent = append(sent, "release "+m.Holder.Id)
			}
		}
		if got, want := fmt.Sprint(sent), fmt.Sprintf("[acquire %s release %s acquire %[1]s]", s.owner.Id, old[0].owner.Id); got != want {
			t.Errorf("the limits were sent %s, want %s", got, want)
		}
		v.wantStream(old[0], "endwrite")
		v.toConn(s, &messages.Refused{Reason: messages.ReasonRawLimit})
		v.wantStream(s, "own, reject")
		v.wantStream(old[1], "")
		if sent := r.asked.all(); len(sent) > 0 || r.alive(s.owner) {
			t.Errorf("the limits were sent %v once more", sent)
		}

		broken := r.stream("broken") // of limits that failed nobody can make room
		v.tell(&messages.Accepted{Stream: broken})
		v.toConn(broken, &messages.Refused{Reason: messages.ReasonInternal})
		v.wantStream(broken, "own, reject")
		v.wantStream(old[1], "")
	})
}

// Peers that take nothing keep no more sockets of a tunnel open than its bound
// and maxYielding.
func TestConnectionsThatGiveWayAreBounded(t *testing.T) {
	inRig(t, rigOptions{needs: Tunnels{MaxConns: 5}}, func(r *tunnelRig) {
		v := r.ready()
		var all []*fakeStream
		for i := range 105 {
			all = append(all, v.acceptsHalfClosed(fmt.Sprint(i)))
			v.pass(1)
		}
		v.turnedAway("late", "reject")
		for i, s := range all {
			if got, want := s.take(), i < 100; (got == "endwrite") != want {
				t.Fatalf("connection %d was told %q", i, got)
			}
		}
		v.toConn(all[50], &messages.StreamClosed{})
		v.accepts("next")
		v.wantStream(all[100], "endwrite")
		v.turnedAway("late", "reject")
		v.pass(2 * protocolIdle) // those that are left end by themselves, the stalled are reset
		v.accepts("later")
		for _, s := range all[:100] {
			if s != all[50] && s.Ended() != messages.CloseSlow {
				t.Fatalf("connection %s has not ended", s.id)
			}
		}
	})
}

// A connection that gives way counts no more, however it ends: counted down
// twice there would be room for too many.
func TestConnectionThatGaveWayIsCountedOnce(t *testing.T) {
	for name, how := range map[string]func(*rigTunnel, *fakeStream){
		"closed": func(v *rigTunnel, s *fakeStream) { v.toConn(s, &messages.StreamClosed{}) },
		"reset": func(v *rigTunnel, s *fakeStream) {
			v.toConn(s, &messages.OutsideEnded{Reason: messages.CloseReset})
			s.Abort("reset")
		},
		"failed": func(v *rigTunnel, s *fakeStream) {
			s.panicIn = "credit"
			v.tell(fromClient(&messages.Credit{ConnID: "old"}, 5))
		},
		"stopped": func(v *rigTunnel, s *fakeStream) { v.r.root.Stop(s.owner); v.r.settle() },
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, rigOptions{bounds: Bounds{Raw: 3}, needs: Tunnels{MaxConns: 3}}, func(r *tunnelRig) {
				v := r.ready()
				v.accepts("1")
				v.accepts("2")
				s := v.acceptsHalfClosed("old")
				v.accepts("3")
				how(v, s)
				r.settle()
				if r.alive(s.owner) {
					t.Error("it lives on")
				}
				r.wantTaken(1, 0, 3)
				v.turnedAway("late", "reject")
				v.tell(closeOf("1"))
				v.accepts("4")
				v.turnedAway("late", "reject")
			})
		})
	}
	t.Run("handler failed", func(t *testing.T) {
		inRig(t, rigOptions{needs: Tunnels{MaxConns: 3}}, func(r *tunnelRig) {
			v := r.ready()
			for i := range 6 {
				v.acceptsHalfClosed(fmt.Sprint(i))
			}
			r.fault = failOnce[*messages.Garbage]()
			v.tell(&messages.Garbage{})
			for i := range 3 {
				v.accepts(fmt.Sprint("new", i))
			}
			v.turnedAway("late", "reject")
		})
	})
}

// A new connection that waits for its slot ends with its tunnel, whoever gives
// way.
func TestTunnelEndsWhileASlotIsAskedFor(t *testing.T) {
	inRig(t, rigOptions{byHand: true}, func(r *tunnelRig) {
		v := r.readyByHand()
		s := r.stream("new")
		v.tell(&messages.Accepted{Stream: s})
		v.say(&messages.MuxEnded{Reason: messages.ReasonClientGone})
		v.toConn(s, &messages.Refused{Reason: messages.ReasonRawLimit}, &claimAgain{})
		v.tell(&slotWanted{"new", &messages.Refused{Reason: messages.ReasonRawLimit}}, &slotWanted{id: "nobody"}, &halfClosed{id: "nobody"})
		v.wantStream(s, "own, leave, reject")
		v.say(&messages.MuxClosed{})
		if r.alive(s.owner) || r.alive(v.owner) {
			t.Error("an actor is left")
		}
	})
}

func TestNoLimitOfATunnelIsNone(t *testing.T) {
	inRig(t, rigOptions{needs: Tunnels{MaxHTTP: noLimit, MaxConns: noLimit}}, func(r *tunnelRig) {
		v := r.ready()
		for i := range 300 {
			v.accepts(fmt.Sprint(i))
			v.asks(fmt.Sprint(i), "")
		}
		r.wantTaken(1, 300, 300)
	})
}
