package session

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/transport/wsock/replay"
)

// plain begins a session against a server that selects wsproxy.v1.
func plain(t *testing.T, unit replay.Unit, window int64) (*rig, *peer) {
	t.Helper()
	r := newRig(t, unit)
	r.plain = true
	p := r.open(window)
	p.none()
	if r.s.Resumable() {
		t.Error("the session is resumable")
	}
	return r, p
}

func TestPlainWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := plain(t, replay.Bytes, 0)
		r.to.put("Hello")
		p.wantData("Hello", 0)
		long := strings.Repeat("x", 200_000)
		p.write(2, []byte(long)) // of any length
		r.from.wants(long)
		r.s.CloseWrite() // there is no such thing
		p.none()
		r.to.put("bye")
		r.s.Close(1000, "")
		p.wantData("bye", 0)
		p.wantClose(1000)
		p.close(1000, "")
		if err := r.ends(); err != nil {
			t.Error(err)
		}
	})
}

func TestPlainTunnel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := plain(t, replay.Messages, 0)
		r.to.give(replay.Message{Payload: []byte(`{"type":"x"}`), JSON: true})
		r.to.put("data")
		p.want(`{"type":"x"}`)
		p.wantData("data", 0)
		p.send(`{"type":"ack"}`) // is no message of section 9 here
		p.write(2, []byte(`{"type":"y"}`))
		p.write(2, []byte("\x00\x00\x00\x0cabc"))
		r.from.wants("\x00\x00\x00\x0cabc")
		if got := strings.Join(r.from.jsons, ""); got != `{"type":"ack"}{"type":"y"}` {
			t.Errorf("%s have come", got)
		}
		p.write(2, make([]byte, maxMessage+1))
		p.wantClose(1009)
		if err := r.ends(); err == nil || r.from.ended > 0 {
			t.Errorf("the end is %v", err)
		}
	})
}

func TestPlainEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := plain(t, replay.Bytes, 0)
		p.write(2, []byte("last"))
		p.close(1000, "")
		p.wantClose(1000)
		if err := r.ends(); err != nil || r.from.ended != 1 {
			t.Errorf("the end is %v, and the sink hears %d times of it", err, r.from.ended)
		}
		r.from.wants("last")
	})
	for code, want := range map[int]error{1001: nil, 1008: nil, 1011: nil, 3999: nil, 4001: ErrReplaced} {
		bubble(t, func(t *testing.T) {
			r, p := plain(t, replay.Bytes, 0)
			p.close(code, "")
			p.wantClose(code)
			err := r.ends()
			wantCode(t, err, code)
			if want != nil && !errors.Is(err, want) || r.from.ended != 0 {
				t.Errorf("the end is %v", err)
			}
		})
	}
	bubble(t, func(t *testing.T) {
		r, p := plain(t, replay.Bytes, 0)
		p.cut()
		if err := r.ends(); err == nil || r.from.ended != 0 || len(r.detached) > 0 {
			t.Errorf("the end is %v", err)
		}
	})
	bubble(t, func(t *testing.T) {
		r, p := plain(t, replay.Bytes, 0)
		p.send("text")
		p.wantClose(1003)
		if r.ends() == nil {
			t.Error("text is taken")
		}
	})
}

// Pings of the WebSocket protocol are answered, and there are own ones.
func TestPlainKeepalive(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := plain(t, replay.Bytes, 0)
		p.write(websocket.PingMessage, []byte("marco"))
		if m := p.next(); m.pong != "marco" {
			t.Errorf("%+v comes", m)
		}
		start := time.Now()
		for range 3 {
			if m := p.next(); !m.ping {
				t.Errorf("%+v comes", m)
			}
			p.write(websocket.PongMessage, nil)
		}
		if since := time.Since(start); since < 3*idle || since > 3*(idle+2*slowTick) {
			t.Errorf("three pings come within %v", since)
		}
		start = time.Now()
		p.deaf()
		if err := r.ends(); !errors.Is(err, errSilent) || time.Since(start) < silence || time.Since(start) > silence+2*idle {
			t.Errorf("the end is %v after %v", err, time.Since(start))
		}
	})
}

// A target that takes nothing for long is no lost WebSocket.
func TestPlainWaitsForASlowReader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := plain(t, replay.Bytes, 0)
		p.gate <- struct{}{}
		r.to.put("is read")
		r.to.put("is not")
		time.Sleep(time.Hour - slowTick/2) // the clocks are looked at right behind the end of the write
		<-p.gate
		p.wantData("is readis not", 0)
		time.Sleep(slowTick)
		r.lives()
	})
}

// Reading pauses while more than the window is not passed on, and the server is told
// meanwhile that somebody is there.
func TestPlainPauses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := plain(t, replay.Bytes, 100_000)
		r.from.passes = false
		block := strings.Repeat("x", 60_000)
		sent := make(chan int, 100)
		go func() {
			for i := range 5 {
				if p.ws.WriteMessage(2, []byte(block)) != nil {
					return
				}
				sent <- i
			}
		}()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if len(sent) > 3 {
			t.Errorf("%d messages are read", len(sent))
		}
		pings := 0
		for len(p.messages) > 0 {
			if m := <-p.messages; m.ping {
				pings++
			}
		}
		if pings < 15 {
			t.Errorf("%d pings come in five minutes", pings)
		}
		for range 5 {
			r.s.Passed(60_000)
			synctest.Wait()
		}
		r.from.wants(strings.Repeat(block, 5))
		r.lives()
	})
}
