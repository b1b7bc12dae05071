package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// Several connections at once, both ways at once: nothing is lost, doubled or
// out of order.
func TestTunnelRawIntegrity(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	const conns, each = 8, 4 << 20
	for _, query := range []string{"flow=credit", "control=binary"} {
		c := tunnelOpen(t, s, tunnelScript{query: query})
		var running sync.WaitGroup
		for i := range uint64(conns) {
			outside, inside := tunnelPair(t, c)
			check := func(what string, from io.Reader, seed uint64) {
				got, n, err := tunnelSum(from)
				want, _, _ := tunnelSum(io.LimitReader(tunnelNoise(seed), each))
				if err != nil || n != each || got != want {
					t.Errorf("%s, connection %d, %s: %d bytes, %v, right: %v", query, i, what, n, err, got == want)
				}
			}
			running.Go(func() {
				_, _ = io.CopyN(struct{ io.Writer }{outside}, tunnelNoise(i), each)
				outside.CloseWrite()
			})
			running.Go(func() { check("out", outside, 100+i) })
			running.Go(func() {
				written := make(chan struct{})
				go func() {
					_, _ = io.CopyN(struct{ io.Writer }{inside}, tunnelNoise(100+i), each)
					close(written)
				}()
				check("in", inside, i)
				<-written
				_ = inside.Close()
			})
		}
		running.Wait()
		if line := s.logLines(`"raw connection ended"`); len(line) == 0 {
			t.Error("no line about a connection's end")
		}
		c.bye(t)
	}
}

func TestTunnelRawHalfClose(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	for _, query := range []string{"", "flow=credit"} {
		c := tunnelOpen(t, s, tunnelScript{query: query})
		outside, inside := tunnelPair(t, c)
		_, _ = io.WriteString(outside, "question")
		outside.CloseWrite()
		if got, err := io.ReadAll(inside); string(got) != "question" || err != nil {
			t.Errorf("the client gets %q, %v", got, err)
		}
		if reason := inside.reason(t); reason != "eof" {
			t.Errorf("tcp_close %q", reason)
		}
		for i := range 3 {
			_, _ = fmt.Fprintf(inside, "answer %d", i)
			buf := make([]byte, 8)
			if _, err := io.ReadFull(outside, buf); err != nil || string(buf) != fmt.Sprintf("answer %d", i) {
				t.Errorf("the outside gets %q, %v", buf, err)
			}
		}
		_ = inside.Close()
		if rest, err := io.ReadAll(outside); err != nil || len(rest) > 0 {
			t.Errorf("the end is %q, %v", rest, err)
		}
		c.bye(t)
	}
}

// The client closes: everything before that is delivered, then comes FIN.
func TestTunnelRawFlushBeforeClose(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	for _, query := range []string{"", "flow=credit"} {
		const size = 4 << 20
		c := tunnelOpen(t, s, tunnelScript{query: query})
		outside, inside := tunnelPairBuffer(t, c, 64<<10)
		sent := make(chan struct{})
		go func() {
			_, _ = io.CopyN(struct{ io.Writer }{inside}, tunnelNoise(7), size)
			_ = inside.Close()
			close(sent)
		}()
		if query == "" {
			<-sent // nothing was read yet
		}
		_, _ = io.WriteString(outside, "still talking")
		got, n, err := tunnelSum(outside)
		want, _, _ := tunnelSum(io.LimitReader(tunnelNoise(7), size))
		if n != size || err != nil || got != want {
			t.Errorf("%q: %d of %d bytes arrive, %v", query, n, size, err)
		}
	}
}

// A peer that answers everything it reads, and reads on only when its answers
// are taken, gets everything although the client has closed and reads none.
func TestTunnelRawFlushToEcho(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	const size = 24 << 20
	c := tunnelOpen(t, s, tunnelScript{})
	outside, inside := tunnelPair(t, c)
	_, _ = io.CopyN(struct{ io.Writer }{inside}, tunnelNoise(8), size)
	_ = inside.Close()
	if reply := tunnelGet(t, tunnelHTTP(t), s, c.host, "/"); reply.status != 200 { // tcp_close has been read
		t.Fatal(reply.status)
	}
	var all int64
	for buf := make([]byte, 64<<10); ; {
		n, err := outside.Read(buf)
		all += int64(n)
		if err != nil {
			if err != io.EOF || all != size {
				t.Errorf("%d of %d bytes arrive, then %v", all, size, err)
			}
			return
		}
		if _, err := outside.Write(buf[:n]); err != nil {
			t.Fatalf("after %d bytes the peer can't answer: %v", all, err)
		}
	}
}

// A slow peer that goes on talking gets everything, however long that takes.
func TestTunnelRawFlushToSlow(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	const size = 2 << 20
	c := tunnelOpen(t, s, tunnelScript{query: "flow=credit"})
	outside, inside := tunnelPairBuffer(t, c, 16<<10)
	go func() {
		_, _ = io.CopyN(struct{ io.Writer }{inside}, tunnelNoise(9), size)
		_ = inside.Close()
	}()
	all := 0
	pace := time.NewTicker(100 * time.Millisecond)
	defer pace.Stop()
	for buf := make([]byte, size/80); ; <-pace.C {
		n, err := io.ReadFull(outside, buf)
		all += n
		if err != nil {
			if all != size {
				t.Errorf("%d of %d bytes arrive, then %v", all, size, err)
			}
			return
		}
		_, _ = io.WriteString(outside, "x") // fails once the connection is gone
	}
}

// Data for unknown connections is answered once for each.
func TestTunnelRawUnknown(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	closed := make(chan tunnelMessage, 10_000)
	c := tunnelOpen(t, s, tunnelScript{close: func(_ *tunnelClient, m tunnelMessage) { closed <- m }})
	send := func(first, last int) {
		for i := first; i < last; i++ {
			_ = c.write(websocket.BinaryMessage, tunnelFrame(fmt.Sprintf("%012x", i), []byte("x")))
		}
	}
	heard := func() map[string]int {
		// The answer to the first request comes after all data, and the second
		// request after what the data is answered with.
		for range 2 {
			if reply := tunnelGet(t, tunnelHTTP(t), s, c.host, "/"); reply.status != 200 {
				t.Fatal(reply.status)
			}
		}
		heard := map[string]int{}
		for {
			select {
			case m := <-closed:
				if m.Reason != "unknown" {
					t.Errorf("reason %q", m.Reason)
				}
				heard[m.ConnID]++
			default:
				return heard
			}
		}
	}
	once := func(want int) {
		t.Helper()
		got := heard()
		for id, n := range got {
			if n != 1 {
				t.Errorf("%s is answered %d times", id, n)
			}
		}
		if len(got) != want {
			t.Errorf("%d ids are answered, not %d", len(got), want)
		}
	}
	for range 5 {
		send(0, 500)
	}
	once(500)
	send(0, 1024)
	once(524)
	send(1024, 1124) // the first 100 are forgotten
	once(100)
	send(100, 1124)
	once(0)
	send(0, 100)
	once(100)
	// A connection that has ended is unknown, too.
	outside, inside := tunnelPair(t, c)
	_ = inside.Close()
	_, _ = io.Copy(io.Discard, outside)
	outside.Close()
	eventually(t, patience, "the connection's end", func() bool { return len(s.logLines(`"raw connection ended"`)) > 0 })
	_ = inside.push([]byte("x"))
	if reason := inside.reason(t); reason != "unknown" {
		t.Errorf("data after the end is answered %q", reason)
	}
}

func TestTunnelRawLimits(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "MAX_TUNNEL_TCP_CONNS=2", "MAX_TUNNEL_TCP_CONNS_GLOBAL=6")
	a, b := tunnelOpen(t, s, tunnelScript{}), tunnelOpen(t, s, tunnelScript{query: "flow=credit"})
	refused := func(c *tunnelClient) {
		t.Helper()
		outside, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", c.port), patience)
		if err != nil {
			return // closed before this end knew that it was open
		}
		defer outside.Close()
		_ = outside.SetDeadline(time.Now().Add(patience))
		if n, err := outside.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, syscall.ETIMEDOUT) || isTimeout(err) {
			t.Errorf("a connection too many: %d, %v", n, err)
		}
		select {
		case <-c.conns:
			t.Error("it was announced")
		default:
		}
	}
	out1, _ := tunnelPair(t, a)
	_, in2 := tunnelPair(t, a)
	refused(a)
	out3, in3 := tunnelPair(t, b)
	refused(b)
	refused(a)
	_ = in2.Close()
	out1.Close() // half closed: its place is free only when the client closes, too
	_ = in3.Close()
	out3.Close()
	eventually(t, patience, "places are free again", func() bool {
		outside, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", b.port), patience)
		if err != nil {
			return false
		}
		defer outside.Close()
		_ = outside.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		_, err = outside.Read(make([]byte, 1))
		return isTimeout(err) // it was not closed
	})
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// Whoever breaks a connection off, the other side hears of it.
func TestTunnelRawEnds(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	for _, query := range []string{"", "flow=credit"} {
		c := tunnelOpen(t, s, tunnelScript{query: query})
		outside, inside := tunnelPair(t, c)
		_, _ = outside.Write([]byte("x"))
		eventually(t, patience, "a byte", func() bool { return inside.arrived() == 1 })
		_ = outside.SetLinger(0)
		outside.Close()
		if reason := inside.reason(t); reason != "reset" {
			t.Errorf("a reset becomes %q", reason)
		}
		// A reset after the peer's end, of which the client knows, is told too:
		// else a client that waits for credit waits for ever.
		outside, inside = tunnelPair(t, c)
		outside.CloseWrite()
		if reason := inside.reason(t); reason != "eof" {
			t.Errorf("an end becomes %q", reason)
		}
		_ = outside.SetLinger(0)
		outside.Close()
		eventually(t, patience, "the reset is told", func() bool {
			_ = inside.push([]byte("x"))
			inside.mu.Lock()
			defer inside.mu.Unlock()
			return len(inside.reasons) > 1
		})
		if reasons := inside.allReasons(t, 2); reasons[1] != "reset" && reasons[1] != "unknown" {
			t.Errorf("an end and then a reset become %q", reasons)
		}

		outside, inside = tunnelPair(t, c)
		_ = inside.Close()
		if rest, err := io.ReadAll(outside); err != nil || len(rest) > 0 {
			t.Errorf("the client's close becomes %q, %v", rest, err)
		}
		var outsides []*net.TCPConn
		for range 5 {
			outside, _ := tunnelPair(t, c)
			outsides = append(outsides, outside)
		}
		_ = c.ws.NetConn().Close()
		for _, outside := range outsides {
			if n, err := outside.Read(make([]byte, 1)); n > 0 || err == nil || isTimeout(err) {
				t.Errorf("a connection of a tunnel that is gone: %d, %v", n, err)
			}
		}
	}
}

// Messages may come in fragments, and pings between them.
func TestTunnelRawFragments(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	c := tunnelOpen(t, s, tunnelScript{})
	outside, inside := tunnelPair(t, c)
	payload := make([]byte, 100_000)
	_, _ = tunnelNoise(3).Read(payload)
	c.writing.Lock()
	w, err := c.ws.NextWriter(websocket.BinaryMessage)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bytes.SplitAfter(tunnelFrame(inside.id, payload), []byte{0x7a}) {
		_, _ = w.Write(b)
		_ = c.ws.WriteControl(websocket.PingMessage, []byte("p"), time.Now().Add(patience))
	}
	w.Close()
	c.writing.Unlock()
	got := make([]byte, len(payload))
	if _, err := io.ReadFull(outside, got); err != nil || !bytes.Equal(got, payload) {
		t.Errorf("the payload does not arrive: %v", err)
	}
	// One message of many megabytes is passed on as it comes.
	const size = 8 << 20
	go func() { _ = inside.push(bytes.Repeat([]byte{'m'}, size)) }()
	if n, err := io.CopyN(io.Discard, outside, size); err != nil {
		t.Errorf("of one large message %d bytes arrive: %v", n, err)
	}
}
