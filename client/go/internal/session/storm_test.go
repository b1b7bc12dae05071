package session

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

// A storm is what many goroutines send at once, and what the server gets of it. Each message
// has its length in front, and its number all through it.
type storm struct {
	*testing.T
	r        *rig
	sent     sync.Mutex // the order of the numbers is that of the source
	numbers  uint64
	position uint64 // of the server
	got      []byte // what is no whole message yet
	whole    uint64 // messages
}

const (
	stormSenders = 8
	stormEach    = 300
	stormHead    = 12 // bytes: the length of all, and the number
)

func (s *storm) send() {
	size := stormHead + rand.N(2000)
	if rand.N(8) == 0 {
		size += rand.N(30_000)
	}
	s.sent.Lock()
	s.numbers++
	b := bytes.Repeat([]byte{byte(s.numbers)}, size)
	binary.BigEndian.PutUint32(b, uint32(size))
	binary.BigEndian.PutUint64(b[4:], s.numbers)
	s.r.to.mu.Lock()
	s.r.to.data = append(s.r.to.data, replay.Message{Payload: b})
	s.r.to.mu.Unlock()
	s.sent.Unlock()
	s.r.s.Wake()
}

// take takes what has come, which must be what follows.
func (s *storm) take(m message) {
	s.Helper()
	if m.data == nil {
		return
	}
	if s.position++; s.r.unit == replay.Bytes {
		s.position += uint64(len(m.data)) - 1
	}
	if m.position != s.position {
		s.Fatalf("a message is said to end at %d, not %d", m.position, s.position)
	}
	for s.got = append(s.got, m.data...); len(s.got) >= stormHead && len(s.got) >= int(binary.BigEndian.Uint32(s.got)); s.whole++ {
		var b []byte
		b, s.got = s.got[:binary.BigEndian.Uint32(s.got)], s.got[binary.BigEndian.Uint32(s.got):]
		if number := binary.BigEndian.Uint64(b[4:]); number != s.whole+1 || bytes.Count(b[stormHead:], []byte{byte(number)}) != len(b)-stormHead {
			s.Fatalf("message %d is %d, or damaged", s.whole+1, number)
		}
	}
}

// Many wake a session whose server asks, sends, and is lost again and again in the middle of
// what is written: what comes is what was sent, in its order, and all of it.
func TestStorm(t *testing.T) {
	for unit, room := range map[replay.Unit]uint64{replay.Messages: 200, replay.Bytes: 1 << 20} {
		t.Run(unit.Name(), func(t *testing.T) {
			t.Parallel()
			r := &rig{t: t, unit: unit, tcp: true, peers: make(chan *peer, 16)}
			r.to, r.from = &source{r: r}, &sink{r: r, passes: true}
			s := &storm{T: t, r: r}
			p := r.open(0)
			p.ack(0, room)
			var senders sync.WaitGroup
			for range stormSenders {
				senders.Go(func() {
					for range stormEach {
						s.send()
					}
				})
			}
			go func() {
				senders.Wait()
				r.s.Close(1000, "")
			}()
			sent := uint64(0)
			for left := 1 + rand.N(100); ; left-- {
				m := p.next()
				if m.err != nil {
					break
				}
				s.take(m)
				switch {
				case m.text == messages.PingText:
					p.send(messages.PongText)
					p.ack(s.position, s.position+room)
				case left%10 == 0:
					p.ack(s.position, s.position+room)
					p.send(messages.PingText)
					sent++
					p.data("x", sent)
				}
				if left > 0 {
					continue
				}
				for p.cut(); m.err == nil; s.take(m) {
					m = p.next()
				}
				p, left = r.next(), 1+rand.N(100)
				sent, _ = strconv.ParseUint(p.query.Get(unit.Name()), 10, 64)
				p.resume(s.position, s.position+room)
				p.ack(s.position, s.position+room)
			}
			p.close(1000, "")
			if err := r.ends(); err != nil || s.whole != stormSenders*stormEach {
				t.Errorf("%d messages have come, and it ends with %v", s.whole, err)
			}
		})
	}
}
