package resume

import (
	"bytes"
	"strings"
	"testing"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

const kib = 1 << 10

// Acknowledgements stand behind data: a session whose sink takes nothing reads on, up to
// the limit, and not beyond.
func TestAcknowledgementsAreReadWhileNothingIsPassedOn(t *testing.T) {
	r := newRig(t, replay.Bytes)
	r.sink.stuck, r.sink.let = true, make(chan struct{})
	a := r.begin()
	r.keep("down")
	a.want("down")
	for range 4 {
		a.send(strings.Repeat("u", 16*kib))
	}
	a.ack(4, 1<<20)
	testkit.Eventually(t, "the acknowledgement is read", func() bool {
		r.session.mu.Lock()
		defer r.session.mu.Unlock()
		return r.session.out.Acknowledged() == 4
	})
	a.send("x") // beyond the limit
	if m := testkit.Hears[*messages.WebSocketEnded](r.Ear); m.Reason != messages.ReasonBeyondLimit {
		t.Errorf("the owner hears %+v", m)
	}
	close(r.sink.let)
	r.finish(messages.ReasonBeyondLimit)
	a.wantClose(1002)
	if !r.session.AwaitPassed() && len(r.sink.text()) != 64*kib {
		t.Errorf("%d bytes were passed on", len(r.sink.text()))
	}
}

// A client that uses up what it may send, and whose bytes are passed on, may send more,
// while there is room.
func TestWindowWidensWhileThereIsRoom(t *testing.T) {
	for name, c := range map[string]struct{ total, want int64 }{
		"room":    {16 << 20, 1 << 20},
		"no room": {0, 64 * kib},
		"some":    {512 * kib, 256 * kib}, // a user has half of it, less what a doubling takes
	} {
		t.Run(name, func(t *testing.T) {
			r := newRigWith(t, replay.Bytes, 1<<20, c.total)
			a := r.begin()
			acked, limit, window := uint64(0), uint64(64*kib), int64(0)
			hear := func() {
				m := a.wantKind(messages.KindAck)
				acked, limit = m.Position, m.Limit
				// The widest: on a machine that stands still for a second it narrows again.
				window = max(window, int64(limit-acked))
			}
			for sent := 0; sent < 6<<20; sent += 16 * kib {
				for limit < a.sent+16*kib {
					hear()
				}
				a.send(strings.Repeat("u", 16*kib))
			}
			for acked < a.sent {
				hear()
			}
			if window != c.want {
				t.Errorf("the client may send %d KiB, want %d", window/kib, c.want/kib)
			}
			if held := r.shares.Held(); held > c.total/2 {
				t.Errorf("%d bytes of %d are held by one user", held, c.total)
			}
		})
	}
}

// Without a WebSocket a session keeps what it may, and then its sources are not read.
func TestKeepsUpToItsBound(t *testing.T) {
	for name, c := range map[string]struct{ buffer, total, want int64 }{
		"RESUME_BUFFER":           {256 * kib, 16 << 20, 256 * kib},
		"the least RESUME_BUFFER": {64 * kib, 16 << 20, 64 * kib},
		"RESUME_BUFFER_TOTAL":     {1 << 20, 0, 64 * kib},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRigWith(t, replay.Bytes, c.buffer, c.total)
			a := r.begin()
			a.ack(0, 1<<30)
			a.say(messages.PingText)
			a.wantKind(messages.KindPong)
			a.Close()
			r.lost(0)
			said := bytes.Repeat([]byte("0123456789abcdef"), int(c.want)/16+kib)
			kept := make(chan bool, 1)
			go func() {
				for at := 0; at < len(said); at += kib {
					r.session.Send(replay.Message{Payload: said[at:min(at+kib, len(said))]})
				}
				kept <- true
			}()
			testkit.Eventually(t, "all is kept that may be", func() bool {
				r.session.mu.Lock()
				defer r.session.mu.Unlock()
				return r.session.out.Held() == c.want
			})
			select {
			case <-kept:
				t.Error("more is kept")
			default:
			}
			b := r.takeUp(a)
			b.resumed()

			b.want(string(said[:c.want]))
			b.ack(b.received, 1<<30)
			b.want(string(said[c.want:]))
			testkit.Receive(t, kept)
		})
	}
}

// The reader of a source that waits for room ends with the session.
func TestWaitForRoomEndsWithTheSession(t *testing.T) {
	r := newRigWith(t, replay.Bytes, 64*kib, 0)
	r.begin()
	r.keep(strings.Repeat("x", 64*kib))
	got := make(chan bool, 1)
	go func() { got <- r.session.AwaitRoom(1) > 0 }()
	select {
	case <-got:
		t.Fatal("there is room")
	default:
	}
	r.finish(messages.ReasonShutdown)
	if testkit.Receive(t, got) {
		t.Error("there is room in a session that closes")
	}
}

// A client may grant less than one message of its source.
func TestSmallGrants(t *testing.T) {
	r := newRig(t, replay.Bytes)
	a := r.begin()
	said := strings.Repeat("0123456789abcdef", 8*kib) // twice what the client has not granted
	go r.session.Send(replay.Message{Payload: []byte(said)})
	a.want(said[:64*kib])
	for at := 64 * kib; at < len(said); at += kib {
		a.ack(uint64(at), uint64(at)+kib)
		a.want(said[at : at+kib])
	}
}

// Of what goes out together the client may be granted a part, which may end in the middle
// of a message.
func TestGrantWithinSeveralMessages(t *testing.T) {
	r := newRig(t, replay.Bytes)
	a := r.begin()
	said := strings.Repeat("0123456789abcdef", 6*kib) // 96 KiB
	sent := make(chan bool, 1)
	go func() {
		sent <- r.session.Send(replay.Message{Payload: []byte(said[:30*kib])}, replay.Message{Payload: []byte(said[30*kib : 60*kib])},
			replay.Message{Payload: []byte(said[60*kib : 90*kib])}, replay.Message{Payload: []byte(said[90*kib:])})
	}()
	a.want(said[:64*kib])
	a.ack(64*kib, 95*kib)
	a.want(said[64*kib : 95*kib])
	a.ack(95*kib, 96*kib)
	a.want(said[95*kib:])
	if !testkit.Receive(t, sent) {
		t.Error("the session closes")
	}
}

// A reader hears of as much room as it wants only where that may be kept.
func TestRoomForMuch(t *testing.T) {
	for name, c := range map[string]struct {
		total int64 // of all sessions
		room  int64
	}{
		"where all is used up": {0, 4 * kib},
		"where there is room":  {256 * kib, 68 * kib},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRigWith(t, replay.Bytes, 1024*kib, c.total)
			a := r.begin()
			a.ack(0, 1<<30)
			testkit.Eventually(t, "the grant has come", func() bool {
				r.session.mu.Lock()
				defer r.session.mu.Unlock()
				return r.session.out.Room() > 1024*kib
			})
			r.keep(strings.Repeat("x", 60*kib))
			if room := r.session.AwaitRoom(1); room != 4*kib {
				t.Errorf("room for %d bytes is told to who wants one", room)
			}
			if room := r.session.AwaitRoom(60 * kib); room != c.room {
				t.Errorf("room for %d bytes is told to who wants 60 KiB", room)
			}
		})
	}
}

// A tunnel counts messages, and of those none that are of the WebSocket itself.
func TestTunnelCountsMessages(t *testing.T) {
	r := newRig(t, replay.Messages)
	a := r.begin()
	a.send("data")
	a.say(`{"type":"tcp_close","connId":"x"}`)
	a.sent++
	a.say(`{"type":"what nobody knows"}`)
	a.sent++
	a.say(messages.PingText)
	a.wantKind(messages.KindPong)
	a.say(messages.EOFText)
	a.say(`{"type":"session"}`)
	a.write(testkit.Frame(frameBin, []byte(messages.PongText))) // framed as data, it is JSON all the same
	a.send("")                                                  // an empty message is one, too
	testkit.Eventually(t, "all is passed on", func() bool {
		return r.sink.text() == `data{"type":"tcp_close","connId":"x"}{"type":"what nobody knows"}`
	})
	r.session.Send(replay.Message{Payload: []byte("one")}, replay.Message{Payload: []byte(`{"type":"tcp_open"}`), JSON: true}, replay.Message{Payload: []byte("two")})
	a.want("one")
	a.Close()
	r.lost(0)
	b := r.takeUp(a)
	if got := b.resumed(); got != 4 {
		t.Errorf("the session has %d messages", got)
	}
	b.wantText(`{"type":"tcp_open"}`)
	b.received++
	b.want("two")
	b.ack(3, 100)
	b.say(messages.PingText)
	b.wantKind(messages.KindPong)
	testkit.Eventually(t, "nothing is kept", func() bool {
		r.session.mu.Lock()
		defer r.session.mu.Unlock()
		return r.session.out.Held() == 0
	})
}

// A limit in messages does not bound what they take up: a tunnel whose messages can't be
// passed on is read on while there is memory for them.
func TestTunnelMessagesThatWaitAreCounted(t *testing.T) {
	r := newRigWith(t, replay.Messages, 1<<20, 1<<20) // half of that for one user
	r.sink.stuck, r.sink.let = true, make(chan struct{})
	a := r.begin()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for range 64 {
			a.send(strings.Repeat("m", 60*kib))
		}
	}()
	testkit.Eventually(t, "the session is full", func() bool { return r.shares.Held() > 400*kib })
	if held := r.shares.Held(); held > 512*kib {
		t.Errorf("%d KiB are held", held/kib)
	}
	close(r.sink.let)
	<-sent
	testkit.Eventually(t, "all is passed on", func() bool { return len(r.sink.text()) == 64*60*kib })
	r.session.mu.Lock()
	defer r.session.mu.Unlock()
	if n := r.session.counted; n != 0 {
		t.Errorf("%d bytes are counted as waiting", n)
	}
}

// A fault of the sink's ends the session, and nothing else.
func TestPanicOfTheSink(t *testing.T) {
	r := newRig(t, replay.Bytes)
	r.sink.stuck, r.sink.panics = true, true
	a := r.begin()
	a.send("x")
	if m := testkit.Hears[*messages.WebSocketEnded](r.Ear); m.Reason != messages.ReasonInternal || m.Lost {
		t.Errorf("the owner hears %+v", m)
	}
	r.finish(messages.ReasonInternal)
	a.wantClose(1011)
	r.session.AwaitPassed()
}

// What a page reads late holds the session's source up, within what it has granted.
func TestUnreadPageHoldsItsSourceUp(t *testing.T) {
	r := newRig(t, replay.Bytes)
	a := r.begin()
	a.ack(0, 128*kib)
	var sent int
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20 {
			if r.session.Send(replay.Message{Payload: make([]byte, 16*kib)}) {
				sent += 16 * kib
			}
		}
	}()
	a.want(string(make([]byte, 128*kib)))
	a.say(messages.PingText)
	a.wantKind(messages.KindPong) // and nothing more
	r.finish(messages.ReasonShutdown)
	<-done
	if sent != 128*kib {
		t.Errorf("%d bytes were taken of the source", sent)
	}
}

// Everything comes back, whatever waits when a session ends.
func TestNoBufferIsLeftBehind(t *testing.T) {
	t.Run("session", func(t *testing.T) {
		r := newRig(t, replay.Bytes)
		r.sink.stuck, r.sink.let = true, make(chan struct{})
		a := r.begin()
		for range 2 {
			a.send(strings.Repeat("u", 18*kib))
		}
		whole := testkit.Frame(framePart, make([]byte, 20*kib))
		a.write(whole[:len(whole)-1])
		testkit.Eventually(t, "it waits", func() bool { return r.session.Waits() })
		a.Close()
		r.lost(0)
		for range 3 {
			r.keep(strings.Repeat("d", 20*kib))
		}
		r.finish(messages.ReasonResumeTimeout)
		close(r.sink.let)
		testkit.Receive(t, r.closed)
		r.closed <- ""
		r.session.AwaitPassed()
	})
	if n := pooled.Held(); n > 0 {
		t.Errorf("%d buffers are left behind", n)
	}
}
