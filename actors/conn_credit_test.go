package actors

import (
	"fmt"
	"testing"

	"wsproxy/messages"
)

// wantCredit fails unless the client was given this much credit, in these
// steps, since the last look.
func (v *rigTunnel) wantCredit(id string, steps ...int) {
	v.r.t.Helper()
	var want []string
	for _, n := range steps {
		want = append(want, fmt.Sprintf(`control {"type":"tcp_credit","connId":%q,"bytes":%d}`, id, n))
	}
	v.want(want...)
}

func TestCreditComesBackInQuartersOfTheWindow(t *testing.T) {
	const quarter = messages.Window / 4
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready(withCredit)
		s := v.accepts("c1")
		v.tell(data("c1", messages.Window)) // all of it at once
		v.wantStream(s, fmt.Sprintf("write %d", messages.Window))
		v.toConn(s, &messages.Flushed{N: quarter - 1})
		v.wantCredit("c1")
		v.toConn(s, &messages.Flushed{N: 1})
		v.wantCredit("c1", quarter)
		v.toConn(s, &messages.Flushed{N: 2*quarter + 5}, &messages.Flushed{N: quarter - 5})
		v.wantCredit("c1", 2*quarter+5)
		v.tell(data("c1", 3*quarter+5)) // what it has been given, and not a byte more
		v.wantStream(s, fmt.Sprintf("write %d", 3*quarter+5))
		v.tell(data("c1", 1))
		v.wantStream(s, "abort limit")
	})
}

// A client that holds to the window never stalls: whatever the sizes of its
// messages and of what the kernel takes, less than a half of the window is
// held back.
func TestCreditIsNeverLostNorInvented(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready(withCredit)
		s := v.accepts("c1")
		seed := uint32(1)
		random := func(n int) int { seed = seed*1664525 + 1013904223; return int(seed>>8) % n }
		allowed, waiting := messages.Window, 0
		for step := range 2000 {
			if n := random(min(allowed, 64<<10) + 1); n > 0 {
				v.tell(data("c1", n))
				allowed, waiting = allowed-n, waiting+n
			}
			if n := random(waiting + 1); n > 0 {
				v.toConn(s, &messages.Flushed{N: n})
				waiting -= n
			}
			for _, call := range v.take() {
				var n int
				if _, err := fmt.Sscanf(call, `control {"type":"tcp_credit","connId":"c1","bytes":%d}`, &n); err != nil {
					t.Fatalf("step %d: the mux was told %q", step, call)
				}
				allowed += n
			}
			if outstanding := allowed + waiting; outstanding > messages.Window || outstanding <= messages.Window/2 {
				t.Fatalf("step %d: %d bytes are allowed and %d wait, of a window of %d", step, allowed, waiting, messages.Window)
			}
		}
		if s.Ended() != "" {
			t.Fatalf("ended for %q", s.Ended())
		}
		v.tell(data("c1", allowed))
		if s.Ended() != "" {
			t.Error("the last byte allowed was one too many")
		}
		v.tell(data("c1", 1))
		if s.Ended() != messages.CloseLimit {
			t.Errorf("ended for %q, want limit", s.Ended())
		}
	})
}

func TestOverrunOfTheWindowClosesThatConnectionAlone(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready(withCredit)
		s, other := v.accepts("c1"), v.accepts("c2")
		v.tell(data("c1", messages.Window), data("c1", 1), data("c1", 1), closeOf("c1"))
		v.wantStream(s, fmt.Sprintf("write %d, abort limit", messages.Window))
		v.tell(data("c2", messages.Window))
		v.wantStream(other, fmt.Sprintf("write %d", messages.Window))
		if got := fmt.Sprint(v.handled); got != fmt.Sprintf("[%d 1 1 5 %[1]d]", messages.Window) {
			t.Errorf("given back were %s", got)
		}
	})
}

func TestHalfClosedConnectionHasCredit(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready(withCredit)
		s := v.accepts("c1")
		v.toConn(s, &messages.OutsideEnded{Reason: messages.CloseEOF})
		v.tell(data("c1", messages.Window/2))
		v.toConn(s, &messages.Flushed{N: messages.Window / 2})
		v.wantCredit("c1", messages.Window/2)
		v.tell(data("c1", messages.Window+1))
		v.wantStream(s, fmt.Sprintf("write %d, abort limit", messages.Window/2))
	})
}

// Credit for a connection that the client has closed tells it nothing.
func TestClosingConnectionGivesNoCredit(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready(withCredit)
		s := v.accepts("c1")
		s.slow = true
		v.tell(data("c1", messages.Window), closeOf("c1"))
		v.toConn(s, &messages.Flushed{N: messages.Window})
		v.wantCredit("c1")
	})
}

func TestWithoutCreditThereIsNoWindow(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		s := v.accepts("c1")
		for range 20 {
			v.tell(data("c1", messages.Window))
			v.wantStream(s, fmt.Sprintf("write %d", messages.Window))
			v.toConn(s, &messages.Flushed{N: messages.Window})
		}
		v.want()
	})
}

func TestClientsCreditReachesItsConnection(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready(withCredit)
		s, other := v.accepts("c1"), v.accepts("c2")
		v.tell(fromClient(&messages.Credit{ConnID: "c1", Bytes: 70000}, 60), fromClient(&messages.Credit{ConnID: "nobody", Bytes: 1}, 61))
		v.wantStream(s, "credit 70000")
		v.wantStream(other, "")
		v.want() // one that crossed its connection's end is nothing to speak of
		if got := fmt.Sprint(v.handled); got != "[60 61]" {
			t.Errorf("given back were %s", got)
		}
	})
}
