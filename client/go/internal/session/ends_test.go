package session

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/client/go/internal/socket"
	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

func wantCode(t *testing.T, err error, code int) {
	t.Helper()
	var closed *socket.CloseError
	if !errors.As(err, &closed) || closed.Code != code {
		t.Errorf("the error is %v, not of a close with %d", err, code)
	}
}

// A close frame of the server's that ends the session is answered, and told.
func TestEndsByCloseFrames(t *testing.T) {
	for code, want := range map[int]error{1000: nil, 1002: nil, 1003: nil, 1008: nil, 1009: nil, 1011: nil, 4001: ErrReplaced, 4404: ErrLost, 4409: ErrLost} {
		bubble(t, func(t *testing.T) {
			r, p := begin(t, replay.Bytes)
			p.close(code, "a \x1breason")
			p.wantClose(code)
			err := r.ends()
			switch {
			case code == 1000 && err != nil, want != nil && !errors.Is(err, want):
				t.Errorf("%d is told as %v", code, err)
			case code != 1000:
				wantCode(t, err, code)
				if !strings.Contains(err.Error(), "a reason") {
					t.Errorf("the error is %q", err)
				}
			}
		})
	}
}

// What a server must not do ends the session, and it hears why.
func TestEndsByViolations(t *testing.T) {
	for name, test := range map[string]struct {
		unit replay.Unit
		code int
		do   func(p *peer)
	}{
		"a long message":       {replay.Bytes, 1009, func(p *peer) { p.data(strings.Repeat("x", 64<<10+1), 64<<10+1) }},
		"a long text":          {replay.Messages, 1009, func(p *peer) { p.send(`{"a":"` + strings.Repeat("x", 64<<10) + `"}`) }},
		"text on a relay":      {replay.Bytes, 1003, func(p *peer) { p.send(`{"type":"tcp_open"}`) }},
		"a number":             {replay.Bytes, 1003, func(p *peer) { p.send(`1`) }},
		"another session":      {replay.Bytes, 1003, func(p *peer) { p.send(`{"type":"session","resume":"x","timeout":1,"limit":1}`) }},
		"an ack of the future": {replay.Bytes, 1002, func(p *peer) { p.ack(1, 64<<10) }},
		"an ack of nothing":    {replay.Bytes, 1002, func(p *peer) { p.send(`{"type":"ack"}`) }},
		"an ack of another":    {replay.Bytes, 1002, func(p *peer) { p.send(`{"type":"ack","messages":0,"limit":1}`) }},
		"more than the limit": {replay.Bytes, 1002, func(p *peer) {
			p.data(strings.Repeat("x", 40<<10), 40<<10)
			p.data(strings.Repeat("x", 40<<10), 80<<10)
		}},
		"bytes behind their end": {replay.Bytes, 1002, func(p *peer) { p.send(messages.EOFText); p.data("x", 1) }},
		"too many messages": {replay.Messages, 1002, func(p *peer) {
			for i := range uint64(65) {
				p.data("", i+1)
			}
		}},
		"too much JSON": {replay.Messages, 1002, func(p *peer) {
			for range 65 {
				p.send(`{}`)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r, p := begin(t, test.unit)
				r.from.passes = false
				test.do(p)
				p.wantClose(test.code)
				if err := r.ends(); err == nil || !strings.HasPrefix(err.Error(), "the server breaks the protocol: ") {
					t.Errorf("the end is %v", err)
				}
			})
		})
	}
}

// Data behind the end that has none is no violation.
func TestEmptyMessagesSayNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Bytes)
		p.send(messages.EOFText)
		p.data("", 0)
		r.lives()
	})
}

func TestCloses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Bytes)
		all := strings.Repeat("x", 100_000)
		r.to.put(all)
		r.s.Close(1000, "")
		p.wantData(all[:64<<10], 64<<10)
		p.none() // the rest is waited for
		p.ack(64<<10, 200_000)
		p.wantData(all[64<<10:], 100_000)
		p.wantClose(1000)
		p.close(1000, "")
		if err := r.ends(); err != nil {
			t.Error(err)
		}
	})
}

// A close whose answer is lost is said again, when the server has all: it ends
// nothing before it is answered.
func TestClosesAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Bytes)
		r.to.put("Hello")
		r.s.CloseWrite()
		r.s.Close(1000, "")
		p.wantData("Hello", 5)
		p.want(messages.EOFText)
		p.wantClose(1000)
		p.cut()
		p = r.taken(2)
		p.wantAck(0)
		p.wantData("llo", 5)
		p.want(messages.EOFText)
		p.none()
		p.ack(5, 64<<10)
		p.wantClose(1000)
		p.close(1000, "")
		if err := r.ends(); err != nil {
			t.Error(err)
		}
	})
}

// The server that has forgotten a session which had all has closed it.
func TestClosedIsClosed(t *testing.T) {
	for acked, want := range map[uint64]error{5: nil, 4: ErrLost} {
		bubble(t, func(t *testing.T) {
			r, p := begin(t, replay.Bytes)
			r.to.put("Hello")
			p.wantData("Hello", 5)
			p.ack(acked, 64<<10)
			synctest.Wait()
			r.s.Close(1000, "")
			p.wantClose(1000)
			p.cut()
			r.next().close(4404, "")
			if err := r.ends(); !errors.Is(err, want) {
				t.Errorf("with %d bytes acknowledged the end is %v", acked, err)
			}
		})
	}
}

// A close frame that nobody answers is said again on another WebSocket.
func TestCloseIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Bytes)
		start := time.Now()
		r.s.Close(1000, "")
		if m := p.next(); m.err == nil {
			t.Fatal(m)
		}
		p = r.taken(0)
		p.wantAck(0)
		if since := time.Since(start); since > answerClose+2*slowTick {
			t.Errorf("it comes after %v", since)
		}
		p.wantClose(1000)
		p.close(1000, "")
		if err := r.ends(); err != nil {
			t.Error(err)
		}
	})
}

func TestAborts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Bytes)
		r.to.put(strings.Repeat("x", 100_000))
		r.s.CloseWrite()
		p.wantData(strings.Repeat("x", 64<<10), 64<<10)
		r.s.Abort(3000, "")
		p.wantClose(3000)
		p.close(3000, "")
		if err := r.ends(); err != nil {
			t.Error(err)
		}
	})
	bubble(t, func(t *testing.T) { // while there is no WebSocket
		r, p := begin(t, replay.Bytes)
		r.to.put("Hello")
		p.wantData("Hello", 5)
		r.refuse = 2
		p.cut()
		synctest.Wait()
		r.s.Abort(3000, "")
		p = r.taken(3)
		p.wantAck(0)
		p.wantClose(3000)
		p.close(3000, "")
		if err := r.ends(); err != nil {
			t.Error(err)
		}
	})
	bubble(t, func(t *testing.T) { // while nobody answers
		r, p := begin(t, replay.Bytes)
		start := time.Now()
		r.refuse = 1 << 20
		p.cut()
		r.s.Abort(3000, "")
		if err := r.ends(); err == nil || time.Since(start) != farewell {
			t.Errorf("the end is %v after %v", err, time.Since(start))
		}
	})
	bubble(t, func(t *testing.T) { // while a write is stuck
		r, p := begin(t, replay.Bytes)
		p.gate <- struct{}{}
		r.to.put("is read")
		r.to.put(strings.Repeat("x", 20_000))
		r.to.put(strings.Repeat("x", 20_000))
		start := time.Now()
		synctest.Wait()
		r.s.Abort(3000, "")
		if err := r.ends(); err == nil || time.Since(start) > farewell {
			t.Errorf("the end is %v after %v", err, time.Since(start))
		}
		<-p.gate
	})
}

// A session that is closed and makes no progress is given up, if its owner wants
// that.
func TestClosingIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Bytes)
		r.to.put(strings.Repeat("x", 100_000))
		p.wantData(strings.Repeat("x", 64<<10), 64<<10)
		start := time.Now()
		r.s.Close(1000, "")
		r.s.Bound(time.Minute)
		for m := p.next(); m.text == messages.PingText; m = p.next() {
			p.send(messages.PongText)
		}
		if since := time.Since(start); since < time.Minute || since > time.Minute+2*slowTick {
			t.Errorf("it is given up after %v", since)
		}
		p.close(3000, "")
		if err := r.ends(); err != nil {
			t.Error(err)
		}
	})
}

// The last words of a server are heard though it doesn't read any more.
func TestHearsWhyAWriteFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, replay.Bytes)
		r.plain = true
		p := r.open(0)
		synctest.Wait()
		p.gate <- struct{}{}
		go func() { time.Sleep(time.Second / 2); p.close(1008, "blocked") }()
		r.to.put("is read")
		r.to.put("fails")
		r.s.mu.Lock()
		r.s.sock.SetWriteDeadline(time.Now().Add(time.Millisecond))
		r.s.mu.Unlock()
		wantCode(t, r.ends(), 1008)
		<-p.gate
	})
}
