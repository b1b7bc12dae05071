package session

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

func TestBegins(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, p := begin(t, replay.Bytes) // an ack comes at once
		if strings.Join(p.offered, " ") != "wsproxy.resume wsproxy.v1" || p.query.Get("host") != "h" {
			t.Errorf("%q is offered, %q asked for", p.offered, p.query)
		}
	})
}

// What does not begin as a session does is none.
func TestBeginsWithNothingElse(t *testing.T) {
	for _, text := range []string{`{"type":"ack","bytes":0,"limit":1}`, `{"type":"session","resume":"a b","timeout":1,"limit":1}`,
		`{"type":"session","resume":"a","limit":1}`, `{"type":"resumed","bytes":0,"limit":1}`, `{`, ``} {
		bubble(t, func(t *testing.T) {
			r := newRig(t, replay.Bytes)
			go func() {
				p := <-r.peers
				p.send(text)
				p.wantClose(0)
			}()
			if _, err := Open(t.Context(), Options{Dial: r.dial, Source: r.to, Sink: r.from}); err == nil {
				t.Errorf("%s begins a session", text)
			}
		})
	}
}

// A close frame instead of the first message is told.
func TestIsRefusedAfterTheUpgrade(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, replay.Bytes)
		go func() { (<-r.peers).close(1008, "blocked") }()
		_, err := Open(t.Context(), Options{Dial: r.dial, Source: r.to, Sink: r.from})
		wantCode(t, err, 1008)
	})
}

// A server that says nothing is not waited for.
func TestBeginningIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, start := newRig(t, replay.Bytes), time.Now()
		if _, err := Open(t.Context(), Options{Dial: r.dial, Source: r.to, Sink: r.from}); err == nil || time.Since(start) != answered {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		(<-r.peers).wantClose(0)
	})
}

func TestSendsWithPositions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Bytes)
		r.to.put("Hello")
		p.wantData("Hello", 5)
		r.to.put(", world")
		p.wantData(", world", 12)
	})
}

func TestSendsMessagesWithPositions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Messages)
		r.to.put("one")
		r.to.give(replay.Message{Payload: []byte(`{"type":"x"}`), JSON: true})
		r.to.put("")
		p.wantData("one", 1)
		p.want(`{"type":"x"}`)
		p.wantData("", 3)
		p.data("", 1)
		p.send(`{"type":"ping"}`) // is not counted
		p.want(messages.PongText)
		p.write(2, []byte(` {"a":1}`+"\x00\x00\x00\x00\x00\x00\x00\x02")) // the first byte is none of JSON's
		p.write(2, []byte(`{"type":"binary"}`))
		p.send(`{"type":"eof"}`) // of a relay
		p.data("four", 4)
		r.from.wants(` {"a":1}four`)
		if strings.Join(r.from.jsons, " ") != `{"type":"binary"}` {
			t.Errorf("%q have come", r.from.jsons)
		}
		p.wantAck(4)
	})
}

// Nothing is sent beyond the limit, and everything up to it.
func TestKeepsToTheLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Bytes)
		all := strings.Repeat("0123456789abcdef", 10_000)
		r.to.put(all)
		p.wantData(all[:64<<10], 64<<10)
		synctest.Wait()
		p.none()
		p.ack(10, 64<<10+7)
		p.wantData(all[64<<10:64<<10+7], 64<<10+7)
		p.none()
		p.ack(20, 100) // a lower limit says nothing
		p.none()
		p.ack(64<<10+7, 1<<20)
		p.wantData(all[64<<10+7:], 160_000)
	})
}

func TestMessagesKeepToTheLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Messages)
		for range 70 {
			r.to.put("m")
		}
		for i := range uint64(64) {
			p.wantData("m", i+1)
		}
		p.none()
		p.ack(1, 66)
		p.wantData("m", 65)
		p.wantData("m", 66)
		p.none()
	})
}

// An ack is due after a quarter of the window.
func TestAcknowledges(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Bytes)
		p.data(strings.Repeat("a", 16<<10-1), 16<<10-1)
		p.none()
		p.data("b", 16<<10)
		if limit := p.wantAck(16 << 10); limit != 80<<10 {
			t.Errorf("%d may be sent", limit)
		}
		p.data("c", 16<<10+1)
		start := time.Now()
		p.wantAck(16<<10 + 1)
		if late := time.Since(start); late == 0 || late > time.Second {
			t.Errorf("a byte is acknowledged after %v", late)
		}
		r.lives()
	})
}

// What is not passed on is not acknowledged, and read all the same.
func TestAcknowledgesWhatIsPassedOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Bytes)
		r.from.passes = false
		all := strings.Repeat("a", 64<<10)
		p.data(all, 64<<10)
		r.from.wants(all)
		time.Sleep(quiet / 2)
		p.none()
		r.s.Passed(40 << 10)
		p.wantAck(40 << 10)
	})
}

// The window grows while it is used up, to what the owner has said.
func TestWindowGrows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, replay.Bytes)
		p := r.open(200 << 10)
		limit, sent := p.wantAck(0), uint64(0)
		for range 100 {
			for sent < limit {
				n := min(limit-sent, 64<<10)
				sent += n
				p.data(strings.Repeat("x", int(n)), sent)
			}
			synctest.Wait()
			for len(p.messages) > 0 {
				m, err := messages.DecodeResume([]byte((<-p.messages).text), "bytes")
				if err != nil || m.Position > sent {
					t.Fatal(m, err)
				}
				limit = m.Limit
			}
		}
		time.Sleep(time.Second)
		for len(p.messages) > 0 {
			limit = p.wantAck(sent)
		}
		if limit-sent != 200<<10 {
			t.Errorf("%d are granted", limit-sent)
		}
	})
}

func TestAnswersPings(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, p := begin(t, replay.Bytes)
		p.send(messages.PingText)
		p.want(messages.PongText)
		p.send(messages.PongText)
		p.none()
	})
}

// Behind a frame that is stuck acks and pongs come first, whatever waits.
func TestUrgentGoesAheadOfData(t *testing.T) {
	for _, unit := range []replay.Unit{replay.Bytes, replay.Messages} {
		bubble(t, func(t *testing.T) {
			r, p := begin(t, unit)
			p.gate <- struct{}{}
			r.to.put(strings.Repeat("x", 20_000)) // is read
			synctest.Wait()
			size := 20_000
			for range 60 {
				r.to.put(strings.Repeat("x", 60_000))
			}
			synctest.Wait()
			p.send(messages.PingText)
			p.data(strings.Repeat("a", 16<<10), map[replay.Unit]uint64{replay.Bytes: 16 << 10, replay.Messages: 1}[unit])
			synctest.Wait()
			<-p.gate
			for frames := 0; ; frames++ {
				m := p.next()
				if m.text == messages.PongText || strings.Contains(m.text, "ack") {
					break
				}
				if size += len(m.data); frames > 2 {
					t.Fatalf("%d bytes in %d frames come first", size, frames)
				}
			}
		})
	}
}

func TestHalfCloses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Bytes)
		r.to.put("last")
		r.s.CloseWrite()
		p.wantData("last", 4)
		p.want(messages.EOFText)
		p.data("still", 5)
		r.from.wants("still")
		p.send(messages.EOFText)
		p.send(messages.EOFText) // twice is as good as once
		synctest.Wait()
		if r.from.ended != 1 {
			t.Errorf("the sink hears %d times that the other side has ended", r.from.ended)
		}
		p.close(1000, "")
		if err := r.ends(); err != nil {
			t.Error(err)
		}
		for m := p.next(); m.err == nil; m = p.next() {
			if m.text == "" {
				t.Errorf("%+v comes", m)
			}
		}
	})
}

// What happens while the source is asked is not missed.
func TestHearsWhatHappensMeanwhile(t *testing.T) {
	for name, test := range map[string]struct {
		happens func(r *rig, p *peer)
		wants   func(p *peer)
	}{
		"a ping":  {func(_ *rig, p *peer) { p.send(messages.PingText); synctest.Wait() }, func(p *peer) { p.want(messages.PongText) }},
		"a close": {func(r *rig, _ *peer) { r.s.Close(1000, "") }, func(p *peer) { p.wantClose(1000); p.close(1000, "") }},
		"an end":  {func(r *rig, p *peer) { p.close(1000, ""); synctest.Wait() }, func(p *peer) { p.wantClose(1000) }},
		"a loss": {func(_ *rig, p *peer) { p.cut(); synctest.Wait() }, func(p *peer) {
			p = p.r.taken(0)
			p.wantAck(0)
			p.r.to.put("x")
			p.wantData("x", 1)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r, p := begin(t, replay.Bytes)
				done := make(chan struct{})
				happen := make(chan func())
				go func() { (<-happen)(); close(done) }()
				r.to.mu.Lock()
				r.to.asked = func() {
					happen <- func() { test.happens(r, p) }
					<-done
				}
				r.to.mu.Unlock()
				r.s.Wake()
				test.wants(p)
			})
		})
	}
}

// A server that gives leave to send for ever and acknowledges nothing does not fill
// the memory.
func TestBoundsWhatIsNotAcknowledged(t *testing.T) {
	for name, give := range map[string]func(*rig) *peer{
		"by an ack": func(r *rig) *peer {
			p := r.open(0)
			p.ack(0, messages.MaxPosition)
			return p
		},
		"by resumed": func(r *rig) *peer {
			r.open(0).cut()
			p := r.next()
			p.resume(0, messages.MaxPosition)
			return p
		},
	} {
		for _, unit := range []replay.Unit{replay.Bytes, replay.Messages} {
			t.Run(name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					r := newRig(t, unit)
					most := mostBytes
					give(r)
					if unit == replay.Messages {
						most = mostMessages
					}
					for range most/replay.MaxPayload + most*int(unit) + 10 {
						r.to.put(strings.Repeat("x", replay.MaxPayload>>(3*unit)))
					}
					synctest.Wait()
					if kept := r.s.out.Position(); kept != uint64(most) {
						t.Errorf("%d units are kept", kept)
					}
				})
			})
		}
	}
}
