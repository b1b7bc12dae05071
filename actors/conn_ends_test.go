package actors

import (
	"fmt"
	"testing"
	"time"

	"wsproxy/messages"
)

func closeFor(id, reason string) *messages.FromClient {
	return fromClient(&messages.Close{ConnID: id, Reason: reason}, 5)
}

// What comes of each way in which the two sides of a connection may end.
func TestConnectionEndsInEveryOrder(t *testing.T) {
	const eof, reset = messages.CloseEOF, messages.CloseReset
	for _, test := range []struct {
		name string
		ends []any  // messages.CloseReason: the outside; string: the client's reason; int: its data
		told string // to the stream
		ok   bool   // the connection is still there
	}{
		{"client", []any{"eof"}, "closewrite", true},
		{"client, twice", []any{"eof", "eof"}, "closewrite", true},
		{"client, behind its data", []any{200, "eof", 300, 300}, "write 200, closewrite", true},
		{"client, outside", []any{"eof", eof}, "closewrite, endwrite", false},
		{"client, outside broken", []any{"eof", reset}, "closewrite, abort reset", false},
		{"client, then both", []any{"eof", ""}, "closewrite, endread, endwrite", false},
		{"client, then both for any reason", []any{"eof", "bored"}, "closewrite, endread, endwrite", false},
		{"client, reset", []any{"eof", "reset"}, "closewrite, endread, abort client_reset", false},
		{"client, refused", []any{"eof", "refused"}, "closewrite, endread, abort refused", false},
		{"outside, client", []any{eof, "eof"}, "endwrite", false},
		{"outside, data, client", []any{eof, 200, "eof", 300}, "write 200, endwrite", false},
		{"outside, both", []any{eof, ""}, "endread, endwrite", false},
		{"outside, reset", []any{eof, "reset"}, "endread, abort client_reset", false},
		{"outside, refused", []any{eof, "refused"}, "endread, abort refused", false},
		{"both", []any{""}, "endread, endwrite", false},
		{"both for any reason", []any{"EOF"}, "endread, endwrite", false},
		{"reset", []any{200, "reset", 300}, "write 200, endread, abort client_reset", false},
		{"refused", []any{"refused"}, "endread, abort refused", false},
		{"both, then reset while the rest is written", []any{"", "reset"}, "endread, endwrite, abort client_reset", false},
		{"outside, client, then reset", []any{eof, "eof", "reset"}, "endwrite, abort client_reset", false},
		{"both, then eof", []any{"", "eof"}, "endread, endwrite", false},
		{"broken, then reset", []any{reset, "reset"}, "abort reset", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			inRig(t, rigOptions{}, func(r *tunnelRig) {
				v := r.ready(withCredit)
				s := v.accepts("c1")
				s.slow, s.left = true, true
				written := int64(0)
				for _, end := range test.ends {
					switch end := end.(type) {
					case messages.CloseReason:
						v.toConn(s, &messages.OutsideEnded{Reason: end})
					case string:
						v.tell(closeFor("c1", end))
					case int:
						v.tell(data("c1", end))
						if end == 200 {
							written += 200
						}
					}
				}
				v.wantStream(s, test.told)
				v.wantHeld(s, written) // all else was given back
				v.want()
				if test.ok != (s.Ended() == "" && test.told[len(test.told)-8:] != "endwrite") {
					t.Errorf("the connection has ended for %q", s.Ended())
				}
				v.toConn(s, &messages.StreamClosed{})
				if r.alive(s.owner) || r.taken(messages.ClaimRaw) > 0 {
					t.Error("the connection's actor or slot is left")
				}
			})
		})
	}
}

// Without flow=credit a client's tcp_close has no reason, whatever it says.
func TestReasonOfTheClientNeedsCredit(t *testing.T) {
	for _, reason := range []string{"eof", "reset", "refused", "bored"} {
		inRig(t, rigOptions{}, func(r *tunnelRig) {
			v := r.ready()
			s := v.accepts("c1")
			v.tell(closeFor("c1", reason))
			v.wantStream(s, "endread, endwrite")
			if r.alive(s.owner) {
				t.Errorf("%s: the connection lives on", reason)
			}
		})
	}
}

// A client that has ended its direction goes on receiving, for as long as it
// takes, and gives credit for it.
func TestOtherDirectionGoesOnAfterTheClientsEnd(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready(withCredit)
		s := v.accepts("c1")
		v.tell(data("c1", 200), closeFor("c1", "eof"))
		v.wantStream(s, "write 200, closewrite")
		v.toConn(s, &messages.Flushed{N: messages.Window})
		v.want() // it needs no more credit
		for range 5 {
			v.pass(time.Hour)
			v.tell(fromClient(&messages.Credit{ConnID: "c1", Bytes: 9}, 5))
			v.wantStream(s, "credit 9")
		}
		r.wantTaken(1, 0, 1)
		v.toConn(s, &messages.OutsideEnded{Reason: messages.CloseEOF})
		v.wantStream(s, "endwrite")
		r.wantTaken(1, 0, 0)
	})
}

// A peer that neither takes what is left for it nor sends anything is reset, and
// the client hears of it. One that does one of both is not.
func TestPeerThatStallsAfterTheClientsEndIsReset(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready(withCredit)
		s := v.accepts("c1")
		s.set(200, 0)
		v.tell(data("c1", 200), closeFor("c1", "eof"))
		v.wantStream(s, "write 200, closewrite")
		for n := range int64(6) {
			s.mu.Lock()
			if n%2 == 0 {
				s.acked++
			} else {
				s.more++
			}
			s.mu.Unlock()
			v.pass(flushPatience)
			v.wantStream(s, "")
		}
		v.pass(flushPatience - 1)
		v.wantStream(s, "")
		v.pass(1)
		v.wantStream(s, "abort slow")
		if lines := r.log.of("raw connection ended"); len(lines) != 1 || lines[0].fields["reason"] != "slow" {
			t.Errorf("logged is %v", lines)
		}
	})
}

// The time that a peer has to take what is left begins anew when both sides
// have ended: a look that was due before is no look of that.
func TestEachEndHasItsOwnPatience(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready(withCredit)
		s := v.accepts("c1")
		s.slow = true
		s.set(200, 7)
		v.tell(data("c1", 200), closeFor("c1", "eof"))
		v.pass(flushPatience - 1)
		s.set(200, 7+3) // as much as bytes of both directions had moved before
		v.toConn(s, &messages.OutsideEnded{Reason: messages.CloseEOF})
		v.wantStream(s, "write 200, closewrite, endwrite")
		v.pass(flushPatience - 1)
		v.wantStream(s, "")
		v.pass(1)
		v.wantStream(s, "abort slow")
	})
}

// The tunnel's end is the end of the other direction, too.
func TestTunnelEndsAfterTheClientsEnd(t *testing.T) {
	for _, test := range []struct {
		name string
		how  func(*rigTunnel)
		told string
		why  string
	}{
		{"tunnel ended", func(v *rigTunnel) { v.say(&messages.MuxEnded{Reason: messages.ReasonClientGone}) }, "leave, endwrite", "tunnel_ended"},
		{"shutdown", func(v *rigTunnel) { v.say(&messages.Shutdown{}) }, "abort shutdown", "shutdown"},
		{"stalled", func(v *rigTunnel) { v.setFull(true); v.pass(rigStall + 2*rigLook) }, "abort slow", "slow"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inRig(t, rigOptions{}, func(r *tunnelRig) {
				v := r.ready(withCredit)
				s := v.accepts("c1")
				s.set(5<<20, 1)
				v.tell(data("c1", 200), closeFor("c1", "eof"))
				v.wantStream(s, "write 200, closewrite")
				test.how(v)
				v.wantStream(s, test.told)
				if lines := r.log.of("raw connection ended"); len(lines) != 1 || lines[0].fields["reason"] != test.why {
					t.Errorf("logged is %v, want %s", lines, test.why)
				}
				if r.alive(s.owner) {
					t.Error("the connection lives on")
				}
			})
		})
	}
}

// Of an end that the client has asked for nobody tells it: data that crosses it
// is for a connection that there is not.
func TestDataAfterTheClientsResetIsAnswered(t *testing.T) {
	for _, reason := range []string{"reset", "refused"} {
		inRig(t, rigOptions{}, func(r *tunnelRig) {
			v := r.ready(withCredit)
			v.accepts("c1")
			v.tell(closeFor("c1", reason))
			v.tell(data("c1", 1), data("c1", 1))
			v.want(unknown("c1"))
			if n := len(r.log.of("the tunnel's client sends")); n > 0 {
				t.Errorf("%d lines about what crossed on the way", n)
			}
			for i := range 3 { // and its place is free
				v.accepts(fmt.Sprint("next", i))
			}
		})
	}
}
