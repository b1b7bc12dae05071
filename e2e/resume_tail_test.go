package e2e

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"
)

// What becomes of bytes that the server has taken of a client that has closed, and that
// the target is slow to take.

// stuffed begins a session whose target reads nothing, and sends it what the server takes.
func stuffed(t *testing.T, s *server) (h *resumeHand, conn *net.TCPConn, sent uint64) {
	t.Helper()
	far, conns := handServer(t)
	h = resumeBegin(t, s.direct(), relayPath(far))
	conn = accept(t, conns)
	return h, conn, h.stuff(t)
}

// An eof came before the close frame: then any is an orderly end, though the target has
// not heard of the eof yet.
func TestResumeEndBehindTheRest(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	for _, code := range []int{1000, 3000} {
		h, conn, sent := stuffed(t, s)
		_ = h.note(fields{"type": "eof"})
		_ = h.bye(code)
		h.mustClose(t, code)
		h.Close()
		if got, end := sees(t, conn); uint64(len(got)) != sent || end != seesFIN {
			t.Errorf("close %d: of %d bytes and an eof the target sees %d and %s", code, sent, len(got), end)
		}
	}
}

// A target that is waited for no longer is reset: what it has not been sent was to follow.
func TestResumeEndOfAStuckTarget(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	for i, eof := range []bool{false, true} {
		h, conn, _ := stuffed(t, s)
		if eof {
			_ = h.note(fields{"type": "eof"})
		}
		_ = h.bye(1000)
		h.mustClose(t, 1000)
		h.Close()
		eventually(t, patience, "the target is waited for no longer", func() bool {
			return len(s.logLines(`"relay ended"`)) > i
		})
		if got, end := sees(t, conn); end != seesReset {
			t.Errorf("eof %v: a target that has got %d bytes sees %s", eof, len(got), end)
		}
	}
}

// A target that takes its last bytes slowly is waited for as long as nobody wants the slot.
func TestResumeSlowTargetGivesWay(t *testing.T) {
	t.Parallel()
	s := resumeServer(t, "MAX_CONNS_PER_IP=1")
	h, conn, sent := stuffed(t, s)
	_ = h.bye(1000)
	h.mustClose(t, 1000)
	h.Close()
	far, conns := handServer(t)
	resumeBegin(t, s.direct(), relayPath(far))
	accept(t, conns)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	got, slow := uint64(0), slowly(conn, func() {})
	for buf := make([]byte, 16<<10); ; {
		n, err := slow.Read(buf)
		if got += uint64(n); errors.Is(err, syscall.ECONNRESET) {
			return
		} else if err != nil {
			t.Fatalf("the target gets %d bytes of %d, and %v", got, sent, err)
		}
	}
}
