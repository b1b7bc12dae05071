package resume

import (
	"encoding/binary"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

// The first message comes first, whatever the client asks ahead of it.
func TestNothingOvertakesTheFirstMessage(t *testing.T) {
	r := newRig(t, replay.Bytes)
	a := r.begin()
	for range 100 {
		b := r.newClient()
		b.say(messages.PingText)
		r.number++
		if reason := r.session.TakeUp(b.conn, r.number, 0); reason != "" {
			t.Fatal(reason)
		}
		b.wantKind(messages.KindResumed)
		a.Close()
		a = b
	}
	for kinds := map[messages.ResumeKind]bool{}; !kinds[messages.KindPong]; {
		_, payload := a.read()
		m, _ := messages.DecodeResume(payload, a.unit.Name())
		kinds[m.Kind] = true
	}
}

// A slowSink takes, of the first piece that it is to try, one byte, when it is let.
type slowSink struct {
	sink
	tries, let chan struct{}
	tried      bool
}

func (s *slowSink) Try(data []byte, text, end bool) int {
	if s.tried {
		return s.sink.Try(data, text, end)
	}
	s.tried = true
	close(s.tries)
	<-s.let
	return s.sink.Try(data[:1], text, end)
}

// What a WebSocket has brought that was taken over while it was being passed on stays
// ahead of what the next one brings.
func TestOrderOverATakeOver(t *testing.T) {
	for name, send := range map[string]func(*client){
		"whole":    func(a *client) { a.send("first ") },
		"in parts": func(a *client) { a.sendParts("first ") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, replay.Bytes)
			s := &slowSink{tries: make(chan struct{}), let: make(chan struct{})}
			r.session.sink = s
			a := r.begin()
			send(a)
			testkit.Receive(t, s.tries)
			b := r.takeUp(a)
			b.resumed()
			b.send("second")
			testkit.Eventually(t, "the second message waits", func() bool {
				r.session.mu.Lock()
				defer r.session.mu.Unlock()
				return len(r.session.queue) > 0
			})
			close(s.let)
			testkit.Eventually(t, "all is passed on", func() bool { return len(s.text()) == len("first second") })
			if got := s.text(); got != "first second" {
				t.Errorf("%q was passed on", got)
			}
		})
	}
}

// sendParts sends a message in two frames.
func (c *client) sendParts(data string) {
	c.t.Helper()
	payload := c.message(data)
	c.write(append(testkit.Frame(framePart, payload[:1]), testkit.Frame(framePing, nil)...))
	for first := byte(0); first != framePong; {
		first, _ = c.read()
	}
	c.write(testkit.Frame(frameLast, payload[1:]))
}

const (
	framePing = 0x89
	framePong = 0x8a
)

// What waits takes up about as much memory as it is counted as, in however small
// messages it comes, and in none for messages without a byte.
func TestSmallMessagesWaitInLittleMemory(t *testing.T) {
	for name, send := range map[string]func(*client){
		"whole":    func(a *client) { a.send("x") },
		"in parts": func(a *client) { a.sendParts("x") },
		"empty":    func(a *client) { a.write(testkit.Frame(frameBin, binary.BigEndian.AppendUint64(nil, a.sent))) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, replay.Bytes)
			r.sink.stuck, r.sink.let = true, make(chan struct{})
			defer close(r.sink.let)
			a := r.begin()
			a.send("a stuck target's")
			const count = 400
			for range count {
				send(a)
			}
			a.say(messages.PingText)
			a.wantKind(messages.KindPong)
			r.session.mu.Lock()
			defer r.session.mu.Unlock()
			memory := 0
			for _, p := range r.session.queue {
				memory += cap(p.data) + 100
			}
			if memory > 8*count {
				t.Errorf("%d bytes wait in %d pieces, which take up %d", r.session.queued, len(r.session.queue), memory)
			}
		})
	}
}

// Who takes a session up whose client has given its WebSocket up by 4000 does not wait
// for that one, whose kernel is full.
func TestTakeUpAfterAStuckWebSocketWasGivenUp(t *testing.T) {
	r := newRigWith(t, replay.Bytes, 4<<20, 64<<20)
	a := r.begin()
	_ = a.SetReadBuffer(4 << 10)
	_ = a.far.SetWriteBuffer(64 << 10)
	a.ack(0, 64<<20)
	const size = 2 << 20
	sent, before, still := make(chan struct{}), uint64(0), 0
	go func() {
		defer close(sent)
		for range size >> 15 {
			r.session.Send(replay.Message{Payload: make([]byte, 1<<15)})
		}
	}()
	testkit.Eventually(t, "a writer waits for the client", func() bool {
		r.session.mu.Lock()
		defer r.session.mu.Unlock()
		if now := r.session.out.Sent(); now == before && r.session.writing && now > 64<<10 {
			still++
		} else {
			before, still = now, 0
		}
		return still == 20
	})
	a.close(4000)
	r.lost(0)
	began := time.Now()
	b := r.takeUp(a)
	b.resumed()
	if took := time.Since(began); took > messages.Linger/2 {
		t.Errorf("the new WebSocket waited %v", took)
	}
	b.want(string(make([]byte, size)))
	<-sent
}

// What is being passed on has not been.
func TestWaitsWhileItIsPassedOn(t *testing.T) {
	r := newRig(t, replay.Bytes)
	r.sink.stuck, r.sink.let = true, make(chan struct{})
	a := r.begin()
	a.send("hello")
	testkit.Eventually(t, "somebody passes it on", func() bool {
		r.session.mu.Lock()
		defer r.session.mu.Unlock()
		return r.session.passing && r.session.in.Position() > 0 && len(r.session.queue) == 0
	})
	if !r.session.Waits() {
		t.Error("nothing waits")
	}
	close(r.sink.let)
	testkit.Eventually(t, "it was passed on", func() bool { return !r.session.Waits() })
}
