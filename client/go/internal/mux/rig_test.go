package mux

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"wsproxy/client/go/internal/wire"
	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/buffers"
	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// pooled knows which buffers of the pool are alive.
var pooled buffers.BufferCount

func TestMain(m *testing.M) {
	wsock.TrackBuffers(pooled.Made)
	testkit.VerifyMain(m)
}

// A peer is a server that does what the test says, and the session to it. A Mux
// that waits to be asked is asked by the test.
type peer struct {
	t testing.TB
	m *Mux

	mu      sync.Mutex
	wakes   int
	passed  int64
	code    int
	reason  string
	aborted bool
}

func (p *peer) Wake() {
	p.mu.Lock()
	p.wakes++
	p.mu.Unlock()
}

func (p *peer) Passed(units int64) {
	p.mu.Lock()
	p.passed += units
	p.mu.Unlock()
}

func (p *peer) Close(code int, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.code == 0 {
		p.code, p.reason = code, reason
	}
}

func (p *peer) Abort(int, string) {
	p.mu.Lock()
	p.aborted = true
	p.mu.Unlock()
	p.m.Ended(nil)
}

// closed returns what the session was closed with.
func (p *peer) closed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.code
}

func (p *peer) wasAborted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.aborted
}

func (p *peer) counts() (wakes int, passed int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wakes, p.passed
}

// newPeer returns a peer of a Mux to which it has said that the tunnel is ready.
func newPeer(t testing.TB) *peer {
	t.Helper()
	p := &peer{t: t, m: New(true)}
	p.m.Attach(p)
	p.say(messages.EncodeReady(messages.Ready{TunnelURL: "https://s.example.com", RawPort: 10042, RawHost: "example.com", Credit: true, Bytes: true}))
	if ready, err := p.m.Ready(t.Context()); err != nil || ready.TunnelURL != "https://s.example.com" {
		t.Fatal(ready, err)
	}
	return p
}

func (p *peer) say(control []byte)      { p.m.Take(control, true) }
func (p *peer) credit(id string, n int) { p.say(messages.EncodeCredit(id, n)) }
func (p *peer) close(id, reason string) {
	p.say(messages.EncodeClose(id, messages.CloseReason(reason)))
}
func (p *peer) data(id string, bytes []byte) {
	p.m.Take(append(wire.AppendDataHeader(nil, id), bytes...), false)
}
func (p *peer) offer(id, protocol string) { p.say(messages.EncodeOpen(id, "192.0.2.1:5", protocol)) }
func (p *peer) bytes(id string, n int)    { p.data(id, make([]byte, n)) }
func (p *peer) raw(id string) *Stream     { return p.open(id, "") }
func (p *peer) http(id string) *Stream    { return p.open(id, messages.ProtocolHTTP) }
func (p *peer) open(id, proto string) *Stream {
	p.t.Helper()
	p.offer(id, proto)
	return p.accept(proto)
}

func (p *peer) accept(protocol string) *Stream {
	p.t.Helper()
	l := p.m.Raw
	if protocol != "" {
		l = p.m.HTTP
	}
	s, err := l.Accept()
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// next takes the next message: its connId, its payload, or what it says.
func (p *peer) next() (id string, payload []byte, said string) {
	p.t.Helper()
	m, ok := p.m.Next(1)
	if !ok {
		return "", nil, ""
	}
	if len(m.Payload) > wsock.BufferSize {
		p.t.Errorf("a message has %d bytes", len(m.Payload))
	}
	if m.Buf != nil {
		defer wsock.GiveBuffer(m.Buf)
	}
	if !m.JSON {
		name, payload, ok := wire.SplitData(m.Payload)
		if !ok || len(payload) == 0 {
			p.t.Errorf("a data message is %.40q", m.Payload)
		}
		return string(name), bytes.Clone(payload), ""
	}
	var c struct {
		Type, ConnID, Reason string
		Bytes                int
	}
	if err := json.Unmarshal(m.Payload, &c); err != nil {
		p.t.Errorf("%q: %v", m.Payload, err)
	}
	if c.Type == "tcp_credit" {
		return c.ConnID, nil, fmt.Sprint("credit ", c.Bytes)
	}
	if c.Type != "tcp_close" {
		p.t.Errorf("it says %q", m.Payload)
	}
	return c.ConnID, nil, "close" + c.Reason
}

// sends describes all messages that there are now, data by its length.
func (p *peer) sends() string {
	p.t.Helper()
	var all []byte
	for {
		id, payload, said := p.next()
		switch {
		case said != "":
			all = fmt.Appendf(all, "%s:%s ", id, said)
		case payload != nil:
			all = fmt.Appendf(all, "%s:%d ", id, len(payload))
		default:
			return string(bytes.TrimSpace(all))
		}
	}
}

func (p *peer) wantSends(want string) {
	p.t.Helper()
	if got := p.sends(); got != want {
		p.t.Errorf("it sends %q, want %q", got, want)
	}
}

// result runs a function of the test's on a goroutine of its own.
func result[T any](f func() T) <-chan T {
	c := make(chan T, 1)
	go func() { c <- f() }()
	return c
}

// wantWaits fails if something has happened already. It is for bubbles.
func wantWaits[T any](t testing.TB, what string, c <-chan T) {
	t.Helper()
	synctest.Wait()
	select {
	case v := <-c:
		t.Fatalf("%s does not wait: %v", what, v)
	default:
	}
}

// reads reads so many bytes, or to the end, and says how that went.
func reads(s *Stream, n int64) (int, error) {
	b, err := io.ReadAll(io.LimitReader(s, n))
	return len(b), err
}

// wantBroken fails unless an error is that of a connection that broke for a reason.
func wantBroken(t testing.TB, err error, reason string) {
	t.Helper()
	var broken *Error
	if !errors.As(err, &broken) || broken.Reason != reason || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the error is %v, want one of a connection that broke: %s", err, reason)
	}
}
