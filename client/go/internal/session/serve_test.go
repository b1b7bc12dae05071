package session

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"wsproxy/transport/wsock/replay"
)

// loopback returns the ends of a TCP connection that holds little.
func loopback(t *testing.T) (near, far net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err == nil {
		far, err = l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = near.(*net.TCPConn).SetWriteBuffer(64 << 10)
	_ = far.(*net.TCPConn).SetReadBuffer(64 << 10)
	return near, far
}

// most is how many messages of 32 KiB the tests of what the kernel doesn't take send: 6 MB.
const most = 200

func large(i int) string { return fmt.Sprint(i, strings.Repeat("x", 32<<10)) }

// wantLarge takes all of these, from the first one on. A session may ask meanwhile whether
// its server is there.
func (p *peer) wantLarge() {
	p.r.t.Helper()
	for i := 0; i < most; {
		m := p.next()
		if m.data == nil && m.err == nil {
			continue
		}
		if i++; string(m.data) != large(i-1) || m.position != uint64(i) {
			p.r.t.Fatalf("message %d is %.20q, up to %d, %v", i, m.data, m.position, m.err)
		}
	}
}

// overTCP begins a session of messages over TCP, where who wakes it writes.
func overTCP(t *testing.T) (*rig, *peer) {
	r := &rig{t: t, unit: replay.Messages, tcp: true, peers: make(chan *peer, 16)}
	r.to, r.from = &source{r: r}, &sink{r: r, passes: true}
	p := r.open(0)
	p.wantAck(0)
	p.ack(0, 2000)
	p.send(`{"type":"ping"}`)
	p.want(`{"type":"pong"}`) // the limit has come, too
	return r, p
}

// Whoever wakes a session writes what there is, before Wake returns.
func TestWakeWrites(t *testing.T) {
	r, p := overTCP(t)
	r.s.mu.Lock()
	for r.s.busy || r.s.line.unflushed { // the writer's pong
		r.s.mu.Unlock()
		r.s.mu.Lock()
	}
	before := r.s.sock.Written()
	r.s.mu.Unlock()
	r.to.put("at once")
	if written := r.s.sock.Written() - before; written < uint64(len("at once")) {
		t.Errorf("%d bytes are written when Wake has returned", written)
	}
	p.wantData("at once", 1)
}

// A server that reads nothing has nobody wait who wakes the session. The writer goes on
// where the kernel took no more, and the end comes behind all.
func TestWakeDoesNotWait(t *testing.T) {
	r, p := overTCP(t)
	p.gate <- struct{}{}
	woken := make(chan struct{})
	go func() {
		defer close(woken)
		for i := range most {
			r.to.put(large(i))
		}
	}()
	select {
	case <-woken:
	case <-time.After(10 * time.Second):
		t.Fatal("who wakes the session waits for its server")
	}
	r.s.Close(1000, "")
	<-p.gate
	p.wantLarge()
	p.wantClose(1000)
	p.close(1000, "")
	if err := r.ends(); err != nil {
		t.Error(err)
	}
}

// A WebSocket that is lost while its kernel takes no more is followed by another one, on
// which nothing is missing.
func TestLossWhileStuck(t *testing.T) {
	r, p := overTCP(t)
	p.gate <- struct{}{}
	for i := range most {
		r.to.put(large(i))
	}
	p.cut()
	p = r.next()
	p.resume(0, 2000)
	p.wantLarge()
	r.s.Abort(3000, "")
	p.wantClose(3000)
	p.close(3000, "")
	_ = r.ends()
}
