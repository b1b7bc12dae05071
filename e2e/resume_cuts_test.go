package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Sessions through a proxy that cuts: not a byte is lost, doubled or reordered.

// hasty makes a client that finds a dead WebSocket soon, for tests that make many.
func hasty(c *resumeClient) {
	c.quiet, c.via.wait, c.damaged = 150*time.Millisecond, 250*time.Millisecond, true
}

// wide makes a client grant more than the least, each another window.
func wide(c *resumeClient) { c.window = resumeFirst << rand.IntN(5) }

// beforeWord plans for some of the connections that they are cut before their first
// message has come, or within the handshake.
func beforeWord() *cut {
	if rand.IntN(3) > 0 {
		return nil
	}
	return &cut{way: rand.IntN(2), where: []int{cutRequest, cutFirst}[rand.IntN(2)], how: rand.IntN(cutHows)}
}

// cutting makes a proxy before a server that cuts in every way.
func cutting(t testing.TB, s *server, least, most time.Duration) *cutter {
	t.Helper()
	p := newCutter(t, s.addr, func(p *cutter) { p.plan = beforeWord })
	p.harass(least, most, p.random)
	return p
}

// resumeBig is how much goes through a session, each way: 1 GiB with
// WSPROXY_E2E_BIG set.
func resumeBig(small int64) int64 {
	if os.Getenv("WSPROXY_E2E_BIG") != "" {
		return 1 << 30
	}
	return small
}

// pour sends noise, and then eof. The channel is closed behind it.
func pour(t testing.TB, c *resumeClient, seed uint64, size int64) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := io.Copy(struct{ io.Writer }{c}, io.LimitReader(tunnelNoise(seed), size)); err != nil {
			t.Errorf("sending ends with %v", err)
		}
		_ = c.CloseWrite()
	}()
	return done
}

// wantNoise checks that noise comes, whole.
func wantNoise(t testing.TB, what string, from io.Reader, seed uint64, size int64) {
	if err := sameNoise(from, seed, size); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// sameNoise compares what comes with noise, and says where they differ.
func sameNoise(from io.Reader, seed uint64, size int64) error {
	noise := io.LimitReader(tunnelNoise(seed), size)
	got, want := make([]byte, 32<<10), make([]byte, 32<<10)
	for at := int64(0); ; {
		n, err := from.Read(got)
		if k, _ := io.ReadFull(noise, want[:n]); k < n || !bytes.Equal(got[:n], want[:n]) {
			i := 0
			for i < k && got[i] == want[i] {
				i++
			}
			rest, _ := io.Copy(io.Discard, from)
			return fmt.Errorf("of %d bytes those from %d on differ: %.16x instead of %.16x; %d come after them", size, at+int64(i), got[i:n], want[i:n], rest)
		}
		at += int64(n)
		switch {
		case err == io.EOF && at == size:
			return nil
		case err != nil:
			return fmt.Errorf("after %d bytes of %d: %w", at, size, err)
		}
	}
}

// waitOver waits for the end of the session, which must be an orderly one.
func (c *resumeClient) waitOver(t *testing.T) {
	t.Helper()
	if !waitClosed(c.done, patience) {
		t.Fatal("the session does not end")
	}
	if err := c.end(); err != io.EOF {
		t.Errorf("the session ends with %v", err)
	}
}

// Noise goes both ways at once through an echo, while WebSockets are cut anywhere
// and in every way.
func TestResumeEchoThroughCuts(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	p := cutting(t, s, 5*time.Millisecond, 50*time.Millisecond)
	var all sync.WaitGroup
	for i := range uint64(6) {
		all.Go(func() {
			const size = 3 << 20
			for range 20 { // on a machine that is quick a whole one may fall between two cuts
				c := resumeOpen(t, p.via(), relayPath(echoServer(t)), hasty, wide)
				sent := pour(t, c, i, size)
				wantNoise(t, fmt.Sprint("session ", i), c, i, size)
				<-sent
				c.waitOver(t)
				if c.begun > 1 {
					t.Logf("session %d began %d times", i, c.begun)
				}
				if c.takenUp() > 0 || t.Failed() {
					return
				}
			}
			t.Errorf("session %d was never taken up", i)
		})
	}
	all.Wait()
	for where := range p.cuts {
		t.Logf("cuts of kind %d: %d", where, p.cuts[where].Load())
	}
}

// A front proxy that reloads writes its close frame into the middle of a message, 1
// to 8 bytes before its end, in either direction: that is seen, and never passed on.
// The other direction gets one too, wherever it is: there the close frame may be just
// what a message was lacking.
func TestResumeCloseFrameWithinAMessage(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	var all sync.WaitGroup
	for way := range 2 {
		for kept := 1; kept <= 8; kept++ {
			p := newCutter(t, s.addr)
			p.harass(10*time.Millisecond, 50*time.Millisecond, func() *cut {
				return &cut{way: way, where: cutTail, how: cutClose, kept: kept}
			})
			all.Go(func() {
				const size = 1 << 20
				seed := uint64(10*kept + way)
				c := resumeOpen(t, p.via(), relayPath(echoServer(t)), hasty)
				sent := pour(t, c, seed, size)
				wantNoise(t, fmt.Sprintf("way %d, %d bytes before the end", way, kept), c, seed, size)
				<-sent
				c.waitOver(t)
			})
		}
	}
	all.Wait()
}

// Both directions are full, for the target echoes and does not read for a while:
// nobody waits for the other for ever.
func TestResumeBothDirectionsFull(t *testing.T) {
	t.Parallel()
	s := resumeServer(t, "RESUME_BUFFER=64KiB")
	far, conns := handServer(t)
	p := cutting(t, s, 100*time.Millisecond, 500*time.Millisecond)
	const size = 8 << 20 // more than all buffers between hold: 64 KiB go at a time
	// A session whose first message is lost begins anew, with another target than the
	// one that is looked at here.
	p.calm.Store(true)
	c := resumeOver(t, p.via(), far, hasty)
	p.calm.Store(false)
	sent := pour(t, c, 1, size)
	conn := accept(t, conns)
	_, _ = conn.SetReadBuffer(256<<10), conn.SetWriteBuffer(256<<10)
	_ = conn.SetDeadline(time.Now().Add(6 * patience))
	// It reads nothing until nothing more goes, and then the session is taken up all
	// the same.
	stuck(t, c, func() uint64 { return c.base })
	echoed := make(chan error, 1)
	go func() {
		_, err := io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
		if err != nil {
			_ = conn.SetLinger(0)
			conn.Close() // which ends the session, too
		}
		conn.CloseWrite()
		echoed <- err
	}()
	// And the client reads nothing until nothing comes either.
	stuck(t, c, func() uint64 { return c.base + c.position })
	p.calm.Store(true)
	wantNoise(t, "the echo", c, 1, size)
	<-sent
	if err := <-echoed; err != nil {
		t.Error(err)
	}
	c.waitOver(t)
}

// stuck waits until a position does not change any more, though the session is taken
// up meanwhile. It asks for it under the client's lock.
func stuck(t *testing.T, c *resumeClient, position func() uint64) {
	t.Helper()
	last, since, taken := uint64(0), time.Now(), 0
	eventually(t, 2*patience, "nothing moves, and the session is taken up", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		if now := position(); now != last || now == 0 {
			last, since, taken = now, time.Now(), c.taken
		}
		return time.Since(since) > 500*time.Millisecond && c.taken > taken
	})
}

// A session is taken up from another address, and counts where it began.
func TestResumeFromElsewhere(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	p := newCutter(t, s.addr, func(p *cutter) {
		p.from = func() net.IP { return net.IPv4(127, 0, byte(rand.IntN(250)), byte(1+rand.IntN(250))) }
	})
	p.harass(20*time.Millisecond, 100*time.Millisecond, p.random)
	const size = 2 << 20
	c := resumeOpen(t, p.via(), relayPath(echoServer(t)), hasty)
	sent := pour(t, c, 3, size)
	wantNoise(t, "the echo", c, 3, size)
	<-sent
	c.waitOver(t)

	s = resumeServer(t, "TRUSTED_PROXIES=127.0.0.1/32", "MAX_CONNS_PER_IP=1")
	from := func(address string) resumeVia { return s.direct("X-Forwarded-For: " + address) }
	h := resumeBegin(t, from("198.51.100.1"), relayPath(sinkServer(t)))
	for _, address := range []string{"198.51.100.2", "2001:db8::1", "198.51.100.1"} {
		h.via = from(address)
		h.lives(t, 0, 0)
		h.alive(t)
	}
	w := resumeSelected(t, from("198.51.100.2"), relayPath(sinkServer(t)), resumeV1, resumeProtocol)
	w.first(t, "session")
	if _, answer, err := resumeDial(from("198.51.100.1"), relayPath(sinkServer(t)), resumeV1, resumeProtocol); answer == nil || answer.status != 429 {
		t.Errorf("the slot is of the address where the session began: %v, want 429", err)
	}
}

// A session is lost and taken up while its target is being dialled, and what is sent
// meanwhile is not.
func TestResumeWhileDialling(t *testing.T) {
	t.Parallel()
	s := resumeServer(t, "DIAL_TIMEOUT=20s")
	far, unblock := fullListener(t)
	h := resumeBegin(t, s.direct(), relayPath(far))
	sent := uint64(0)
	for range 5 {
		sent += 5
		_ = h.data(sent, []byte("hello"))
		h.alive(t)
		h.cut()
		h.lives(t, 0, sent)
	}
	h.cut()
	conn := unblock()
	got := make([]byte, sent)
	if _, err := io.ReadFull(conn, got); err != nil {
		t.Fatalf("the target gets %q, %v", got, err)
	}
	_, _ = conn.Write([]byte("there"))
	h.lives(t, 0, sent)
	if back := string(h.receive(t, 5)); back != "there" {
		t.Errorf("the client gets %q", back)
	}
}

// fullListener is a target whose connections wait to be made until unblock is called,
// which returns the one that is not of the test itself.
func fullListener(t *testing.T) (addr net.Addr, unblock func() *net.TCPConn) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	l, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	own := map[string]bool{}
	for full := false; !full; { // the kernel's queue, whatever its length
		conn, err := net.DialTimeout("tcp", l.Addr().String(), 300*time.Millisecond)
		if full = err != nil; !full {
			own[conn.LocalAddr().String()] = true
			t.Cleanup(func() { conn.Close() })
		}
	}
	return l.Addr(), func() *net.TCPConn {
		t.Helper()
		_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
		for {
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if !own[conn.RemoteAddr().String()] {
				t.Cleanup(func() { conn.Close() })
				_ = conn.SetDeadline(time.Now().Add(patience))
				return conn.(*net.TCPConn)
			}
		}
	}
}
