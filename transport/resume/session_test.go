package resume

import (
	"strings"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

func TestNothingIsLostBetweenTwoWebSockets(t *testing.T) {
	r := newRig(t, replay.Bytes)
	a := r.begin()
	r.keep("one ")
	a.want("one ")
	a.send("eins ")
	whole := testkit.Frame(frameBin, a.message("zwei "))
	a.write(whole[:len(whole)-1])
	a.sent -= uint64(len("zwei "))
	testkit.Eventually(t, "the first message is passed on", func() bool { return r.sink.text() == "eins " })
	a.Close()
	r.lost(0)
	r.keep("two ")
	r.keep("three ")

	b := r.takeUp(a)
	if got := b.resumed(); got != uint64(len("eins ")) {
		t.Fatalf("the session has all up to %d", got)
	}
	b.want("two three ")
	b.send("zwei ")
	b.say(messages.EOFText)
	testkit.Eventually(t, "the end is passed on", func() bool { r.sink.mu.Lock(); defer r.sink.mu.Unlock(); return r.sink.ended == 1 })
	if got := r.sink.text(); got != "eins zwei " {
		t.Errorf("%q was passed on", got)
	}
	r.session.End()
	b.wantEnd()
	b.Close()
	r.lost(1)
	c := r.takeUp(b)
	c.resumed()
	c.wantEnd() // it is said on each
	c.say(messages.EOFText)
	c.say(messages.PingText)
	c.wantKind(messages.KindPong)
	r.finish(messages.ReasonTargetEnded)
	c.close(1000)
	c.wantClose(1000)
	if r.sink.ended != 1 {
		t.Errorf("the end was passed on %d times", r.sink.ended)
	}
}

func (c *client) wantEnd() {
	c.t.Helper()
	for {
		first, payload := c.read()
		m, _ := messages.DecodeResume(payload, c.unit.Name())
		if first != frameText {
			c.t.Fatalf("%#x %q came before the end", first, payload)
		}
		if m.Kind == messages.KindEOF {
			return
		}
	}
}

// Who has the session hears at once that it is another one's, and whoever takes it
// over does not wait for who has it, whose kernel is full.
func TestTakeOver(t *testing.T) {
	r := newRigWith(t, replay.Bytes, 4<<20, 64<<20)
	a := r.begin()
	_ = a.SetReadBuffer(4 << 10)
	_ = a.far.SetWriteBuffer(64 << 10)
	a.ack(0, 64<<20)
	const size = 2 << 20
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for range size >> 15 {
			r.session.Send(replay.Message{Payload: make([]byte, 1<<15)})
		}
	}()
	testkit.Eventually(t, "a writer waits for the client", func() bool {
		r.session.mu.Lock()
		defer r.session.mu.Unlock()
		return r.session.writing && r.session.out.Sent() > 64<<10
	})
	began := time.Now()
	b := r.takeUp(a)
	b.resumed()
	if took := time.Since(began); took > messages.Linger/2 {
		t.Errorf("the new WebSocket waited %v", took)
	}
	b.want(string(make([]byte, size)))
	<-sent
	_, _ = a.Write(testkit.Frame(frameBin, a.message("late"))) // has no effect, if it arrives at all
	_, _ = a.Write(testkit.Frame(frameClose, testkit.ClosePayload(1000, "")))
	c := r.takeUp(b)
	c.resumed()
	b.wantClose(4001)
	c.send("x")
	testkit.Eventually(t, "the new WebSocket is heard", func() bool { return r.sink.text() != "" })
	if got := r.sink.text(); got != "x" {
		t.Errorf("%q was passed on", got)
	}
	for _, m := range r.Take() {
		if m, ok := m.(*messages.WebSocketEnded); ok && m.Number == 2 {
			t.Errorf("the WebSocket of the moment is said to have ended: %+v", m)
		}
	}
}

func TestPositionsThatCannotBeTakenUp(t *testing.T) {
	r := newRig(t, replay.Bytes)
	a := r.begin()
	r.keep("12345678")
	a.want("12345678")
	a.ack(4, 1<<20)
	a.say(messages.PingText)
	a.wantKind(messages.KindPong)
	for _, position := range []uint64{0, 3, 9, 1 << 53} {
		if reason := r.session.TakeUp(r.newClient().conn, 1, position); reason != messages.ReasonNotContinued {
			t.Errorf("position %d: %q", position, reason)
		}
	}
	a.say(messages.PingText) // the session is as it was
	a.wantKind(messages.KindPong)
	a.received = 6
	b := r.takeUp(a)
	b.resumed()
	b.want("78")
	r.finish(messages.ReasonShutdown)
	if reason := r.session.TakeUp(r.newClient().conn, 9, 8); reason != messages.ReasonNoSession {
		t.Errorf("a session that is over: %q", reason)
	}
}

// What the server ends is over when the client has answered: a close frame that was lost
// comes again.
func TestCloseFrameIsSentUntilItIsAnswered(t *testing.T) {
	for name, end := range map[string]func(*client){
		"nothing":     func(c *client) { c.Close() },
		"a loss":      func(c *client) { c.close(1001) },
		"a half loss": func(c *client) { c.write([]byte{frameClose, 0x82}); c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, replay.Bytes)
			a := r.begin()
			r.keep("last words")
			r.session.End()
			r.finish(messages.ReasonTargetEnded)
			end(a)
			testkit.Eventually(t, "the session is detached", func() bool { return r.session.Conn() == nil })
			b := r.takeUp(a)
			b.resumed()
			b.want("last words")
			b.wantEnd()
			b.close(1000)
			b.wantClose(1000)
			select {
			case reason := <-r.closed:
				if reason != messages.ReasonTargetEnded {
					t.Errorf("it ended for %s", reason)
				}
				r.closed <- reason
			case <-time.After(testkit.Patience):
				t.Error("it is not over")
			}
		})
	}
}

// What the server ends because of what the client does is over at once.
func TestWhatEndsASessionAtOnce(t *testing.T) {
	big := strings.Repeat("x", replay.MaxPayload+1)
	for name, c := range map[string]struct {
		say    func(*client)
		reason messages.Reason
	}{
		"an ack of what was never sent":  {func(c *client) { c.ack(1, 1<<20) }, messages.ReasonBadAck},
		"an ack that can't be read":      {func(c *client) { c.say(`{"type":"ack","bytes":-1,"limit":0}`) }, messages.ReasonBadAck},
		"an ack of the other unit":       {func(c *client) { c.say(`{"type":"ack","messages":0,"limit":0}`) }, messages.ReasonBadAck},
		"JSON of another type":           {func(c *client) { c.say(`{"type":"hello"}`) }, messages.ReasonUnknownMessage},
		"JSON that is no object":         {func(c *client) { c.say(`[]`) }, messages.ReasonUnknownMessage},
		"a session":                      {func(c *client) { c.say(`{"type":"session"}`) }, messages.ReasonUnknownMessage},
		"a message that is too long":     {func(c *client) { c.send(big) }, messages.ReasonMessageTooBig},
		"a text that is too long":        {func(c *client) { c.say(`"` + big + `"`) }, messages.ReasonMessageTooBig},
		"bytes behind the end":           {func(c *client) { c.say(messages.EOFText); c.send("x") }, messages.ReasonBeyondLimit},
		"an ack beyond what can be sent": {func(c *client) { c.ack(1<<53, 1<<54) }, messages.ReasonBadAck},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, replay.Bytes)
			a := r.begin()
			c.say(a)
			m := testkit.Hears[*messages.WebSocketEnded](r.Ear)
			if m.Reason != c.reason || m.Lost {
				t.Errorf("the owner hears %+v", m)
			}
			r.finish(m.Reason)
			code, _ := messages.CloseFor(m.Reason)
			a.wantClose(code)
			a.Close() // without an answer
			if reason := testkit.Receive(t, r.closed); reason != c.reason {
				t.Errorf("it ended for %s", reason)
			}
			r.closed <- ""
		})
	}
}

// What a front proxy leaves of a message that it has cut is no message.
func TestWhatLosesAWebSocket(t *testing.T) {
	for name, say := range map[string]func(*client){
		"no trailer":            func(c *client) { c.write(testkit.Frame(frameBin, []byte("short"))) },
		"an empty message":      func(c *client) { c.write(testkit.Frame(frameBin, nil)) },
		"a wrong trailer":       func(c *client) { c.sent++; c.send("x") },
		"a trailer of the past": func(c *client) { c.sent -= 2; c.send("x") },
		"text that is no JSON":  func(c *client) { c.say(`{"type":"ack`) },
		"text that is no UTF-8": func(c *client) { c.say("{\"type\":\"\xff\"}") },
		"a frame without mask":  func(c *client) { c.write(testkit.ServerFrame(frameClose, testkit.ClosePayload(1001, ""))) },
		"1001":                  func(c *client) { c.close(1001) },
		"1012":                  func(c *client) { c.close(1012) },
		"an end of the stream":  func(c *client) { _ = c.CloseWrite() },
		"a reset":               func(c *client) { _ = c.SetLinger(0); c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, replay.Bytes)
			a := r.begin()
			a.send("first")
			testkit.Eventually(t, "the first message is passed on", func() bool { return r.sink.text() == "first" })
			before := *a
			say(a)
			r.lost(0)
			b := r.takeUp(&before)
			if got := b.resumed(); got != uint64(len("first")) {
				t.Errorf("the session has all up to %d", got)
			}
			b.send(" second")
			testkit.Eventually(t, "it goes on", func() bool { return r.sink.text() == "first second" })
		})
	}
}

// Close frames of a client mean what their codes say.
func TestClientCloses(t *testing.T) {
	for code, want := range map[int]messages.WebSocketEnded{
		1000: {Reason: messages.ReasonClientClosed, Known: true},
		1005: {Reason: messages.ReasonClientAborted, Known: true},
		1011: {Reason: messages.ReasonClientAborted, Known: true},
		3000: {Reason: messages.ReasonClientAborted, Known: true},
		4000: {Reason: messages.ReasonClientClosed, Known: true, Lost: true},
	} {
		r := newRig(t, replay.Bytes)
		a := r.begin()
		if code == 1005 {
			a.write(testkit.Frame(frameClose, nil))
		} else {
			a.close(code)
		}
		if m := testkit.Hears[*messages.WebSocketEnded](r.Ear); *m != want {
			t.Errorf("%d: the owner hears %+v", code, *m)
		}
		if !want.Lost {
			r.finish(want.Reason)
		}
		if code == 1005 {
			code = 1000
		}
		a.wantClose(code)
		a.Close()
	}
}
