package actors

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// A fakeStream writes down what it is told. It keeps the promises of a stream
// that the actors build on: it ends once, and says so.
type fakeStream struct {
	root *actor.RootContext
	id   string

	mu      sync.Mutex
	moved   time.Time
	calls   []string
	owner   *actor.PID
	held    int64 // bytes booked by Hold and not given back
	waiting int64
	acked   int64
	more    int64 // beyond what the peer has sent
	ended   messages.CloseReason
	opened  bool
	over    bool
	slow    bool   // EndWrite does not end it, because the peer does not read
	left    bool   // its end is not told, because the client does not read
	panicIn string // a method; consumed by the panic
}

func (r *tunnelRig) stream(id string) *fakeStream { return &fakeStream{root: r.root, id: id} }

// call is called under mu.
func (s *fakeStream) call(method string, details ...any) {
	s.calls = append(s.calls, strings.TrimSuffix(fmt.Sprintln(append([]any{method}, details...)...), "\n"))
	if s.panicIn == method {
		s.panicIn = ""
		panic("injected into " + method)
	}
}

// end is called under mu.
func (s *fakeStream) end() {
	if s.over {
		return
	}
	s.over = true
	if s.opened && !s.left {
		s.root.Send(s.owner, &messages.StreamClosed{})
	}
}

func (s *fakeStream) ID() string         { return s.id }
func (s *fakeStream) RemoteAddr() string { return "203.0.113.9:50123" }
func (s *fakeStream) LastMoved() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.moved
}
func (s *fakeStream) Moved() (in, out int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return 3 + s.more, 4
}

func (s *fakeStream) Own(conn *actor.PID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owner = conn
	s.call("own")
}

func (s *fakeStream) Reject() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.call("reject")
	s.over = true
}

func (s *fakeStream) Open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.call("open")
	s.opened = true
}

func (s *fakeStream) Hold(data []byte) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held += int64(len(data))
	return s.waiting
}

func (s *fakeStream) Held() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting
}

func (s *fakeStream) Write(data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(data) > 100 {
		s.call("write", len(data))
		return
	}
	s.call("write", string(data))
}

func (s *fakeStream) Drop(data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held -= int64(len(data))
}

// wantHeld fails unless so many bytes are booked.
func (v *rigTunnel) wantHeld(s *fakeStream, n int64) {
	v.r.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != n {
		v.r.t.Errorf("stream %s holds %d bytes, want %d", s.id, s.held, n)
	}
}

func (s *fakeStream) Credit(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.call("credit", n)
}

func (s *fakeStream) EndRead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.call("endread")
}

func (s *fakeStream) Leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.call("leave")
}

func (s *fakeStream) CloseWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.call("closewrite")
}

func (s *fakeStream) EndWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.call("endwrite")
	if !s.slow {
		s.end()
	}
}

func (s *fakeStream) Abort(reason messages.CloseReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over { // as with a real one, that changes nothing
		return
	}
	s.call("abort", reason)
	s.ended = reason
	s.end()
}

func (s *fakeStream) Ended() messages.CloseReason {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

func (s *fakeStream) Waiting() (waiting, acked int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting, s.acked
}

func (s *fakeStream) set(waiting, acked int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting, s.acked = waiting, acked
}

// take returns the calls since the last take, in one line.
func (s *fakeStream) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := strings.Join(s.calls, ", ")
	s.calls = nil
	return calls
}

// want fails unless the stream was told this, and nothing else, since the last
// look.
func (v *rigTunnel) wantStream(s *fakeStream, calls string) {
	v.r.t.Helper()
	if got := s.take(); got != calls {
		v.r.t.Errorf("stream %s was told %q, want %q", s.id, got, calls)
	}
}

// accepts hands a raw connection over, and expects it to be opened.
func (v *rigTunnel) accepts(id string) *fakeStream {
	v.r.t.Helper()
	s := v.r.stream(id)
	v.tell(&messages.Accepted{Stream: s})
	v.wantStream(s, "own, open")
	return s
}

// A rigMeter counts by name.
type rigMeter struct {
	mu     sync.Mutex
	counts map[string]int

	lasting []string // what became of tunnels that may outlive their WebSocket
}

func (m *rigMeter) add(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[what]++
}

func (m *rigMeter) TunnelStarted() { m.add("tunnel started") }
func (m *rigMeter) TunnelEnded(r messages.Reason, _ time.Duration) {
	m.add("tunnel ended " + string(r))
}
func (m *rigMeter) RawStarted()       { m.add("raw started") }
func (m *rigMeter) HandlerRestarted() { m.add("restarted") }
func (m *rigMeter) RawEnded(r messages.CloseReason, _ time.Duration) {
	m.add("raw ended " + string(r))
}

func (m *rigMeter) of(what string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts[what]
}

// httpClaims are what a request to a tunnel takes of the limits.
func (v *rigTunnel) httpClaims() []messages.Claim {
	return []messages.Claim{
		{Kind: messages.ClaimHTTP, Source: rigCount}, {Kind: messages.ClaimHTTPTunnel, Source: rigCount, Tunnel: v.subdomain()},
	}
}

// A rigRequest is an exchange that counts how often it is revoked.
func (q *rigRequest) Held() int64 { return q.held }
func (q *rigRequest) Revoke()     { q.revoked++ }
