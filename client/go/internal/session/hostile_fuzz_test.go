package session

import (
	"encoding/binary"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/gorilla/websocket"

	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

// The kinds of what a hostile server sends. Each is followed by a length, and so
// many bytes.
const (
	sendsRaw     = iota // bytes that need not be a frame
	sendsText           // a text
	sendsData           // bytes with the right trailer
	sendsBinary         // bytes without one
	sendsAck            // an ack of a position and a limit
	sendsPing           // a ping of the WebSocket protocol
	sendsClose          // a close frame
	sendsEOF            // an eof
	sendsNothing        // and the session sends something
	sendsKinds
)

// hostile sends what a script says, as far as the session takes it.
func hostile(r *rig, p *peer, script []byte) {
	position := uint64(0)
	for len(script) >= 2 {
		kind, n := script[0]%sendsKinds, int(script[1])
		script = script[2:]
		n = min(n, len(script))
		b := script[:n]
		script = script[n:]
		switch kind {
		case sendsRaw:
			_, _ = p.pipe.Write(b)
		case sendsText:
			_ = p.ws.WriteMessage(websocket.TextMessage, b)
		case sendsData:
			if position++; r.unit == replay.Bytes {
				position += uint64(n) - 1
			}
			_ = p.ws.WriteMessage(websocket.BinaryMessage, binary.BigEndian.AppendUint64(append([]byte(nil), b...), position))
		case sendsBinary:
			_ = p.ws.WriteMessage(websocket.BinaryMessage, b)
		case sendsAck:
			var two [2]byte
			copy(two[:], b)
			_ = p.ws.WriteMessage(websocket.TextMessage, messages.AppendAck(nil, r.unit.Name(), uint64(two[0]), uint64(two[1])<<10))
		case sendsPing:
			_ = p.ws.WriteMessage(websocket.PingMessage, b[:min(n, 125)])
		case sendsClose:
			_ = p.ws.WriteMessage(websocket.CloseMessage, b[:min(n, 125)])
		case sendsEOF:
			_ = p.ws.WriteMessage(websocket.TextMessage, []byte(messages.EOFText))
		case sendsNothing:
			r.to.put(string(b))
		}
	}
	synctest.Wait()
}

// Whatever a server sends, nothing panics, and a session that goes on is taken up
// exactly behind what its owner has got.
func FuzzHostileServer(f *testing.F) {
	add := func(script ...string) {
		var all []byte
		for i := 0; i < len(script); i += 2 {
			kind, _ := strconv.Atoi(script[i])
			all = append(append(all, byte(kind), byte(len(script[i+1]))), script[i+1]...)
		}
		f.Add(all, false, false)
		f.Add(all, true, false)
		f.Add(all, false, true)
		f.Add(all, true, true)
	}
	add("2", "Hello", "2", "world", "7", "")
	add("8", "data", "4", "\x02\x41", "4", "\x09\x41")
	add("1", messages.PingText, "1", messages.PongText, "5", "ping", "6", "\x03\xe9reason")
	add("0", "\x82\x7e\xff\xff", "0", "abc")
	add("0", "\x02\x03abc\x89\x00\x80\x08\x00\x00\x00\x00\x00\x00\x00\x03", "2", "x")
	add("0", "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff")
	add("7", "", "2", "behind")
	add("1", `{"type":"session","resume":"x","timeout":1,"limit":1}`)
	add("1", `{"type":"resumed","bytes":1,"limit":1}`, "3", `{"type":"other"}`, "3", "short")
	f.Fuzz(func(t *testing.T, script []byte, tunnel, isPlain bool) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, replay.Bytes)
			if tunnel {
				r.unit = replay.Messages
			}
			r.plain, r.loose = isPlain, true
			p := r.open(0)
			hostile(r, p, script)
			p.cut()
			synctest.Wait()
			if r.from.over() {
				return
			}
			if isPlain {
				t.Fatal("the session has not ended with its WebSocket")
			}
			p = r.next()
			if want := strconv.FormatInt(r.from.units(), 10); p.query.Get(r.unit.Name()) != want {
				t.Errorf("%s have come, and %v is asked for", want, p.query)
			}
			p.close(4404, "")
			_ = r.ends()
		})
	})
}

// units returns how much the sink has got, as positions count.
func (s *sink) units() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.r.unit == replay.Messages {
		return s.count
	}
	return int64(s.got.Len())
}
