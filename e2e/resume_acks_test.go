package e2e

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// resumeAckSlack is what a busy machine may take on top of the second within which
// an ack is due.
const resumeAckSlack = 700 * time.Millisecond

// meter is a target that reads everything and says how much.
func meter(t *testing.T) (net.Addr, *atomic.Int64) {
	t.Helper()
	var n atomic.Int64
	return target(t, func(conn *net.TCPConn) {
		for buf := make([]byte, 64<<10); ; {
			k, err := conn.Read(buf)
			n.Add(int64(k))
			if err != nil {
				return
			}
		}
	}), &n
}

// ackOf waits for an ack of at least a position.
func (h *resumeHand) ackOf(t *testing.T, position uint64) {
	t.Helper()
	for h.mustNote(t, "ack").position < position {
	}
}

// ackWithin is ackOf, and says how long it has taken since then; see elapsed.
func (h *resumeHand) ackWithin(t *testing.T, position uint64, began time.Time) time.Duration {
	t.Helper()
	h.ackOf(t, position)
	return elapsed(began)
}

// What was passed on is acknowledged within a second, and each quarter of what may
// be under way at once.
func TestResumeAcksAreDue(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, allowLoopback())
	t.Run("relay", func(t *testing.T) {
		far, arrived := meter(t)
		h := resumeBegin(t, s.direct(), relayPath(far))
		sent := uint64(0)
		send := func(n int) {
			sent += uint64(n)
			if err := h.data(sent, make([]byte, n)); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			send(1)
			eventually(t, patience, "a byte arrives", func() bool { return arrived.Load() == int64(sent) })
			began := time.Now()
			if d := h.ackWithin(t, sent, began); d > time.Second+resumeAckSlack {
				t.Errorf("one byte is acknowledged after %v", d)
			}
		}
		// A quarter: it must not take the second. A machine that is busy may make it so.
		quick := false
		for try := 0; try < 10 && !quick; try++ {
			from, began := sent, time.Now()
			for range 17 {
				send(1 << 10)
			}
			quick = h.ackWithin(t, from+1, began) < 700*time.Millisecond
			h.ackOf(t, sent)
		}
		if !quick {
			t.Error("a quarter of the window is never acknowledged at once")
		}
	})
	t.Run("tunnel", func(t *testing.T) {
		h := resumeBegin(t, s.direct(), resumeTunnelQuery)
		h.must(t)
		sent := uint64(0)
		send := func(n int) {
			for range n {
				sent++
				if err := h.note(fields{"type": "nobody_knows"}); err != nil {
					t.Fatal(err)
				}
			}
		}
		began := time.Now()
		send(1)
		if d := h.ackWithin(t, sent, began); d > time.Second+resumeAckSlack {
			t.Errorf("one message is acknowledged after %v", d)
		}
		quick := false
		for try := 0; try < 10 && !quick; try++ {
			from, began := sent, time.Now()
			send(17)
			quick = h.ackWithin(t, from+1, began) < 700*time.Millisecond
			h.ackOf(t, sent)
		}
		if !quick {
			t.Error("a quarter of the window is never acknowledged at once")
		}
		// What is not JSON is counted as well, and has its position behind it.
		sent++
		if err := h.data(sent, tunnelFrame("000000000000", []byte("x"))); err != nil {
			t.Fatal(err)
		}
		for acked := false; !acked; { // a tcp_close comes, too
			m := h.must(t)
			acked = m.note != nil && m.note.kind == "ack" && m.note.position == sent
		}
	})
}

// The server follows resumed with an ack, though nothing new was passed on.
func TestResumedIsFollowedByAnAck(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	far, arrived := meter(t)
	h := resumeBegin(t, s.direct(), relayPath(far))
	_ = h.data(5, []byte("hello"))
	eventually(t, patience, "it arrives", func() bool { return arrived.Load() == 5 })
	h.ackOf(t, 5)
	for range 5 {
		h.cut()
		if n := h.again(t, 0); n.position != 5 || n.limit < 5+resumeFirst {
			t.Errorf("resumed says position %d, limit %d", n.position, n.limit)
		}
		began := time.Now()
		if n := h.mustNote(t, "ack"); n.position != 5 || n.limit < 5+resumeFirst || elapsed(began) > time.Second {
			t.Errorf("the ack %d, limit %d, comes after %v", n.position, n.limit, time.Since(began))
		}
		_ = h.ack(0, resumeFirst)
	}
}

// A page that does not read holds the server up, at exactly what it has granted.
func TestResumeServerKeepsTheLimit(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	h := resumeBegin(t, s.direct(), relayPath(floodServer(t)))
	quiet := func() {
		t.Helper()
		for range 20 {
			h.alive(t)
		}
	}
	got := len(h.receive(t, resumeFirst))
	quiet()
	for _, limit := range []uint64{resumeFirst + 1, resumeFirst + 1000, resumeFirst + 200_000} {
		_ = h.ack(0, limit)
		got += len(h.receive(t, int(limit)-got))
		if uint64(got) != limit {
			t.Fatalf("%d bytes come, granted are %d", got, limit)
		}
		quiet()
	}
	// A lower limit, or a lower ack, says nothing.
	_ = h.ack(70_000, 100)
	_ = h.ack(50_000, 200)
	quiet()
	// What is granted may be as much as one wants; what isn't acknowledged is kept
	// and so the server stops at RESUME_BUFFER.
	_ = h.ack(uint64(got), 1<<40)
	acked := got
	got += len(h.receive(t, resumeBuffer-resumeMost))
	_ = h.SetReadDeadline(time.Now().Add(2 * time.Second))
	for {
		m, err := h.read()
		if err != nil {
			if !isTimeout(err) {
				t.Fatal(err)
			}
			break
		}
		got += len(m.payload)
		if m.note != nil {
			got -= len(m.payload)
		}
		if got-acked > resumeBuffer+resumeMost {
			t.Fatalf("%d bytes come that are not acknowledged", got-acked)
		}
	}
	_ = h.SetReadDeadline(time.Now().Add(patience))
	quiet()
}

// The server grants more while it is used up and passed on, never more than
// RESUME_BUFFER, and no less than 64 KiB.
func TestResumeServerGrants(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		setting     string
		least, most uint64
	}{
		{"64KiB", resumeFirst, resumeFirst},
		{"256KiB", 128 << 10, 256 << 10},
		{"1MiB", 256 << 10, 1 << 20},
	} {
		t.Run(c.setting, func(t *testing.T) {
			s := resumeServer(t, "RESUME_BUFFER="+c.setting)
			h := resumeBegin(t, s.direct(), relayPath(sinkServer(t)))
			limits := make(chan uint64, 1<<16)
			ended := make(chan error, 1)
			var widest atomic.Uint64
			go func() {
				defer close(limits)
				for {
					m, err := h.read()
					if err != nil {
						ended <- err
						return
					}
					if m.note == nil || m.note.kind != "ack" {
						continue
					}
					if m.note.limit < m.note.position+resumeFirst || m.note.limit > m.note.position+c.most {
						t.Errorf("ack %d grants up to %d", m.note.position, m.note.limit)
					}
					widest.Store(max(widest.Load(), m.note.limit-m.note.position))
					limits <- m.note.limit
				}
			}()
			limit, sent := h.session.limit, uint64(0)
			block := make([]byte, 32<<10)
			for sent < 32<<20 && (widest.Load() < c.least || sent < 4<<20) {
				for sent+uint64(len(block)) > limit {
					l, ok := <-limits
					if !ok {
						t.Fatalf("after %d bytes: %v", sent, <-ended)
					}
					if l < limit {
						t.Errorf("the limit falls from %d to %d", limit, l)
					}
					limit = l
				}
				sent += uint64(len(block))
				if err := h.data(sent, block); err != nil {
					t.Fatal(err)
				}
			}
			if widest.Load() < c.least {
				t.Errorf("a session that uses up its window is granted %d bytes at most", widest.Load())
			}
			h.Close()
			<-ended
		})
	}
}

// stuff sends as much as the server takes, to a target that reads nothing, and
// returns the position: it is the limit, and all of it was received.
func (h *resumeHand) stuff(t *testing.T) (sent uint64) {
	t.Helper()
	limit := h.session.limit
	block := make([]byte, 32<<10)
	for {
		for sent < limit {
			n := min(uint64(len(block)), limit-sent)
			sent += n
			if err := h.data(sent, block[:n]); err != nil {
				t.Fatal(err)
			}
		}
		_ = h.SetReadDeadline(time.Now().Add(time.Second + resumeAckSlack))
		m, err := h.read()
		_ = h.SetReadDeadline(time.Now().Add(patience))
		if isTimeout(err) {
			return sent
		}
		if err != nil {
			t.Fatalf("after %d bytes: %v", sent, err)
		}
		if m.note != nil && m.note.kind == "ack" {
			limit = max(limit, m.note.limit)
		}
	}
}

// A server that can't pass on reads on up to its limit, and not a byte more.
func TestResumeClientKeepsTheLimit(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	far, conns := handServer(t)
	h := resumeBegin(t, s.direct(), relayPath(far))
	conn := accept(t, conns)
	_ = conn.SetReadBuffer(4 << 10)
	sent := h.stuff(t)
	h.alive(t) // it reads on
	h.cut()
	if n := h.again(t, 0); n.position != sent {
		t.Errorf("of %d bytes within the limit %d were received", sent, n.position)
	}
	_ = h.ack(0, resumeFirst)
	h.alive(t)
	_ = h.data(sent+1, []byte("x"))
	h.mustClose(t, 1002)
	if n, err := io.Copy(io.Discard, conn); err == nil { // a reset, for it is no whole upload
		t.Errorf("after the end the target sees %d bytes and a FIN", n)
	}
	h.over(t)
}
