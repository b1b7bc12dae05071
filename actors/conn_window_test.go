package actors

import (
	"fmt"
	"testing"
	"time"

	"wsproxy/messages"
)

func (l *fakeLink) Widen(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wider+n > l.mayWiden {
		return false
	}
	l.wider += n
	return true
}

// widened has a raw connection move bytes over a way of 50 ms until its window is
// wider than at first, and returns how much credit the client has left then.
func (v *rigTunnel) widened(s *fakeStream) (left int) {
	v.r.t.Helper()
	left = messages.Window
	for range 40 {
		n := left
		v.tell(data(s.ID(), n))
		left = 0
		for sent := 0; sent < n; {
			step := min(64<<10, n-sent) // as the outside peer's kernel takes it
			v.toConn(s, &messages.Flushed{N: step})
			sent += step
		}
		v.pass(50 * time.Millisecond)
		for _, call := range v.take() {
			var credit int
			if _, err := fmt.Sscanf(call, `control {"type":"tcp_credit","connId":"`+s.ID()+`","bytes":%d}`, &credit); err == nil {
				left += credit
			}
		}
	}
	if left <= messages.Window {
		v.r.t.Fatalf("the client has %d bytes of credit, no more than at first", left)
	}
	return left
}

func (v *rigTunnel) wantWider(most bool) {
	v.r.t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	if wider := v.wider; wider < 0 || (wider > 0) != most {
		v.r.t.Errorf("windows are wider by %d bytes", wider)
	}
}

// A window that is used up becomes wider, up to 8 MiB. When the connection pauses
// or ends, however it does, it holds nothing of the tunnel's memory.
func TestWindowIsWideWhileItIsUsed(t *testing.T) {
	for name, end := range map[string]func(*rigTunnel, *fakeStream){
		"a pause": func(v *rigTunnel, _ *fakeStream) { v.pass(3 * time.Second) },
		"close":   func(v *rigTunnel, s *fakeStream) { v.tell(closeOf(s.ID())) },
		"a reset": func(v *rigTunnel, s *fakeStream) {
			v.toConn(s, &messages.OutsideEnded{Reason: messages.CloseReset})
		},
		"its actor's": func(v *rigTunnel, s *fakeStream) { // as after a fault
			v.r.root.Stop(s.owner)
			v.r.settle()
		},
		"eof": func(v *rigTunnel, s *fakeStream) {
			v.tell(fromClient(&messages.Close{ConnID: s.ID(), Reason: messages.ClientEOF}, 5))
			v.pass(3 * time.Second)
		},
		"the tunnel's end": func(v *rigTunnel, _ *fakeStream) { v.end() },
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, rigOptions{}, func(r *tunnelRig) {
				v := r.ready(withCredit)
				v.mu.Lock()
				v.mayWiden = 32 << 20
				v.mu.Unlock()
				s := v.accepts("c1")
				left := v.widened(s)
				if left > messages.MaxWindow {
					t.Errorf("the client has %d bytes of credit", left)
				}
				v.wantWider(true)
				v.tell(data("c1", left)) // it was given them
				if s.Ended() != "" {
					t.Fatalf("ended for %s", s.Ended())
				}
				end(v, s)
				v.wantWider(false)
			})
		})
	}
}

// Where there is no room the window stays as it is.
func TestWindowStaysWhereThereIsNoRoom(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready(withCredit)
		s := v.accepts("c1")
		for range 40 {
			v.tell(data("c1", messages.Window/4))
			v.toConn(s, &messages.Flushed{N: messages.Window / 4})
			v.wantCredit("c1", messages.Window/4)
			v.pass(10 * time.Millisecond)
		}
	})
}
