package e2e

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// How a session ends, and how only its WebSocket does.

// ends are what a target can see of the end of a session.
const (
	seesFIN   = "FIN"
	seesReset = "reset"
)

// sees reads from a target's connection to its end, and returns what came and what
// the end was.
func sees(t *testing.T, conn *net.TCPConn) (got, end string) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	all, err := io.ReadAll(conn)
	switch {
	case err == nil:
		return string(all), seesFIN
	case errors.Is(err, syscall.ECONNRESET):
		return string(all), seesReset
	}
	return string(all), err.Error()
}

// A close frame ends the session: with 1000 in an orderly way, else by a reset, for
// a page that is left in the middle says so.
func TestResumeEnd(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	for _, c := range []struct {
		code, answer int
		eof          bool
		end          string
	}{
		{1000, 1000, false, seesFIN}, {1000, 1000, true, seesFIN},
		{3000, 3000, false, seesReset}, {3000, 3000, true, seesFIN},
		{4999, 4999, false, seesReset}, {1008, 1008, false, seesReset}, {1011, 1011, false, seesReset},
	} {
		far, conns := handServer(t)
		h := resumeBegin(t, s.direct(), relayPath(far))
		conn := accept(t, conns)
		_ = h.data(5, []byte("hello"))
		if c.eof {
			_ = h.note(fields{"type": "eof"})
		}
		if c.end == seesReset || c.eof { // a reset may overtake what was not read
			if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
		}
		if c.eof { // and the target has seen the end of it
			if n, err := conn.Read(make([]byte, 1)); n > 0 || err != io.EOF {
				t.Errorf("after eof the target reads %d, %v", n, err)
			}
		}
		_ = h.bye(c.code)
		h.mustClose(t, c.answer)
		h.Close()
		got, end := sees(t, conn)
		if want := map[bool]string{true: "hello"}[c.end == seesFIN && !c.eof]; end != c.end || got != want {
			t.Errorf("close %d, eof %v: the target sees %q and %s, want %s", c.code, c.eof, got, end, c.end)
		}
		h.over(t)
	}
}

// A WebSocket that is lost takes nothing with it.
func TestResumeLoss(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	half := frame(finBit|opBinary, []byte("never passed on\x00\x00\x00\x00\x00\x00\x00\x19"))
	for _, c := range []struct {
		name   string
		lose   func(h *resumeHand)
		answer int
	}{
		{"RST", func(h *resumeHand) { _ = h.Conn.(*net.TCPConn).SetLinger(0); h.Close() }, -1},
		{"FIN", func(h *resumeHand) { h.Conn.(*net.TCPConn).CloseWrite() }, 0},
		{"within a header", func(h *resumeHand) { _, _ = h.Write(half[:3]); h.Conn.(*net.TCPConn).CloseWrite() }, 0},
		{"within a message", func(h *resumeHand) { _, _ = h.Write(half[:len(half)-1]); h.Conn.(*net.TCPConn).CloseWrite() }, 0},
		{"close 1001", func(h *resumeHand) { _ = h.bye(1001) }, 0},
		{"close 1012", func(h *resumeHand) { _ = h.bye(1012) }, 0},
		{"close 4000", func(h *resumeHand) { _ = h.bye(4000) }, 4000},
		{"half a close frame", func(h *resumeHand) {
			_, _ = h.Write(frame(finBit|opClose, closePayload(1000, ""))[:7])
			h.Conn.(*net.TCPConn).CloseWrite()
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			far, conns := handServer(t)
			h := resumeBegin(t, s.direct(), relayPath(far))
			conn := accept(t, conns)
			_ = h.data(5, []byte("hello"))
			if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			_, _ = conn.Write([]byte("there"))
			h.receive(t, 5)
			c.lose(h)
			if c.answer >= 0 {
				h.mustClose(t, c.answer)
			}
			_, _ = conn.Write([]byte(" you"))
			h.lives(t, 5, 5)
			if got := string(h.receive(t, 4)); got != " you" {
				t.Errorf("what comes after the loss is %q", got)
			}
			_ = h.data(8, []byte("us!"))
			got := make([]byte, 3)
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != "us!" {
				t.Errorf("what the target gets after the loss is %q, %v", got, err)
			}
		})
	}
}

// Each side ends its own half; when both have, the server closes.
func TestResumeHalfClose(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	for _, again := range []bool{false, true} { // with a loss after each step
		far, conns := handServer(t)
		lose := func(h *resumeHand, received, sent uint64) {
			if again {
				h.cut()
				h.lives(t, received, sent)
			}
		}
		h := resumeBegin(t, s.direct(), relayPath(far))
		conn := accept(t, conns)
		_, _ = conn.Write([]byte("bye"))
		conn.CloseWrite()
		h.receive(t, 3)
		h.mustNote(t, "eof")
		lose(h, 3, 0)
		if again { // told again
			h.mustNote(t, "eof")
		}
		_ = h.data(4, []byte("long"))
		if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
			t.Errorf("after its FIN the target reads: %v", err)
		}
		lose(h, 3, 4)
		_ = h.note(fields{"type": "eof"})
		h.mustClose(t, 1000)
		if got, end := sees(t, conn); got != "" || end != seesFIN {
			t.Errorf("the target sees %q and %s", got, end)
		}

		// The other way round.
		h = resumeBegin(t, s.direct(), relayPath(far))
		conn = accept(t, conns)
		_ = h.data(4, []byte("last"))
		_ = h.note(fields{"type": "eof"})
		_ = h.note(fields{"type": "eof"})
		if got, end := sees(t, conn); got != "last" || end != seesFIN {
			t.Errorf("the target sees %q and %s", got, end)
		}
		lose(h, 0, 4)
		if again {
			_ = h.note(fields{"type": "eof"})
		}
		_, _ = conn.Write([]byte("answer"))
		if got := string(h.receive(t, 6)); got != "answer" {
			t.Errorf("after its eof the client gets %q", got)
		}
		lose(h, 6, 4)
		conn.CloseWrite()
		h.mustNote(t, "eof")
		h.mustClose(t, 1000)
	}
}

// What the target says while nobody is there waits, its end and the close with it.
func TestResumeTargetEndsMeanwhile(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	rest := newData(300_000)
	for _, reset := range []bool{false, true} {
		far, conns := handServer(t)
		h := resumeBegin(t, s.direct(), relayPath(far))
		conn := accept(t, conns)
		h.alive(t)
		h.cut()
		_, _ = io.Copy(conn, rest.reader())
		if reset {
			_ = conn.SetLinger(0)
		}
		conn.Close()
		for range 3 { // a close frame that was lost has ended nothing
			h.again(t, 0)
			_ = h.ack(0, resumeBuffer)
			got := newTally()
			ended := false
			for !ended {
				m, err := h.read()
				var closed *resumeClosed
				switch {
				case errors.As(err, &closed) && closed.code == 1011 && reset:
					ended = true
				case err != nil:
					t.Fatalf("after %d bytes: %v", got.n, err)
				case m.note == nil:
					_, _ = got.Write(m.payload)
				case m.note.kind == "eof":
					ended = true
				}
			}
			if !reset {
				got.expect(t, rest)
			}
			h.cut()
		}
		if !reset {
			h.again(t, uint64(rest.size))
			_ = h.ack(uint64(rest.size), 1<<30)
			_ = h.note(fields{"type": "eof"})
			h.mustClose(t, 1000)
			h.answer(&resumeClosed{code: 1000}) // and it is over when that has come
			h.over(t)
		}
	}
}

// A WebSocket that comes while another is there takes the session over, and nothing
// that the other still says counts.
func TestResumeTakeover(t *testing.T) {
	t.Parallel()
	s := resumeServer(t, "MAX_CONNS_PER_IP=1") // it is no new session
	far, conns := handServer(t)
	h := resumeBegin(t, s.direct(), relayPath(far))
	conn := accept(t, conns)
	_ = h.data(3, []byte("one"))
	if _, err := io.ReadFull(conn, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	sent := uint64(3)
	for i := range 20 {
		old := *h
		h.lives(t, 0, sent)
		// All of this comes too late.
		_ = old.data(sent+4, []byte("late"))
		_ = old.note(fields{"type": "eof"})
		_ = old.note(fields{"type": "nonsense"})
		_ = old.bye([]int{1000, 3000, 1002}[i%3])
		old.mustClose(t, 4001)
		sent += 3
		_ = h.data(sent, []byte("two"))
		got := make([]byte, 3)
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != "two" {
			t.Fatalf("take-over %d: the target gets %q, %v", i, got, err)
		}
	}
	// The one that still sends with all its might is torn off as well.
	old := *h
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for at := sent; at < sent+resumeFirst; at++ { // what is granted at least
			if old.data(at+1, []byte("x")) != nil {
				return
			}
		}
	}()
	n := h.again(t, 0)
	_ = h.ack(0, resumeFirst)
	old.mustClose(t, 4001)
	old.Close()
	<-stop
	_ = h.data(n.position+1, []byte("y"))
	_ = h.note(fields{"type": "eof"})
	got, end := sees(t, conn)
	if want := strings.Repeat("x", int(n.position-sent)) + "y"; got != want || end != seesFIN {
		t.Errorf("the target gets %d bytes, not %d, and %s", len(got), len(want), end)
	}
}
