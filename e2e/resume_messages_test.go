package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
)

// A tunnel's session counts messages. What holds for relays holds for it, too.

// The server sends no more messages than it may, and those that wait come after an ack.
func TestResumeTunnelKeepsTheLimit(t *testing.T) {
	t.Parallel()
	s := resumeTunnelServer(t)
	h := resumeBegin(t, s.direct(), resumeTunnelQuery)
	m := h.must(t)
	ready, err := tunnelDecode(m.payload)
	if err != nil || ready.Type != "tunnel_ready" || ready.RawPort == nil {
		t.Fatalf("the first message is %.100q, %v", m.payload, err)
	}
	const conns = 100
	for range conns {
		tunnelDial(t, *ready.RawPort)
	}
	opened, came := map[string]bool{}, 1
	read := func(upTo int) {
		t.Helper()
		for ; came < upTo; came++ {
			open, err := tunnelDecode(h.mustMessage(t).payload)
			if err != nil || open.Type != "tcp_open" || opened[open.ConnID] {
				t.Fatalf("message %d is %+v, %v", came, open, err)
			}
			opened[open.ConnID] = true
		}
		for range 20 {
			h.alive(t) // and nothing else
		}
	}
	read(resumeFirstMessages)
	_ = h.ack(10, resumeFirstMessages+7)
	read(resumeFirstMessages + 7)
	_ = h.ack(20, 30) // falls, and says nothing
	_ = h.ack(5, 10)
	read(resumeFirstMessages + 7)
	// Those that are not acknowledged come again, the same ones, and no others do.
	h.cut()
	if n := h.again(t, 21); n.position != 0 {
		t.Errorf("the server has received %d messages", n.position)
	}
	for i := 21; i < resumeFirstMessages+7; i++ {
		open, _ := tunnelDecode(h.mustMessage(t).payload)
		if open.Type != "tcp_open" || !opened[open.ConnID] {
			t.Errorf("message %d comes again as %+v", i, open)
		}
	}
	h.alive(t)
	_ = h.ack(uint64(came), 1000)
	read(1 + conns)
	if len(opened) != conns {
		t.Errorf("%d connections were opened", len(opened))
	}
	for _, query := range []string{"", "messages=x", "messages=70", "messages=102", "bytes=101", "messages=9223372036854775808"} {
		h.refused(t, query+"&attempt=9", 4409)
	}
	h.alive(t)
	h.lives(t, 1+conns, 0)
}

// mustMessage reads on to the next message that is not of the section.
func (w *resumeSocket) mustMessage(t *testing.T) resumeMessage {
	t.Helper()
	for {
		if m := w.must(t); m.note == nil {
			return m
		}
	}
}

// What a tunnel's client must not send, and what it may.
func TestResumeTunnelRefusedMessages(t *testing.T) {
	t.Parallel()
	s := resumeTunnelServer(t)
	text := func(message string) []byte { return frame(finBit|opText, []byte(message)) }
	data := func(payload []byte, position uint64) []byte {
		return frame(finBit|opBinary, binary.BigEndian.AppendUint64(bytes.Clone(payload), position))
	}
	nobody := tunnelFrame("000000000000", []byte("x"))
	const lost, lives = 0, -1
	for _, c := range []struct {
		name    string
		code    int
		counted uint64
		frames  [][]byte
	}{
		{"types that nobody knows", lives, 3, [][]byte{text(`{"type":"hello"}`), text(`{}`), frame(finBit|opBinary, []byte(`{"type":"hello"}`))}},
		{"data, and notes between", lives, 2, [][]byte{data(nobody, 1), text(`{"type":"ping"}`), text(`{"type":"ack","messages":1,"limit":65}`), data(nobody, 2), text(`{"type":"pong"}`)}},
		{"notes in binary messages", lives, 1, [][]byte{frame(finBit|opBinary, []byte(`{"type":"ack","messages":0,"limit":64}`)), data(nobody, 1)}},
		{"a long message", lives, 1, [][]byte{data(tunnelFrame("000000000000", make([]byte, resumeMost-16)), 1)}},
		{"one that is too long", 1009, 0, [][]byte{data(tunnelFrame("000000000000", make([]byte, resumeMost-15)), 1)}},
		{"JSON that is too long", 1009, 0, [][]byte{text(`{"type":"hello","x":"` + string(bytes.Repeat([]byte("x"), resumeMost)) + `"}`)}},
		{"no JSON", lost, 1, [][]byte{data(nobody, 1), text(`hello`)}},
		{"half JSON in a binary message", lost, 0, [][]byte{frame(finBit|opBinary, []byte(`{"type":"hel`))}},
		{"JSON that is not UTF-8", lost, 0, [][]byte{text("{\"type\":\"hello\",\"x\":\"\xff\"}")}},
		{"a wrong position", lost, 1, [][]byte{data(nobody, 1), data(nobody, 1)}},
		{"no position", lost, 0, [][]byte{frame(finBit|opBinary, nobody)}},
		{"nothing", lost, 0, [][]byte{frame(finBit|opBinary, nil)}},
		{"an ack of what was never sent", 1002, 0, [][]byte{text(`{"type":"ack","messages":2,"limit":64}`)}},
		{"an ack of bytes", 1002, 0, [][]byte{text(`{"type":"ack","bytes":1,"limit":64}`)}},
		{"an ack of nothing", 1002, 0, [][]byte{text(`{"type":"ack"}`)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := resumeBegin(t, s.direct(), resumeTunnelQuery)
			h.mustMessage(t)
			h.send(t, c.frames...)
			switch c.code {
			case lives:
				_ = h.note(fields{"type": "ping"})
				for m := h.must(t); m.note == nil || m.note.kind != "pong"; m = h.must(t) {
				}
			default:
				h.mustClose(t, c.code)
			}
			if c.code > 0 {
				_ = h.bye(c.code)
				h.over(t)
				return
			}
			if n := h.again(t, 1); n.position != c.counted {
				t.Errorf("the server has received %d messages, want %d", n.position, c.counted)
			}
			_ = h.bye(1000)
			h.mustClose(t, 1000)
		})
	}
}

// A session of a server that has ended is over: the next server knows nothing of it.
func TestResumeAfterARestart(t *testing.T) {
	t.Parallel()
	far := sinkServer(t)
	h := resumeBegin(t, resumeServer(t).direct(), relayPath(far))
	h.alive(t)
	next := resumeServer(t)
	h.via = next.direct()
	h.over(t)
	for i := range 40 { // tokens that look like those of sessions that are there
		other := resumeBegin(t, next.direct(), relayPath(far))
		if other.session.resume == h.session.resume {
			t.Error("two servers give out the same token")
		}
		h.attempt = 100
		h.refused(t, fmt.Sprint("bytes=0&attempt=", 100+i), 4404)
	}
}
