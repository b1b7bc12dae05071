package actors

import (
	"testing"
	"time"

	"wsproxy/messages"
)

// setFull says whether the client can't be read on.
func (l *fakeLink) setFull(full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full = full
}

// halfClosed leads a connection to where its peer has ended its stream. Its
// stream does not end by EndWrite.
func (r *tunnelRig) halfClosed() (*rigTunnel, *fakeStream) {
	r.t.Helper()
	v := r.ready(withCredit)
	s := v.accepts("c1")
	s.slow = true
	v.toConn(s, &messages.OutsideEnded{Reason: messages.CloseEOF})
	return v, s
}

// While bytes wait for the peer the client may have no credit left to go on:
// that it sends nothing does not count, as long as the peer takes something.
func TestHalfClosedConnectionLivesWhileThePeerIsSlow(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v, s := r.halfClosed()
		for acked := range int64(20) {
			s.set(200, acked)
			v.pass(flushPatience)
		}
		v.wantStream(s, "")
		s.set(0, 20)
		v.toConn(s, &messages.Flushed{N: 200}) // now it can go on, and has its time
		v.pass(protocolIdle - 1)
		v.wantStream(s, "")
		v.pass(1)
		v.wantStream(s, "endwrite")
		v.want()
	})
}

// A peer that takes nothing more is reset, which the client hears of: an orderly
// end would pass for the whole of what it has to say.
func TestHalfClosedConnectionWhosePeerStallsIsReset(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v, s := r.halfClosed()
		v.tell(data("c1", 200))
		s.set(200, 7)
		v.pass(protocolIdle + flushPatience - 1)
		v.wantStream(s, "write 200")
		v.pass(1)
		v.wantStream(s, "abort slow")
		if lines := r.log.of("raw connection ended"); len(lines) != 1 || lines[0].fields["reason"] != "slow" {
			t.Errorf("logged is %v", lines)
		}
	})
}

// What the peer takes gives the client its time anew.
func TestFlushedBytesRenewTheTimeOfAHalfClosedConnection(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v, s := r.halfClosed()
		for range 5 {
			v.pass(protocolIdle - 1)
			v.toConn(s, &messages.Flushed{N: 1})
		}
		v.pass(protocolIdle - 1)
		v.wantStream(s, "")
		v.pass(1)
		v.wantStream(s, "endwrite")
	})
}

// A client whose WebSocket is not read can't be heard.
func TestHalfClosedConnectionLivesWhileTheTunnelIsNotRead(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v, s := r.halfClosed()
		v.pass(protocolIdle / 2)
		v.setFull(true)
		v.pass(10*time.Minute + time.Second)
		v.setFull(false)
		v.pass(protocolIdle - heldLook)
		v.wantStream(s, "")
		v.pass(heldLook)
		v.wantStream(s, "endwrite")
	})
}

// Data that comes too late is answered like that for any connection that there
// is not, and once: also while the connection is still being closed.
func TestDataAfterTheIdleEndIsAnswered(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v, s := r.halfClosed()
		v.pass(protocolIdle)
		v.wantStream(s, "endwrite")
		v.want()
		v.tell(data("c1", 200), data("c1", 200))
		v.want(unknown("c1"))
		v.toConn(s, &messages.StreamClosed{})
		v.tell(data("c1", 200))
		v.want()
		v.wantHeld(s, 0)
	})
}
