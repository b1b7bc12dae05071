package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// What a peer sends the moment that its connection is open comes back whole,
// also when the peer has ended its sending side meanwhile.
func TestGosshEcho(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	const banner = "220 welcome\r\n"
	plain := gosshOpen(t, s, gosshScript{service: echoServer(t).String()})
	polite := gosshOpen(t, s, gosshScript{service: gosshBanner(t, banner)})
	for _, half := range []bool{false, true} {
		for _, size := range []int{1, 1 << 10, 100_000, gosshLarge} {
			if err := plain.echo(t, size, "", half); err != nil {
				t.Errorf("half-close %v: %v", half, err)
			}
			if err := polite.echo(t, size, banner, half); err != nil {
				t.Errorf("half-close %v, a service that speaks first: %v", half, err)
			}
		}
	}
	plain.check(t)
	polite.check(t)
	most := 0
	for _, e := range plain.c.seen("data") {
		most = max(most, e.size)
	}
	if most <= tunnelPayload {
		t.Errorf("however much waited, no frame had more than %d bytes", most)
	}
}

// Several connections at once, all of them busy.
func TestGosshEchoes(t *testing.T) {
	t.Parallel()
	r := gosshOpen(t, tunnelServer(t), gosshScript{service: echoServer(t).String()})
	var running sync.WaitGroup
	for i := range 20 {
		running.Go(func() {
			if err := r.echo(t, 100_000+i, "", i%2 == 0); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	r.check(t)
}

// words gives a word as often as anybody listens, but with a pause before each.
// It ends with the test.
func words(t *testing.T, every time.Duration) <-chan struct{} {
	given, gone := make(chan struct{}), make(chan struct{})
	ticker := time.NewTicker(every)
	go func() {
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
			case <-gone:
				return
			}
			select {
			case given <- struct{}{}:
			case <-gone:
				return
			}
		}
	}()
	t.Cleanup(func() { close(gone) })
	return given
}

// upload sends n bytes to a gosshSink and compares the hash that it says.
func (r *gosshRig) upload(t *testing.T, n int) error {
	t.Helper()
	conn := r.dial(t)
	defer conn.Close()
	sent := []byte(gosshBinary(n))
	written := make(chan error, 1)
	go func() {
		_, err := conn.Write(sent)
		written <- err
	}()
	var got [sha256.Size]byte
	_, err := io.ReadFull(conn, got[:])
	if err == nil {
		err = <-written
	}
	if err != nil {
		return fmt.Errorf("the upload ends with %w", err)
	}
	if got != sha256.Sum256(sent) {
		return errors.New("the service got other bytes")
	}
	return nil
}

func TestGosshSlowReaders(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	t.Run("service", func(t *testing.T) {
		t.Parallel()
		r := gosshOpen(t, s, gosshScript{service: gosshSink(t, gosshLarge, words(t, 5*time.Millisecond))})
		if err := r.upload(t, gosshLarge); err != nil {
			t.Error(err)
		}
		r.check(t)
	})
	t.Run("outside", func(t *testing.T) {
		t.Parallel()
		sent := []byte(gosshBinary(gosshLarge))
		r := gosshOpen(t, s, gosshScript{service: gosshSource(t, sent)})
		conn := r.dial(t)
		_ = conn.SetReadBuffer(32 << 10)
		may := words(t, 5*time.Millisecond)
		got, n, err := tunnelSum(io.LimitReader(tunnelReader(func(p []byte) (int, error) {
			<-may
			return conn.Read(p)
		}), gosshLarge))
		if err != nil || got != sha256.Sum256(sent) {
			t.Errorf("%d bytes come, %v", n, err)
		}
		r.check(t)
	})
}

// dataAt returns when the first data for a connection came, and when the
// barrier behind its tcp_open was answered; ok is false if one hasn't yet.
func (c *gosshClient) dataAt(t *testing.T, connID string) (data, answered time.Time, ok bool) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, e := range c.events {
		switch {
		case e.kind == "tcp_open" && e.id == connID && i+1 < len(c.events):
			next := c.events[i+1]
			if next.kind != "http_request" || next.m.Path != "-" {
				t.Errorf("behind tcp_open comes %s of %q", next.kind, next.m.Path)
			}
			answered = c.answers[next.id]
		case (e.kind == "data" || e.kind == "early") && e.id == connID && data.IsZero():
			data = e.at
		}
	}
	return data, answered, !data.IsZero() && !answered.IsZero()
}

// Data waits until the barrier was answered and a while longer, but for no
// longer than that.
func TestGosshBarrier(t *testing.T) {
	t.Parallel()
	r := gosshOpen(t, tunnelServer(t), gosshScript{service: echoServer(t).String()})
	const wait, late = 150 * time.Millisecond, 400 * time.Millisecond
	const soon = 100 * time.Millisecond
	least, quick := time.Hour, time.Hour
	for i := 0; i < 3 || i < 30 && (least > late || quick > soon); i++ {
		conn := r.dial(t)
		if _, err := tunnelPing(conn); err != nil {
			t.Fatal(err)
		}
		data, answered, ok := r.c.dataAt(t, r.c.seen("tcp_open")[i].id)
		if !ok {
			t.Fatal("no barrier was answered")
		}
		if took := data.Sub(answered); took < wait {
			t.Errorf("data comes %v after the barrier's answer", took)
		} else {
			least = min(least, took)
		}
		for range 5 {
			took, err := tunnelPing(conn)
			if err != nil {
				t.Fatal(err)
			}
			quick = min(quick, took)
		}
	}
	if least > late {
		t.Errorf("data comes %v after the barrier's answer at best", least)
	}
	if quick > soon {
		t.Errorf("on an open connection an echo takes %v at best", quick)
	}
	r.check(t)
}

// A service that speaks first says that its channel is open, and no barrier
// has to be answered.
func TestGosshBarrierUnanswered(t *testing.T) {
	t.Parallel()
	const banner = "SSH-2.0-test\r\n"
	r := gosshOpen(t, tunnelServer(t), gosshScript{
		service: gosshBanner(t, banner), before: func(m tunnelMessage) bool { return m.Path != "-" },
	})
	for range 3 {
		if err := r.echo(t, 10_000, banner, false); err != nil {
			t.Error(err)
		}
	}
	r.check(t)
}

// While nothing says that the channel is open, nothing is sent, and the peer
// has to wait: what it sends does not pile up anywhere.
func TestGosshHeld(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	defer free() // also when the test fails
	s := tunnelServer(t)
	r := gosshOpen(t, s, gosshScript{service: echoServer(t).String(), before: func(m tunnelMessage) bool {
		if m.Path == "-" {
			<-release
		}
		return true
	}})
	conn := r.dial(t)
	_ = conn.SetWriteBuffer(64 << 10)
	sent := []byte(gosshBinary(8 << 20))
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	n, err := conn.Write(sent)
	if !errors.Is(err, os.ErrDeadlineExceeded) || n > 4<<20 {
		t.Errorf("before the channel is open %d bytes are taken, then %v", n, err)
	}
	if data := append(r.c.seen("data"), r.c.seen("early")...); len(data) > 0 {
		t.Errorf("before the channel is open %d frames come", len(data))
	}
	free()
	_ = conn.SetWriteDeadline(time.Now().Add(2 * patience))
	go func() { _, _ = conn.Write(sent[n:]) }()
	got, all, err := tunnelSum(io.LimitReader(conn, int64(len(sent))))
	if err != nil || got != sha256.Sum256(sent) {
		t.Errorf("then %d bytes come back, %v", all, err)
	}
	r.check(t)
}

// Tunnels of other clients are as they were.
func TestGosshOthers(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	r := gosshOpen(t, s, gosshScript{service: echoServer(t).String()})
	for _, query := range []string{"control=text", "control=binary", "flow=credit"} {
		// Whatever the client is given that it does not know fails the test.
		c := tunnelOpen(t, s, tunnelScript{query: query, raw: tunnelEcho})
		var running sync.WaitGroup
		running.Go(func() {
			if err := r.echo(t, 1<<20, "", false); err != nil {
				t.Error(err)
			}
		})
		// One that is quick shows that nothing waits. On a busy machine others
		// may not be.
		const limit = 140 * time.Millisecond
		quick := time.Hour
		for tries := 0; quick > limit && tries < 50; tries++ {
			began := time.Now()
			if _, err := tunnelPing(tunnelDial(t, c.port)); err != nil {
				t.Fatal(err)
			}
			quick = min(quick, time.Since(began))
		}
		if quick > limit {
			t.Errorf("%s: the first echo takes %v at best", query, quick)
		}
		for _, body := range []string{gosshText(300_000), gosshBinary(300_000)} {
			reply, err := tunnelAsk(tunnelHTTP(t), s, "POST", c.host, "/others", asStream(), strings.NewReader(body))
			if err != nil || reply.status != 200 || reply.body != "/others" {
				t.Errorf("%s: %d, %.60q, %v", query, reply.status, reply.body, err)
			}
		}
		running.Wait()
		c.bye(t)
	}
	r.check(t)
}

// A peer that resets its connection, or a service that is not there, harms no
// other.
func TestGosshRawEnds(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	nobody := gosshOpen(t, s, gosshScript{service: closedPort(t).String()})
	conn := nobody.dial(t)
	_, _ = conn.Write([]byte("x"))
	if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil || isTimeout(err) {
		t.Errorf("a service that is not there: %d, %v", n, err)
	}
	r := gosshOpen(t, s, gosshScript{service: echoServer(t).String()})
	for range 5 {
		conn := r.dial(t)
		if _, err := tunnelPing(conn); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetLinger(0)
		conn.Close()
		early := r.dial(t)
		_, _ = early.Write([]byte("gone before the channel is open"))
		_ = early.SetLinger(0)
		early.Close()
	}
	if err := r.echo(t, 100_000, "", true); err != nil {
		t.Error(err)
	}
	// The service ends, and the peer goes on writing: then the end is found.
	leaving := target(t, func(conn *net.TCPConn) { _, _ = io.ReadFull(conn, make([]byte, 1)) })
	r = gosshOpen(t, s, gosshScript{service: leaving.String()})
	conn = r.dial(t)
	eventually(t, patience, "a write finds that the service has gone", func() bool {
		_, _ = conn.Write([]byte("x"))
		used, _ := r.c.slots()
		return used == 0 && len(r.c.seen("data")) > 0
	})
	if n, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the peer reads %d bytes, %v", n, err)
	}
}
