package actors

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"wsproxy/actors/stalls"
	"wsproxy/messages"
)

// look is how often peers are looked at, with the time-out of the rig.
const (
	rigStall = 3 * time.Second
	rigLook  = rigStall / stalls.Looks
)

// holdsUp makes a connection one that has so much waiting.
func (v *rigTunnel) holdsUp(s *fakeStream, waiting int64) {
	s.set(waiting, 1)
	v.tell(data(s.id, 1))
	v.wantStream(s, "write \x00")
}

func (v *rigTunnel) pass(d time.Duration) {
	time.Sleep(d)
	v.r.settle()
}

// A peer that takes nothing is found out after the time-out, and not much
// later.
func TestStalledPeerOfAFullTunnelIsClosed(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		s, other := v.accepts("c1"), v.accepts("c2")
		v.setFull(true)
		v.holdsUp(s, 5<<20)
		v.pass(rigStall)
		v.wantStream(s, "")
		v.pass(3 * rigLook)
		v.wantStream(s, "abort slow")
		v.wantStream(other, "")
		if lines := r.log.of("raw connection ended"); len(lines) != 1 || lines[0].fields["reason"] != "slow" {
			t.Errorf("logged is %v", lines)
		}
		r.wantTaken(1, 0, 1)
	})
}

func TestStalledPeerLivesWhileTheTunnelIsNotHeldUp(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		s := v.accepts("c1")
		v.holdsUp(s, 5<<20)
		v.pass(time.Minute)
		v.wantStream(s, "")
		v.setFull(true) // it has stalled for long: now it counts
		v.pass(rigLook)
		v.wantStream(s, "abort slow")
	})
}

// What has little waiting holds nobody up: a tunnel that is full for others' sake
// does not close it.
func TestPeerWithLittleWaitingIsNotJudged(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		s := v.accepts("c1")
		v.setFull(true)
		v.holdsUp(s, stalls.Worth)
		v.pass(time.Minute)
		v.wantStream(s, "")
	})
}

func TestPeerThatMakesProgressIsNotClosed(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		s := v.accepts("c1")
		v.setFull(true)
		v.holdsUp(s, 5<<20)
		acked := int64(1)
		for range 20 { // a byte just in time
			v.pass(rigStall - rigLook)
			acked++
			s.set(5<<20, acked)
		}
		v.pass(rigStall)
		v.wantStream(s, "")
		v.pass(3 * rigLook)
		v.wantStream(s, "abort slow")
	})
}

// One that has little waiting for a while begins anew.
func TestStallBeginsAnewAfterThePeerCaughtUp(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		s := v.accepts("c1")
		v.setFull(true)
		v.holdsUp(s, 5<<20)
		v.pass(rigStall - rigLook)
		s.set(stalls.Worth, 1)
		v.pass(2 * rigLook)
		v.holdsUp(s, 5<<20)
		v.pass(rigStall)
		v.wantStream(s, "")
		v.pass(3 * rigLook)
		v.wantStream(s, "abort slow")
	})
}

func TestConnectionWithTheMostWaitingIsClosedFirst(t *testing.T) {
	inRig(t, rigOptions{needs: Tunnels{MaxConns: 5}}, func(r *tunnelRig) {
		v := r.ready()
		var all []*fakeStream
		for i := range 5 {
			all = append(all, v.accepts(fmt.Sprint(i)))
		}
		v.setFull(true)
		sizes := []int64{2 << 20, 9 << 20, protocolShare + 1, 10 << 20, 3 << 20}
		for i, s := range all {
			v.holdsUp(s, sizes[i])
		}
		for _, worst := range []int{3, 1, 4} {
			for range stalls.Looks + 3 {
				if v.pass(rigLook); all[worst].Ended() != "" {
					break
				}
			}
			for i, s := range all {
				if got := s.take(); (got == "abort slow") != (i == worst) {
					t.Errorf("when %d is the worst, %d is told %q", worst, i, got)
				}
				s.set(sizes[i], s.acked+1) // there is room again
			}
			v.pass(rigLook)
		}
	})
}

// The one with the most waiting is the one that matters: while its peer takes
// something, one that has stalled with less waiting is left alone.
func TestStalledPeerBehindASlowOneIsLeftAlone(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		slow, stalled := v.accepts("c1"), v.accepts("c2")
		v.setFull(true)
		v.holdsUp(slow, 9<<20)
		v.holdsUp(stalled, 8<<20)
		for i := range int64(100) {
			v.pass(rigLook)
			slow.set(9<<20, i+2)
		}
		v.wantStream(slow, "")
		v.wantStream(stalled, "")
		slow.set(7<<20, 1000)
		v.pass(rigLook)
		v.wantStream(stalled, "abort slow")
		v.wantStream(slow, "")
	})
}

// The client's own tcp_close frees nothing while the peer takes nothing: a
// connection on its way out holds the tunnel up as well as any other.
func TestStalledPeerIsClosedThoughTheClientHasClosed(t *testing.T) {
	for name, half := range map[string]bool{"open": false, "half closed": true} {
		t.Run(name, func(t *testing.T) {
			inRig(t, rigOptions{}, func(r *tunnelRig) {
				v := r.ready()
				s := v.accepts("c1")
				s.slow = true
				v.setFull(true)
				v.holdsUp(s, 5<<20)
				if half {
					v.toConn(s, &messages.OutsideEnded{Reason: messages.CloseEOF})
				}
				v.tell(closeOf("c1"))
				v.wantStream(s, "endread, endwrite")
				v.pass(rigStall + 3*rigLook)
				v.wantStream(s, "abort slow")
				if lines := r.log.of("raw connection ended"); len(lines) != 1 || lines[0].fields["reason"] != "slow" {
					t.Errorf("logged is %v", lines)
				}
			})
		})
	}
}

// A tunnel at rest has no timer: it would cost something for each of many.
func TestStallsAreNotWatchedWhileThereIsNothingToWatch(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		s := v.accepts("c1")
		var count atomic.Int32
		r.fault = func(m any) {
			if _, look := m.(*stalls.Look); look {
				count.Add(1)
			}
		}
		wantLooks := func(want int32, when string) {
			t.Helper()
			if got := count.Swap(0); got != want {
				t.Errorf("%s: %d looks, want %d", when, got, want)
			}
		}
		v.pass(time.Minute)
		wantLooks(0, "nothing waits")
		for range 3 { // however often data comes, one look at a time
			v.holdsUp(s, 5<<20)
		}
		v.pass(10*rigLook + 1)
		wantLooks(10, "in the time for ten")
		s.set(0, 2)
		v.pass(time.Minute)
		wantLooks(1, "after the peer caught up")
		v.holdsUp(s, 5<<20)
		v.tell(closeOf("c1"))
		v.pass(time.Minute)
		wantLooks(1, "after the connection ended")
	})
}

func TestStallsOfAnEarlierGenerationAreForgotten(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		s := v.accepts("c1")
		v.setFull(true)
		v.holdsUp(s, 5<<20)
		v.pass(rigStall - rigLook)
		r.fault = failOnce[*messages.Garbage]()
		v.tell(&messages.Garbage{})
		v.wantStream(s, "abort restart")
		s = v.accepts("c2")
		v.holdsUp(s, 5<<20)
		v.pass(rigStall)
		v.wantStream(s, "")
		v.pass(3 * rigLook)
		v.wantStream(s, "abort slow")
	})
}
