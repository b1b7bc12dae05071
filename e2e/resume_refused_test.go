package e2e

import (
	"encoding/binary"
	"io"
	"strings"
	"testing"
)

// What a take-up is answered that names no session of its own.
func TestResumeUnknownSessions(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t)
	s := tunnelServer(t, allowLoopback(), "CLERK_JWKS_URL="+keys.url, "MAX_CONNS_PER_USER=0", "ALLOWED_ORIGINS=https://app.example")
	as := func(user string) string { return "&token=" + keys.token(fields{"sub": user}) }
	far, arrived := meter(t)
	relay := resumeBegin(t, s.direct(), relayPath(far)+as("ann"))
	tunnel := resumeBegin(t, s.direct(), resumeTunnelQuery+as("ann"))
	relay.more, tunnel.more = as("ann"), as("ann")
	_ = relay.data(3, []byte("abc"))
	eventually(t, patience, "it arrives", func() bool { return arrived.Load() == 3 })
	relay.ackOf(t, 3)

	stranger := func(h *resumeHand, change func(*resumeHand)) {
		t.Helper()
		other := *h
		change(&other)
		// One answer for all, whatever else is wrong.
		for _, query := range []string{"bytes=0&messages=0&attempt=1", "bytes=x&messages=x&attempt=0", ""} {
			other.refused(t, query, 4404)
		}
	}
	for _, h := range []*resumeHand{relay, tunnel} {
		stranger(h, func(h *resumeHand) { h.session.resume = strings.Repeat("A", 43) })
		stranger(h, func(h *resumeHand) { h.session.resume = "x" })
		stranger(h, func(h *resumeHand) { h.session.resume = "" })
		stranger(h, func(h *resumeHand) { h.session.resume = strings.Repeat("A", 4000) })
		stranger(h, func(h *resumeHand) { h.session.resume = h.session.resume[:len(h.session.resume)-1] })
		stranger(h, func(h *resumeHand) { h.session.resume += "A" })
		stranger(h, func(h *resumeHand) { h.session.resume = strings.ToUpper(h.session.resume) })
		stranger(h, func(h *resumeHand) { h.path = map[string]string{"/relay": "/tunnel", "/tunnel": "/relay"}[h.path] })
		stranger(h, func(h *resumeHand) { h.more = as("bob") })
	}
	// Who is asking, and from where, is judged before.
	for _, c := range []struct {
		status int
		more   string
		lines  []string
	}{
		{401, "", nil},
		{401, "&token=rubbish", nil},
		{403, as("ann"), []string{"Origin: https://evil.example"}},
	} {
		_, answer, err := resumeDial(s.direct(c.lines...), "/relay?bytes=0&attempt=1"+c.more, resumeProtocol, "resume."+relay.session.resume)
		if answer == nil || answer.status != c.status {
			t.Errorf("%v, want %d", err, c.status)
		}
	}
	// Nothing of it has changed anything: both go on where they are.
	relay.alive(t)
	relay.lives(t, 0, 3)
	tunnel.must(t)
	tunnel.alive(t)
	// A session that is over is one that never was.
	_ = relay.bye(1000)
	relay.mustClose(t, 1000)
	stranger(relay, func(*resumeHand) {})
}

// A take-up counts its attempts, and what comes late changes nothing.
func TestResumeAttempts(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	h := resumeBegin(t, s.direct(), relayPath(sinkServer(t)))
	bad := []string{"", "&attempt=", "&attempt=x", "&attempt=-1", "&attempt=1.5", "&attempt=0", "&attempt=%20", "&attempt=0x10"}
	for _, attempt := range bad {
		h.refused(t, "bytes=0"+attempt, 4001)
		h.refused(t, "bytes=x"+attempt, 4001) // before the position is looked at
	}
	h.alive(t)
	h.attempt = 6 // they need not be in turn
	h.lives(t, 0, 0)
	for _, attempt := range append(bad, "&attempt=1", "&attempt=6", "&attempt=7") {
		h.refused(t, "bytes=0"+attempt, 4001)
	}
	h.alive(t)
}

// A session can be taken up only from where it can be continued; a refusal leaves
// it as it was.
func TestResumePositions(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	far, conns := handServer(t)
	h := resumeBegin(t, s.direct(), relayPath(far))
	_, _ = accept(t, conns).Write(make([]byte, 1000))
	h.receive(t, 1000)
	_ = h.ack(600, 600+resumeFirst)
	h.alive(t)
	bad := []string{
		"", "bytes=", "bytes=x", "bytes=-1", "bytes=1e3", "bytes=600.0", "bytes=0x300", "messages=700", "bytes=%2B700",
		"bytes=1001", "bytes=65536", // never sent
		"bytes=599", "bytes=0", // not kept
		"bytes=9007199254740991", "bytes=9007199254740992", "bytes=9223372036854775807", "bytes=9223372036854775808",
		"bytes=18446744073709551615", "bytes=18446744073709551616", "bytes=18446744073709552616", "bytes=99999999999999999999999999999",
	}
	for _, position := range bad {
		h.refused(t, position+"&attempt=1", 4409)
	}
	h.alive(t) // the WebSocket that has it keeps it
	h.cut()
	for _, position := range bad {
		h.refused(t, position+"&attempt=1", 4409) // and so does nobody
	}
	for _, position := range []uint64{600, 1000} {
		if n := h.again(t, position); n.position != 0 { // attempt 1 has not been used up
			t.Errorf("the server's position is %d", n.position)
		}
		if got := len(h.receive(t, int(1000-position))); got != int(1000-position) {
			t.Errorf("%d bytes come after position %d", got, position)
		}
	}
}

// What a client must not send, and what becomes of the session.
func TestResumeRefusedMessages(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, allowLoopback(), "RESUME_BUFFER=64KiB")
	text := func(message string) []byte { return frame(finBit|opText, []byte(message)) }
	binaries := func(first byte, n int, position uint64) []byte {
		return frame(first|opBinary, binary.BigEndian.AppendUint64(make([]byte, n), position))
	}
	// With lost the WebSocket ends without a close frame, and the session waits.
	const lost = 0
	for _, c := range []struct {
		name   string
		code   int
		frames [][]byte
	}{
		{"JSON of another type", 1003, [][]byte{text(`{"type":"hello"}`)}},
		{"JSON of no type", 1003, [][]byte{text(`{}`)}},
		{"JSON of a tunnel", 1003, [][]byte{text(`{"type":"tcp_close","connId":"000000000000"}`)}},
		{"no JSON", lost, [][]byte{text(`hello`)}},
		{"half JSON", lost, [][]byte{text(`{"type":"pi`)}},
		{"nothing", lost, [][]byte{text(``)}},
		{"two of JSON", lost, [][]byte{text(`{"type":"ping"}{"type":"ping"}`)}},
		{"JSON that is not UTF-8", lost, [][]byte{text("{\"type\":\"ping\",\"x\":\"\xff\"}")}},
		{"a position that is too low", lost, [][]byte{binaries(finBit, 10, 9)}},
		{"a position that is too high", lost, [][]byte{binaries(finBit, 10, 11)}},
		{"no position", lost, [][]byte{frame(finBit|opBinary, make([]byte, 7))}},
		{"an empty message", lost, [][]byte{frame(finBit|opBinary, nil)}},
		{"no mask", lost, [][]byte{{finBit | opBinary, 9, 'x', 0, 0, 0, 0, 0, 0, 0, 1}}},
		{"a close frame without a mask", lost, [][]byte{{finBit | opClose, 2, 3, 0xe8}}},
		{"a frame that there is none of", lost, [][]byte{frame(finBit|0x3, []byte("x"))}},
		{"a reserved bit", lost, [][]byte{frame(finBit|rsv1|opBinary, make([]byte, 9))}},
		{"a close frame in the middle of a message", lost, [][]byte{binaries(0, 10, 10), frame(finBit|opClose, closePayload(1001, ""))}},
		{"a long message", 1009, [][]byte{binaries(finBit, resumeMost+1, resumeMost+1)}},
		{"a long message in pieces", 1009, [][]byte{frame(opBinary, make([]byte, 40_000)), frame(finBit|opContinuation, make([]byte, 40_000))}},
		{"an ack of what was never sent", 1002, [][]byte{text(`{"type":"ack","bytes":1,"limit":65536}`)}},
		{"an ack of the far future", 1002, [][]byte{text(`{"type":"ack","bytes":9007199254740991,"limit":9007199254740991}`)}},
		{"an ack beyond 2^53", 1002, [][]byte{text(`{"type":"ack","bytes":9007199254740992,"limit":9007199254740992}`)}},
		{"an ack of 2^63", 1002, [][]byte{text(`{"type":"ack","bytes":9223372036854775808,"limit":65536}`)}},
		{"an ack of nothing", 1002, [][]byte{text(`{"type":"ack"}`)}},
		{"an ack without a position", 1002, [][]byte{text(`{"type":"ack","limit":65536}`)}},
		{"an ack without a limit", 1002, [][]byte{text(`{"type":"ack","bytes":0}`)}},
		{"an ack of messages", 1002, [][]byte{text(`{"type":"ack","messages":0,"limit":65536}`)}},
		{"an ack below 0", 1002, [][]byte{text(`{"type":"ack","bytes":-1,"limit":65536}`)}},
		{"an ack of a fraction", 1002, [][]byte{text(`{"type":"ack","bytes":0.5,"limit":65536}`)}},
		{"an ack of text", 1002, [][]byte{text(`{"type":"ack","bytes":"0","limit":65536}`)}},
		{"a limit of text", 1002, [][]byte{text(`{"type":"ack","bytes":0,"limit":"x"}`)}},
		{"bytes behind an eof", 1002, [][]byte{text(`{"type":"eof"}`), binaries(finBit, 1, 1)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			far, conns := handServer(t)
			h := resumeBegin(t, s.direct(), relayPath(far))
			conn := accept(t, conns)
			h.alive(t)
			h.send(t, c.frames...)
			h.mustClose(t, c.code)
			if c.code != lost {
				_ = h.bye(c.code)
				h.over(t)
				if n, err := io.Copy(io.Discard, conn); n > 0 || err == nil && !strings.Contains(c.name, "eof") {
					t.Errorf("the target sees %d bytes and %v, not a reset", n, err)
				}
				return
			}
			h.lives(t, 0, 0)
			_ = h.data(2, []byte("ok"))
			got := make([]byte, 2)
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != "ok" {
				t.Errorf("then the target gets %q, %v", got, err)
			}
		})
	}
	t.Run("what is allowed", func(t *testing.T) {
		far, arrived := meter(t)
		h := resumeBegin(t, s.direct(), relayPath(far))
		h.send(t, binaries(finBit, 0, 0), // empty, with its position
			frame(opBinary, make([]byte, 30_000)), frame(opContinuation, make([]byte, 30_000)),
			frame(finBit|opContinuation, binary.BigEndian.AppendUint64(make([]byte, resumeMost-60_000), resumeMost)),
			text(`{"type":"ack","bytes":0,"limit":0,"more":[1]}`), text(`{"limit":70000, "type":"ack","bytes":0}`), text(`{"type":"pong"}`))
		eventually(t, patience, "it arrives", func() bool { return arrived.Load() == resumeMost })
		h.send(t, text(`{"type":"eof"}`), text(`{"type":"eof"}`))
		h.mustClose(t, 1000) // the meter ends, too
	})
}

// send writes frames as they are.
func (h *resumeHand) send(t *testing.T, frames ...[]byte) {
	t.Helper()
	for _, f := range frames {
		if _, err := h.Write(f); err != nil {
			t.Fatal(err)
		}
	}
}

// What begins like JSON is data on a relay, both ways.
func TestResumeRelayOfJSON(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	h := resumeBegin(t, s.direct(), relayPath(echoServer(t)))
	sent := ""
	for i, part := range []string{`{"type":"eof"}`, `{"type":"ack","bytes":99,"limit":0}`, `{`, "\x00\xff{"} {
		sent += part
		if err := h.data(uint64(len(sent)), []byte(part)); err != nil {
			t.Fatal(err)
		}
		if got := string(h.receive(t, len(part))); got != part {
			t.Errorf("part %d comes back as %q", i, got)
		}
	}
	h.alive(t)
}
