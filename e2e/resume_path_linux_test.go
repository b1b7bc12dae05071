package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// How fast a session of section 9 is where a round trip takes long: what may be under
// way, once a round trip.

const (
	// resumePathRTT is of the empty path.
	resumePathRTT = 50 * time.Millisecond
	// resumePathPart is how much of a plain relay's rate must be reached.
	resumePathPart = 0.85
	// resumePathTries is in how many parts of a transfer a rate may be reached: others
	// may use the processors.
	resumePathTries = 24
	// resumePathProbe is how long such a part takes, ten round trips.
	resumePathProbe = 10 * resumePathRTT
)

// A pathTransfer is one transfer over a path: a relay with section 9 or without.
type pathTransfer struct {
	arrived atomic.Int64 // bytes at the far end of it
	widest  atomic.Int64 // bytes that were sent and not acknowledged, at most; of pathUp
	conn    net.Conn
	ended   chan struct{} // closed when whoever sends or receives has ended
}

func (x *pathTransfer) end() {
	x.conn.Close()
	<-x.ended
}

// fastest returns the best rate of so many parts of the transfer in bytes/s, or the
// first one that is enough.
func (x *pathTransfer) fastest(t *testing.T, parts int, enough float64) (best float64) {
	t.Helper()
	for range parts {
		began, before := time.Now(), x.arrived.Load()
		select {
		case <-x.ended:
			t.Fatal("the transfer ends")
		case <-time.After(resumePathProbe):
		}
		rate := float64(x.arrived.Load()-before) / time.Since(began).Seconds()
		if best = max(best, rate); best >= enough {
			break
		}
	}
	return best
}

// pathDown receives what a target sends, over a relay to which the client grants so many
// bytes, or over a plain one if that is 0.
func pathDown(t *testing.T, s *server, window uint64) *pathTransfer {
	t.Helper()
	if window == 0 {
		w := resumePathDial(t, s, floodServer(t), resumeV1)
		x := &pathTransfer{conn: w, ended: make(chan struct{})}
		go func() {
			defer close(x.ended)
			buf := make([]byte, 256<<10)
			for {
				n, err := w.in.Read(buf)
				if x.arrived.Add(int64(n)); err != nil {
					return
				}
			}
		}()
		return x
	}
	w := resumePathDial(t, s, floodServer(t), resumeV1, resumeProtocol)
	x := &pathTransfer{conn: w, ended: make(chan struct{})}
	w.first(t, "session")
	_ = w.ack(0, window)
	go func() {
		defer close(x.ended)
		step := min(window/4, 32<<10)
		for position, acked := uint64(0), uint64(0); ; {
			m, err := w.read()
			if err != nil {
				return
			}
			if m.note == nil {
				position += uint64(len(m.payload))
			}
			x.arrived.Store(int64(position))
			if position-acked >= step {
				acked = position
				if w.ack(position, position+window) != nil {
					return
				}
			}
		}
	}()
	return x
}

// pathUp sends to a target, over a relay with section 9 or a plain one.
func pathUp(t *testing.T, s *server, resumable bool) *pathTransfer {
	t.Helper()
	x := &pathTransfer{ended: make(chan struct{})}
	far := target(t, func(conn *net.TCPConn) {
		for buf := make([]byte, 256<<10); ; {
			n, err := conn.Read(buf)
			if x.arrived.Add(int64(n)); err != nil {
				return
			}
		}
	})
	const size = 32 << 10
	if !resumable {
		w := resumePathDial(t, s, far, resumeV1)
		x.conn = w
		message := frame(finBit|opBinary, make([]byte, size))
		go func() {
			defer close(x.ended)
			for {
				if _, err := w.Write(message); err != nil {
					return
				}
			}
		}()
		return x
	}
	w := resumePathDial(t, s, far, resumeV1, resumeProtocol)
	x.conn = w
	var limit, acked atomic.Uint64
	limit.Store(w.first(t, "session").limit)
	_ = w.ack(0, resumeFirst)
	more := make(chan struct{}, 1)
	go func() {
		defer close(more)
		for {
			m, err := w.read()
			if err != nil {
				return
			}
			if m.note != nil && m.note.kind == "ack" {
				acked.Store(m.note.position)
				limit.Store(m.note.limit)
				select {
				case more <- struct{}{}:
				default:
				}
			}
		}
	}()
	go func() {
		defer close(x.ended)
		message := frame(finBit|opBinary, make([]byte, size+8))
		position := message[len(message)-8:]
		for sent := uint64(0); ; {
			for limit.Load() < sent+size {
				if _, ok := <-more; !ok {
					return
				}
			}
			sent += size
			binary.BigEndian.PutUint64(position, sent)
			for i := range position { // the mask starts anew every four bytes
				position[i] ^= mask[i%4]
			}
			if _, err := w.Write(message); err != nil {
				return
			}
			x.widest.Store(max(x.widest.Load(), int64(sent-acked.Load())))
		}
	}()
	return x
}

// resumePathDial begins a relay, as a client whose own kernel bounds nothing. It is
// closed with the test.
func resumePathDial(t *testing.T, s *server, far net.Addr, protocols ...string) *resumeSocket {
	t.Helper()
	w, _, err := resumeDial(s.direct(), relayPath(far), protocols...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	_ = w.SetDeadline(time.Time{})
	_ = w.Conn.(*net.TCPConn).SetWriteBuffer(4 << 20)
	return w
}

// Over 50 ms a session of section 9 is as fast as what may be under way allows: 1 MiB
// are 168 Mbit/s, 4 MiB are 671. To the client no relay is faster than the kernel's send
// buffer lets it, which the protocol bounds (section 12): so all is measured by a plain
// relay, too.
func TestResumeOverALongWay(t *testing.T) { // alone, because it measures
	p := newPath(t, pathRates{down: 2000 * pathMbit, up: 2000 * pathMbit, rtt: resumePathRTT, queue: 32 << 20, mtu: 9000})
	settings := []struct {
		name   string
		window uint64
		want   float64 // bytes/s
	}{{"1MiB", 1 << 20, 150 * pathMbit}, {"4MiB", 4 << 20, 500 * pathMbit}}
	for _, way := range []string{"down", "up"} {
		var plain float64
		for _, c := range settings {
			s := p.server(t, resumePlainServer(t, "BIND="+p.near, "RESUME_BUFFER="+c.name))
			begin := func(window uint64) *pathTransfer {
				if way == "down" {
					return pathDown(t, s, window)
				}
				return pathUp(t, s, window > 0)
			}
			if plain == 0 {
				x := begin(0)
				plain = x.fastest(t, 8, settings[len(settings)-1].want/resumePathPart)
				x.end()
			}
			want := min(c.want, resumePathPart*plain)
			x := begin(c.window)
			rate := x.fastest(t, resumePathTries, want)
			if way == "up" {
				eventually(t, patience, "what may be under way is", func() bool { return x.widest.Load() > int64(c.window)/4*3 })
			}
			x.end()
			said := fmt.Sprintf("%s, %s: %.0f Mbit/s, a plain relay %.0f", way, c.name, rate/pathMbit, plain/pathMbit)
			if t.Log(said); rate < want {
				t.Errorf("%s: less than %.0f", said, want/pathMbit)
			}
			if w := uint64(x.widest.Load()); w > c.window {
				t.Errorf("%d bytes were under way, RESUME_BUFFER is %s", w, c.name)
			}
		}
	}
}
