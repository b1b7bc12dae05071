package session

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/client/go/internal/socket"
	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

// A rig is a session whose server is the test. It lives in a bubble of synctest:
// what the test waits for comes at once, or never.
type rig struct {
	t     *testing.T
	unit  replay.Unit
	s     *Session
	to    *source
	from  *sink
	peers chan *peer
	plain bool // the server selects wsproxy.v1
	loose bool // what the session sends is not looked at
	tcp   bool // in place of pipes, and of a bubble

	mu       sync.Mutex
	refuse   int // how many of the next handshakes are answered 503
	detached []error
	retried  []error
	resumed  []time.Duration
	dialled  []time.Time
}

// bubble runs a test in a bubble, in which every goroutine of the session must end.
func bubble(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

// newRig makes a rig that no session has begun in.
func newRig(t *testing.T, unit replay.Unit) *rig {
	r := &rig{t: t, unit: unit, peers: make(chan *peer, 16)}
	r.to, r.from = &source{r: r}, &sink{r: r, passes: true}
	t.Cleanup(func() { time.Sleep(farewell + 10*time.Second) }) // what lingers ends
	return r
}

// begin begins a session, and returns its first WebSocket, on which the first ack
// has come.
func begin(t *testing.T, unit replay.Unit) (*rig, *peer) {
	t.Helper()
	r := newRig(t, unit)
	p := r.open(0)
	p.wantAck(0)
	return r, p
}

const (
	token   = "T0ken.of-the_session"
	timeout = 60 // seconds
)

// open begins a session with a window of the sink.
func (r *rig) open(window int64) (p *peer) {
	r.t.Helper()
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		p = <-r.peers
		if !r.plain {
			p.send(string(messages.AppendSession(nil, token, timeout, r.unit.FirstLimit())))
		}
	}()
	var err error
	r.s, err = Open(r.t.Context(), Options{
		Dial: r.dial, Unit: r.unit, Source: r.to, Sink: r.from, Window: window,
		OnDetached: func(err error) { r.locked(func() { r.detached = append(r.detached, err) }) },
		OnRetry:    func(err error) { r.locked(func() { r.retried = append(r.retried, err) }) },
		OnResumed:  func(d time.Duration) { r.locked(func() { r.resumed = append(r.resumed, d) }) },
	})
	if err != nil {
		r.t.Fatal(err)
	}
	<-opened
	r.t.Cleanup(func() {
		if !r.from.over() {
			r.s.Abort(3000, "")
			<-r.s.Done()
		}
	})
	return p
}

func (r *rig) locked(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *rig) dial(ctx context.Context, again *socket.TakeUp) (*socket.Conn, error) {
	r.locked(func() { r.dialled = append(r.dialled, time.Now()) })
	return socket.Dial(ctx, &socket.Options{URL: "ws://server", Connect: r.connect,
		Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }}, "/relay", url.Values{"host": {"h"}, "port": {"1"}}, again)
}

func (r *rig) connect(context.Context, string) (net.Conn, error) {
	near, far := net.Pipe()
	if r.tcp {
		near, far = loopback(r.t)
	}
	refuse := false
	r.locked(func() {
		if refuse = r.refuse > 0; refuse {
			r.refuse--
		}
	})
	p := &peer{r: r, pipe: far, in: bufio.NewReader(far), messages: make(chan message, 10_000), gate: make(chan struct{}, 1)}
	go p.accept(refuse)
	return near, nil
}

// next returns the next WebSocket that the session opens.
func (r *rig) next() *peer {
	r.t.Helper()
	select {
	case p := <-r.peers:
		return p
	case <-time.After(time.Hour):
		r.t.Fatal("the session opens no WebSocket")
		return nil
	}
}

// taken lets the session take itself up at a position of what the server has got.
func (r *rig) taken(position uint64) *peer {
	r.t.Helper()
	p := r.next()
	p.resume(position, position+r.unit.FirstLimit())
	return p
}

// ends waits for the session's end.
func (r *rig) ends() error {
	r.t.Helper()
	select {
	case <-r.s.Done():
	case <-time.After(time.Hour):
		r.t.Fatal("the session does not end")
	}
	if r.s.Err() != r.from.err {
		r.t.Errorf("the sink hears %v, Err says %v", r.from.err, r.s.Err())
	}
	return r.s.Err()
}

// lives fails if the session has ended.
func (r *rig) lives() {
	r.t.Helper()
	synctest.Wait()
	if r.from.over() {
		r.t.Fatalf("the session has ended: %v", r.s.Err())
	}
}
