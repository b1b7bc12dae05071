package actors

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"wsproxy/messages"
)

// comesFrom hands a raw connection over that comes from a source address, and
// expects what its stream is told.
func (v *rigTunnel) comesFrom(source, id, told string) *fakeStream {
	v.r.t.Helper()
	s := v.r.stream(id)
	v.tell(&messages.Accepted{Stream: s, Count: netip.MustParsePrefix(source)})
	v.wantStream(s, told)
	return s
}

const (
	taken    = "own, open"
	rejected = "own, reject"
)

func TestRawConnectionsOfOneAddressAreBounded(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{RawAddress: 2}, needs: Tunnels{MaxConns: 200}}, func(r *tunnelRig) {
		v, w := r.ready(), r.ready()
		for i := range 110 { // one address used a port up
			told := taken
			if i >= 2 {
				told = rejected
			}
			v.comesFrom(v4, fmt.Sprint("a", i), told)
		}
		v.comesFrom(other, "b", taken)
		w.comesFrom(v4, "c", taken) // each tunnel by itself
		for i := range 8 {          // a /48 has four times as many as a /64
			v.comesFrom(fmt.Sprintf("2001:db8:0:%d::/64", i/2), fmt.Sprint("six", i), taken)
		}
		v.comesFrom("2001:db8:0:9::/64", "nine", rejected)
		v.comesFrom("2001:db8:1::/64", "ten", taken)
		v.tell(closeOf("a0"))
		v.comesFrom(v4, "again", taken)
	})
}

// The half-closed one that gives way is of the same address, and if that has all
// its connections open none does.
func TestConnectionGivesWayWithinItsAddress(t *testing.T) {
	for name, options := range map[string]rigOptions{
		"limits": {bounds: Bounds{RawAddress: 2}, needs: Tunnels{MaxConns: 200, MaxConnsPerAddress: 2}},
		"full":   {bounds: Bounds{RawAddress: 2}, needs: Tunnels{MaxConns: 3, MaxConnsPerAddress: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, options, func(r *tunnelRig) {
				v := r.ready()
				theirs := v.comesFrom(other, "theirs", taken)
				theirs.slow = true
				v.toConn(theirs, &messages.OutsideEnded{Reason: messages.CloseEOF})
				v.pass(time.Second)
				v.comesFrom(v4, "1", taken)
				ours := v.comesFrom(v4, "2", taken)
				told := rejected
				if name == "full" {
					told = "reject"
				}
				v.comesFrom(v4, "3", told)
				v.wantStream(theirs, "")
				v.toConn(ours, &messages.OutsideEnded{Reason: messages.CloseEOF})
				v.comesFrom(v4, "4", taken)
				v.wantStream(ours, "endwrite")
				v.comesFrom(v4, "5", told)
				v.wantStream(theirs, "")
				if name == "full" {
					v.comesFrom("192.0.2.3/32", "6", taken) // who has none takes anybody's
					v.wantStream(theirs, "endwrite")
				}
				v.end()
			})
		})
	}
}

// Neither a tunnel nor a user takes all raw connections there are.
func TestTunnelsAndUsersHavePartsOfAllRawConnections(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{RawTunnel: 2, RawUser: 3, Raw: 6}, needs: Tunnels{MaxConns: 200}}, func(r *tunnelRig) {
		anonymous := func(source string) func(*messages.OpenTunnel) {
			return func(open *messages.OpenTunnel) { open.User, open.Count = "", netip.MustParsePrefix(source) }
		}
		n := 0
		comes := func(v *rigTunnel, told string) *fakeStream {
			t.Helper()
			n++
			return v.comesFrom(fmt.Sprintf("10.0.0.%d/32", n), fmt.Sprint(n), told)
		}
		v, w := r.ready(), r.ready() // of one user
		first := comes(v, taken)
		comes(v, taken)
		comes(v, rejected)
		comes(w, taken)
		comes(w, rejected)
		v.toConn(first, &messages.OutsideEnded{Reason: messages.CloseEOF}) // a tunnel's own gives way
		comes(w, rejected)
		comes(v, taken)
		v.end()
		w.end()

		v, w = r.ready(anonymous(v4)), r.ready(anonymous(v4)) // an anonymous user is an address
		comes(v, taken)
		comes(v, taken)
		comes(w, taken)
		comes(w, rejected)
		w.end()
		comes(r.ready(anonymous(other)), taken)
		v.end()
	})
}

// What the limits say is told as a typed reason, and so is that the tunnel has too many.
func TestRefusalsOfRawConnectionsAreTyped(t *testing.T) {
	for _, c := range []struct {
		bounds Bounds
		most   int
		reason messages.Reason
	}{
		{Bounds{RawAddress: 1, RawTunnel: 1, RawUser: 1, Raw: 1}, 2, messages.ReasonRawAddress},
		{Bounds{RawTunnel: 1, RawUser: 1, Raw: 1}, 2, messages.ReasonRawTunnel},
		{Bounds{RawUser: 1, Raw: 1}, 2, messages.ReasonRawUser},
		{Bounds{Raw: 1}, 2, messages.ReasonRawLimit},
		{Bounds{}, 1, messages.ReasonRawFull},
	} {
		inRig(t, rigOptions{bounds: c.bounds, needs: Tunnels{MaxConns: c.most}}, func(r *tunnelRig) {
			v := r.ready()
			v.comesFrom(v4, "1", taken)
			told := rejected
			if c.most == 1 {
				told = "reject" // nobody owns it
			}
			v.comesFrom(v4, "2", told)
			r.wantRefused(c.reason)
		})
	}
}

func TestIdleRawConnectionIsReset(t *testing.T) {
	const idle = 8 * time.Minute
	inRig(t, rigOptions{needs: Tunnels{RawIdle: idle, MaxConns: 10}}, func(r *tunnelRig) {
		v := r.ready(withCredit)
		quiet, busy := v.comesFrom(v4, "quiet", taken), v.comesFrom(v4, "busy", taken)
		own := v.accepts("own") // of this process
		half := v.comesFrom(v4, "half", taken)
		v.tell(closeFor("half", "eof"))
		v.wantStream(half, "closewrite")
		for range 4 {
			v.pass(idle / 2)
			busy.comes(1)
		}
		for _, s := range []*fakeStream{quiet, half} {
			v.wantStream(s, "abort idle")
		}
		v.wantStream(busy, "")
		v.wantStream(own, "")
		v.setFull(true)
		v.pass(2 * idle)
		v.wantStream(busy, "") // the client can't send
		v.setFull(false)
		v.pass(idle - time.Second)
		v.wantStream(busy, "")
		v.pass(idle/4 + time.Second)
		v.wantStream(busy, "abort idle")
		if n := r.meter.of("raw ended idle"); n != 3 {
			t.Errorf("counted were %v", r.meter.counts)
		}
		v.end()
	})
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		s := v.comesFrom(v4, "a", taken)
		v.pass(1000 * time.Hour)
		v.wantStream(s, "") // never, by default
	})
}

// comes lets bytes come from the outside peer.
func (s *fakeStream) comes(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.more += n
}

// An IPv6 network that has all its connections takes no place of another's either,
// whichever of its addresses the next one comes from.
func TestNetworkThatHasItsConnectionsTakesNoOthersPlace(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{RawAddress: 1}, needs: Tunnels{MaxConns: 5, MaxConnsPerAddress: 1}}, func(r *tunnelRig) {
		v := r.ready()
		theirs := v.comesFrom(other, "theirs", taken)
		theirs.slow = true
		v.toConn(theirs, &messages.OutsideEnded{Reason: messages.CloseEOF})
		v.pass(time.Second)
		for i := range 4 {
			v.comesFrom(fmt.Sprintf("2001:db8:0:%d::/64", i), fmt.Sprint(i), taken)
		}
		v.comesFrom("2001:db8:0:9::/64", "nine", "reject")
		v.wantStream(theirs, "")
		v.comesFrom("2001:db8:1::/64", "elsewhere", taken)
		v.wantStream(theirs, "endwrite")
	})
}
