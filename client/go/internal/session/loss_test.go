package session

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

// lossy are the ways in which a WebSocket is lost that has brought five bytes, each
// with what a session then must not have said: a close frame would end it.
var lossy = map[string]func(p *peer){
	"without a word":            (*peer).cut,
	"1001":                      func(p *peer) { p.close(1001, "reload") },
	"1012":                      func(p *peer) { p.close(1012, "") },
	"4000":                      func(p *peer) { p.close(4000, "") },
	"without a code":            func(p *peer) { p.raw(0x88, 0) },
	"a code of some proxy's":    func(p *peer) { p.close(3999, "") },
	"a code that can't be":      func(p *peer) { p.raw(0x88, 2, 1006>>8, 1006&0xff) },
	"a frame with a mask":       func(p *peer) { p.raw(0x88, 0x82, 1, 2, 3, 4, 5, 6) },
	"a reserved bit":            func(p *peer) { p.raw(0xf2, 1, 0) },
	"an opcode that nobody has": func(p *peer) { p.raw(0x83, 1, 0) },
	"no trailer":                func(p *peer) { p.write(2, []byte("1234567")) },
	"a wrong trailer":           func(p *peer) { p.data("bad", 9) },
	"no JSON":                   func(p *peer) { p.send(`{"type":"ack"`) },
	"no UTF-8":                  func(p *peer) { p.send("{\"type\":\"a\xff\"}") },
	"half a message": func(p *peer) {
		p.raw(0x82, 13, 'h', 'a')
		p.cut()
	},
	"half a message, completed": func(p *peer) { p.raw(0x82, 13, 'h', 'a', 0x88, 2, 3, 0xe9, 'c', 'a', 'd', 'd', 'y', '!', '!') },
	"a fragment":                func(p *peer) { p.raw(0x02, 2, 'h', 'a'); p.cut() },
}

func TestTakesUp(t *testing.T) {
	for name, lose := range lossy {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r, p := begin(t, replay.Bytes)
				p.data("first", 5)
				r.to.put("question")
				p.wantData("question", 8)
				r.from.wants("first")
				start := time.Now()
				go lose(p) // may not return before the session has read it all
				again := r.next()
				if since := time.Since(start); since != 0 {
					t.Errorf("the first try is %v late", since)
				}
				if got := strings.Join(again.offered, " "); got != "wsproxy.resume resume."+token {
					t.Errorf("%q is offered", got)
				}
				if again.query.Encode() != "attempt=1&bytes=5" {
					t.Errorf("%v is asked for", again.query)
				}
				again.resume(3, 64<<10)
				again.wantAck(5)
				again.wantData("stion", 8)
				again.data("last", 9)
				r.from.wants("firstlast")
				for m := p.next(); ; m = p.next() {
					if m.err != nil {
						p.messages <- m
						p.wantClose(0)
						break
					}
				}
				if len(r.detached) != 1 || len(r.resumed) != 1 || len(r.retried) != 0 {
					t.Errorf("%v, %v, %v are told", r.detached, r.retried, r.resumed)
				}
			})
		})
	}
}

// Each try has a higher number, whatever became of the one before, and the first
// after each loss is at once.
func TestTriesAreNumbered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Messages)
		p.cut()
		for attempt := 1; attempt <= 4; attempt++ {
			p = r.next()
			if got := p.query.Encode(); got != fmt.Sprintf("attempt=%d&messages=0", attempt) {
				t.Fatalf("%s is asked for", got)
			}
			switch attempt {
			case 1:
				p.close(4001, "") // the number was too low
				p.wantClose(4001)
			case 2:
				p.cut() // the answer is lost
			case 3:
				p.resume(0, 64)
				p.wantAck(0)
				p.data("m", 1)
				r.from.wants("m")
				p.cut()
			}
			if attempt == 3 {
				start := time.Now()
				p = r.next()
				if time.Since(start) != 0 {
					t.Error("the next loss is not a new one")
				}
				r.peers <- p
				p.query.Set("messages", "0")
			}
		}
		p.resume(0, 64)
		p.wantAck(1)
		if len(r.retried) != 2 {
			t.Errorf("%v are told", r.retried)
		}
		wantCode(t, r.retried[0], 4001)
	})
}

func TestBacksOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Bytes)
		r.refuse = 1 << 20
		p.cut()
		err := r.ends()
		if !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "503: at rest") {
			t.Errorf("the end is %v", err)
		}
		longest := 100 * time.Millisecond
		for i := 2; i < len(r.dialled)-1; i++ {
			pause := r.dialled[i].Sub(r.dialled[i-1])
			if pause < longest/2 || pause > longest {
				t.Errorf("pause %d is %v, not within %v", i, pause, longest)
			}
			longest = min(2*longest, 5*time.Second)
		}
		first, last := r.dialled[1].Sub(r.dialled[0]), r.dialled[len(r.dialled)-1].Sub(r.dialled[1])
		if first != 0 || last != timeout*time.Second {
			t.Errorf("it tries from %v on for %v", first, last)
		}
		if len(r.retried) != len(r.dialled)-3+1 {
			t.Errorf("%d of %d tries are told", len(r.retried), len(r.dialled)-1)
		}
	})
}

// A WebSocket on which nothing comes is lost again and again: that takes no more of
// the server than if it were not there.
func TestBacksOffWhereNothingComes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Bytes)
		start := time.Now()
		for range 6 {
			p.cut()
			p = r.taken(0)
			p.wantAck(0)
		}
		if time.Since(start) < 1500*time.Millisecond/2 {
			t.Errorf("it was taken up six times within %v", time.Since(start))
		}
		time.Sleep(12 * time.Second)
		start = time.Now()
		p.cut()
		r.taken(0)
		if time.Since(start) != 0 {
			t.Error("the loss of one that has lived is not a new one")
		}
	})
}

// A server that restarts says over how long its clients are to come back.
func TestSpreads(t *testing.T) {
	late := false
	for range 5 {
		bubble(t, func(t *testing.T) {
			r, p := begin(t, replay.Bytes)
			start := time.Now()
			p.close(1001, "restart, retry within 20 s")
			r.next().close(4404, "")
			since := time.Since(start)
			late = late || since > 100*time.Millisecond
			if since > 20*time.Second {
				t.Errorf("it comes after %v", since)
			}
			if err := r.ends(); !errors.Is(err, ErrLost) {
				t.Errorf("the end is %v", err)
			}
		})
	}
	if !late {
		t.Error("it comes at once")
	}
}

// What is passed on while there is no WebSocket is told to the next one.
func TestAcknowledgesAfterwards(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Bytes)
		r.from.passes = false
		p.data("0123456789", 10)
		r.from.wants("0123456789")
		p.cut()
		p = r.next()
		r.s.Passed(7)
		p.resume(0, 64<<10)
		p.wantAck(7)
	})
}

// Everything that was not acknowledged goes out again, eof included.
func TestSendsAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Messages)
		for i := range 5 {
			r.to.put(strconv.Itoa(i))
		}
		for i := range 5 {
			p.wantData(strconv.Itoa(i), uint64(i+1))
		}
		p.ack(2, 64)
		synctest.Wait()
		p.cut()
		p = r.taken(3)
		p.wantAck(0)
		p.wantData("3", 4)
		p.wantData("4", 5)
		p.none()
	})
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Bytes)
		r.to.put("all")
		r.s.CloseWrite()
		p.wantData("all", 3)
		p.want(messages.EOFText)
		p.ack(3, 64<<10)
		synctest.Wait()
		p.cut()
		p = r.taken(3)
		p.wantAck(0)
		p.want(messages.EOFText)
	})
}

// The server can't be at a position that this session never was at.
func TestRefusesOtherPositions(t *testing.T) {
	for position, acked := range map[uint64]uint64{6: 0, 2: 3} {
		bubble(t, func(t *testing.T) {
			r, p := begin(t, replay.Bytes)
			r.to.put("Hello")
			p.wantData("Hello", 5)
			p.ack(acked, 64<<10)
			synctest.Wait()
			p.cut()
			p = r.taken(position)
			p.wantClose(1002)
			if err := r.ends(); !errors.Is(err, ErrLost) {
				t.Errorf("the end is %v", err)
			}
		})
	}
}

// A take-up that something else answers is none, and another one follows.
func TestTakesUpSessionsOnly(t *testing.T) {
	for name, answer := range map[string]func(r *rig, p *peer){
		"another type": func(_ *rig, p *peer) { p.send(`{"type":"session","resume":"x","timeout":1,"limit":1}`) },
		"no number":    func(_ *rig, p *peer) { p.send(`{"type":"resumed","bytes":-1,"limit":1}`) },
		"data":         func(_ *rig, p *peer) { p.data("x", 1) },
		"1011":         func(_ *rig, p *peer) { p.close(1011, "") },
		"nothing":      func(*rig, *peer) {},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r, p := begin(t, replay.Bytes)
				p.cut()
				answer(r, r.next())
				p = r.taken(0)
				p.wantAck(0)
				r.lives()
			})
		})
	}
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Bytes)
		r.locked(func() { r.plain = true })
		p.cut()
		r.next().wantClose(0)
		r.locked(func() { r.plain = false })
		r.taken(0).wantAck(0)
	})
}

// A server that wants its clients back later than it keeps their sessions is asked
// before.
func TestSpreadIsBounded(t *testing.T) {
	for range 20 { // the time is by chance
		bubble(t, func(t *testing.T) {
			r, p := begin(t, replay.Bytes)
			start := time.Now()
			p.close(1001, "restart, retry within 9999 s")
			r.taken(0)
			if waited := time.Since(start); waited > timeout*time.Second/2 {
				t.Errorf("it waits %v", waited)
			}
		})
	}
}
