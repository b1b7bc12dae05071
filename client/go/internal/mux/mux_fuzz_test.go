package mux

import (
	"io"
	"testing"
	"time"

	"wsproxy/messages"
)

// fuzzIDs are the connIds of a fuzzed server: few, so that its messages meet.
var fuzzIDs = []string{"", "a", "0123456789ab"}

// FuzzServer has a server say anything, while a program reads, writes and closes.
// Nothing panics or waits for ever, nothing is kept beyond the bounds, no more is
// sent than was allowed, and what is sent makes sense.
func FuzzServer(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03"))
	f.Add([]byte{1, 1, 0, 6, 1, 200, 8, 1, 50, 7, 1, 9, 12, 1, 0, 4, 1, 0})
	f.Add([]byte("\x05\x10{\"type\":\"tcp_open\",\"connId\":\"a\",\"remoteAddr\":7}"))
	f.Add([]byte{0, 1, 0, 3, 1, 255, 3, 1, 255, 3, 1, 255, 9, 1, 0, 11, 1, 3})
	f.Fuzz(func(t *testing.T, script []byte) {
		p := newPeer(t)
		allowed := map[string]int{} // as long as the server has not said anything
		var streams []*Stream
		for len(script) >= 3 && p.closed() == 0 {
			op, id, n := script[0]%14, fuzzIDs[int(script[1])%len(fuzzIDs)], int(script[2])
			script = script[3:]
			switch op {
			case 0, 1:
				protocol := []string{"", messages.ProtocolHTTP}[op]
				if p.m.streams[id] == nil && allowed != nil {
					allowed[id] = messages.Window
				}
				p.offer(id, protocol)
				if s := p.m.streams[id]; s != nil && n > 0 && len(p.listener(protocol).waiting) > 0 {
					streams = append(streams, p.accept(protocol))
				}
			case 2:
				p.close(id, string(messages.CloseEOF))
			case 3:
				p.bytes(id, n*n)
			case 4:
				p.close(id, []string{"reset", "slow", "\xff", ""}[n%4])
			case 5: // anything as a control message
				m := min(n, len(script))
				p.say(append([]byte(nil), script[:m]...))
				allowed = nil
				script = script[m:]
			case 6: // anything as data
				m := min(n, len(script))
				p.m.Take(append([]byte(nil), script[:m]...), false)
				script = script[m:]
			case 7:
				credit := []int{1, n + 1, 1 << 20, 1<<31 - 1, 1<<62 - 1}[n%5]
				if p.m.streams[id] != nil && allowed != nil {
					allowed[id] += min(credit, messages.MaxWindow)
				}
				p.credit(id, credit)
			case 8:
				for _, s := range streams {
					_ = s.SetDeadline(time.Now().Add(-1))
					if s.in.size > 0 {
						_ = s.SetDeadline(time.Time{})
						_, _ = s.Read(make([]byte, n*100))
					}
				}
			case 9:
				for _, s := range streams {
					_ = s.SetDeadline(time.Time{})
					if s.out.count < outDepth {
						_, _ = s.Write(make([]byte, n*10))
					}
				}
			case 10, 11, 12:
				if len(streams) > 0 {
					_ = []func(*Stream) error{(*Stream).CloseWrite, (*Stream).Close, (*Stream).Reset}[op-10](streams[n%len(streams)])
				}
			case 13:
				for range n {
					id, payload, said := p.next()
					if payload == nil && said == "" {
						break
					}
					if allowed == nil {
						continue
					}
					if allowed[id] -= len(payload); allowed[id] < 0 {
						t.Fatalf("more is sent on %q than was allowed", id)
					}
				}
			}
			for id, s := range p.m.streams {
				if s.in.size > messages.MaxWindow || s.in.size+max(s.window.may, 0) > messages.MaxWindow {
					t.Fatalf("%d bytes of %q wait, and %d may come", s.in.size, id, s.window.may)
				}
			}
			if len(p.m.streams) > MaxStreams || len(p.m.recent.ring) > maxRecent || p.m.widened > maxWidened {
				t.Fatal("a bound is passed")
			}
		}
		p.m.Ended(io.ErrUnexpectedEOF)
		if len(p.m.streams) != 0 || p.m.widened != 0 {
			t.Fatalf("%d streams are left, %d bytes reserved", len(p.m.streams), p.m.widened)
		}
		for _, s := range streams {
			s.Close()
		}
	})
}

func (p *peer) listener(protocol string) *Listener {
	if protocol == "" {
		return p.m.Raw
	}
	return p.m.HTTP
}
