package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// A resumeHand is a session whose messages the test makes one by one.
type resumeHand struct {
	*resumeSocket // the WebSocket of now
	via           resumeVia
	path          string // /relay or /tunnel
	more          string // of the query of a take-up
	session       resumeNote
	attempt       uint64
}

// resumeServer starts a server to whose own address relays may lead.
func resumeServer(t *testing.T, env ...string) *server {
	t.Helper()
	return start(t, append([]string{allowLoopback(), "MAX_CONNS_PER_IP=0"}, env...)...)
}

// resumePlainServer is resumeServer with the server as it is released, for bulk and
// memory.
func resumePlainServer(t *testing.T, env ...string) *server {
	t.Helper()
	path, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	s := launchBinary(t, path, append([]string{allowLoopback(), "MAX_CONNS_PER_IP=0"}, env...)...)
	s.addr, _ = s.waitLog(t, `"msg":"listening"`)["address"].(string)
	return s
}

// direct is the way to a server with nothing between.
func (s *server) direct(lines ...string) resumeVia { return resumeVia{addr: s.addr, lines: lines} }

// resumeBegin begins a session and acknowledges its first message.
func resumeBegin(t *testing.T, via resumeVia, pathAndQuery string) *resumeHand {
	t.Helper()
	h := resumeBeginMute(t, via, pathAndQuery)
	if err := h.ack(0, h.session.limit); err != nil {
		t.Fatal(err)
	}
	return h
}

// resumeBeginMute is resumeBegin without the ack.
func resumeBeginMute(t *testing.T, via resumeVia, pathAndQuery string) *resumeHand {
	t.Helper()
	path, _, _ := strings.Cut(pathAndQuery, "?")
	h := &resumeHand{via: via, path: path}
	h.resumeSocket = resumeSelected(t, via, pathAndQuery, resumeV1, resumeProtocol)
	h.session = *h.first(t, "session")
	return h
}

// resumeSelected opens a WebSocket for which the server selects section 9. It is
// closed with the test.
func resumeSelected(t *testing.T, via resumeVia, pathAndQuery string, protocols ...string) *resumeSocket {
	t.Helper()
	w, _, err := resumeDial(via, pathAndQuery, protocols...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	if w.selected != resumeProtocol {
		t.Fatalf("the server selects %q for %q", w.selected, strings.Join(protocols[:1], ""))
	}
	return w
}

// first reads the first message, which must be of this kind.
func (w *resumeSocket) first(t *testing.T, kind string) *resumeNote {
	t.Helper()
	m := w.must(t)
	if m.note == nil || m.note.kind != kind {
		t.Fatalf("the first message is %.60q, not %s", m.payload, kind)
	}
	return m.note
}

// try tries to take the session up with these parameters, whatever they are.
func (h *resumeHand) try(t *testing.T, query string) *resumeSocket {
	t.Helper()
	return resumeSelected(t, h.via, h.path+"?"+query+h.more, resumeProtocol, "resume."+h.session.resume)
}

// refused tries to take the session up, which must be answered with this code and
// nothing before.
func (h *resumeHand) refused(t *testing.T, query string, code int) {
	t.Helper()
	w := h.try(t, query)
	m, err := w.read()
	var closed *resumeClosed
	if !errors.As(err, &closed) || closed.code != code {
		t.Errorf("%s?%s is answered %.60q, %v, want close %d", h.path, query, m.payload, err, code)
	} else if len(closed.text) == 0 {
		t.Errorf("close %d says nothing", code)
	}
	w.answer(err)
}

// again takes the session up from a position of the client, and returns what
// resumed says. It acknowledges nothing.
func (h *resumeHand) again(t *testing.T, position uint64) resumeNote {
	t.Helper()
	h.attempt++
	unit := map[bool]string{false: "bytes", true: "messages"}[h.tunnel]
	h.resumeSocket = h.try(t, fmt.Sprintf("%s=%d&attempt=%d", unit, position, h.attempt))
	return *h.first(t, "resumed")
}

// lives checks that the session can be taken up, and that position bytes of the
// client have come. The client has received all up to here.
func (h *resumeHand) lives(t *testing.T, received, sent uint64) {
	t.Helper()
	if n := h.again(t, received); n.position != sent {
		t.Errorf("the server has received up to %d, want %d", n.position, sent)
	}
	if err := h.ack(received, received+resumeFirst); err != nil {
		t.Error(err)
	}
}

// over checks that there is no such session any more.
func (h *resumeHand) over(t *testing.T) {
	t.Helper()
	// An answer to the server's close frame may be on its way still: it comes by another
	// connection than this question.
	eventually(t, patience, "the session is over", func() bool {
		h.attempt++
		w := h.try(t, fmt.Sprintf("bytes=0&messages=0&attempt=%d", h.attempt))
		_, err := w.read()
		w.answer(err)
		var closed *resumeClosed
		return errors.As(err, &closed) && closed.code == 4404 && len(closed.text) > 0
	})
}

// alive checks that the WebSocket works: a ping is answered.
func (w *resumeSocket) alive(t *testing.T) {
	t.Helper()
	if err := w.note(fields{"type": "ping"}); err != nil {
		t.Fatal(err)
	}
	w.mustNote(t, "pong")
}

// receive reads data until so many bytes have come.
func (w *resumeSocket) receive(t *testing.T, n int) (got []byte) {
	t.Helper()
	for len(got) < n {
		if m := w.must(t); m.note == nil {
			got = append(got, m.payload...)
		}
	}
	return got
}

// resumeTunnelQuery is what a tunnel needs for section 9.
const resumeTunnelQuery = "/tunnel?flow=credit&http=bytes"

// The section holds when it was offered beside wsproxy.v1, and where it can.
func TestResumeSelected(t *testing.T) {
	t.Parallel()
	on := tunnelServer(t, allowLoopback())
	off := tunnelServer(t, allowLoopback(), "RESUME_TIMEOUT=0")
	relay := relayPath(echoServer(t))
	for _, c := range []struct {
		name     string
		s        *server
		path     string
		offer    []string
		selected string
	}{
		{"a relay", on, relay, []string{resumeV1, resumeProtocol}, resumeProtocol},
		{"the other way round", on, relay, []string{resumeProtocol, resumeV1}, resumeProtocol},
		{"among others", on, relay, []string{"binary", resumeProtocol, "bearer.x", resumeV1, "chat"}, resumeProtocol},
		{"without v1", on, relay, []string{resumeProtocol}, ""},
		{"beside another only", on, relay, []string{resumeProtocol, "binary"}, "binary"},
		{"not offered", on, relay, []string{resumeV1}, resumeV1},
		{"in another case", on, relay, []string{resumeV1, "WSPROXY.RESUME"}, resumeV1},
		{"switched off", off, relay, []string{resumeV1, resumeProtocol}, resumeV1},
		{"a tunnel", on, resumeTunnelQuery, []string{resumeV1, resumeProtocol}, resumeProtocol},
		{"a tunnel, the other way round", on, resumeTunnelQuery, []string{resumeProtocol, resumeV1}, resumeProtocol},
		{"a tunnel with binary control", on, resumeTunnelQuery + "&control=binary", []string{resumeV1, resumeProtocol}, resumeProtocol},
		{"a tunnel without http=bytes", on, "/tunnel?flow=credit", []string{resumeV1, resumeProtocol}, resumeV1},
		{"a tunnel without credit", on, "/tunnel", []string{resumeV1, resumeProtocol}, resumeV1},
		{"gossh", on, "/tunnel?flow=credit&control=gossh", []string{resumeV1, resumeProtocol}, resumeV1},
		{"a tunnel, switched off", off, resumeTunnelQuery, []string{resumeV1, resumeProtocol}, resumeV1},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, answer, err := resumeDial(c.s.direct(), c.path, c.offer...)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if got := answer.header.Values("Sec-WebSocket-Protocol"); c.selected == "" && len(got) > 0 || c.selected != "" && !slices.Equal(got, []string{c.selected}) {
				t.Fatalf("%q is selected, want %q", got, c.selected)
			}
			_, opcode, payload := true, byte(0), []byte(nil)
			if c.selected != resumeProtocol && c.path == relay {
				_ = w.write(finBit|opBinary, []byte("hello"))
			}
			if _, opcode, payload, err = w.readFrame(); err != nil {
				t.Fatal(err)
			}
			session := strings.Contains(string(payload), `"session"`)
			switch {
			case session != (c.selected == resumeProtocol):
				t.Errorf("the first message is %.60q", payload)
			case !session && c.path == relay && (string(payload) != "hello" || opcode != opBinary):
				t.Errorf("the echo is %q, opcode %d", payload, opcode)
			}
			_ = w.bye(1000)
			w.answer(&resumeClosed{code: 1000})
		})
	}
	t.Run("taking up, switched off", func(t *testing.T) {
		for _, path := range []string{"/relay", "/tunnel"} {
			h := &resumeHand{via: off.direct(), path: path, session: resumeNote{resume: strings.Repeat("A", 43)}}
			h.over(t)
		}
	})
}

// The first message comes at once, and tells no two sessions the same.
func TestResumeFirstMessage(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, allowLoopback(), "RESUME_TIMEOUT=77s")
	tokens := map[string]bool{}
	for range 20 {
		for _, path := range []string{relayPath(sinkServer(t)), resumeTunnelQuery, resumeTunnelQuery + "&control=binary"} {
			h := resumeBegin(t, s.direct(), path)
			limit := map[bool]uint64{false: resumeFirst, true: resumeFirstMessages}[h.tunnel]
			if h.session.timeout != 77 || h.session.limit != limit {
				t.Errorf("%s: timeout %d, limit %d", path, h.session.timeout, h.session.limit)
			}
			tokens[h.session.resume] = true
			if h.tunnel {
				if m := h.must(t); m.note != nil || !strings.Contains(string(m.payload), `"tunnel_ready"`) {
					t.Errorf("what comes then is %.100q", m.payload)
				}
			}
			if err := h.bye(1000); err != nil {
				t.Fatal(err)
			}
			h.mustClose(t, 1000)
		}
	}
	if len(tokens) != 60 {
		t.Errorf("60 sessions have %d tokens", len(tokens))
	}
	// A target that can't be reached is the end, after the first message.
	h := resumeBegin(t, s.direct(), relayPath(closedPort(t)))
	h.mustClose(t, 1011)
}

// Without the section nothing of it is sent: what ends a plain relay, ends it.
func TestResumeLeavesPlainSessionsAlone(t *testing.T) {
	t.Parallel()
	s := resumeServer(t, "PING_INTERVAL=1s") // two and a half of which no busy machine makes a client silent
	said := newData(3_000_000)
	ends := target(t, func(conn *net.TCPConn) {
		_, _ = io.Copy(conn, said.reader())
		conn.CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	})
	for _, offer := range []string{"", resumeV1, "binary"} {
		header := headerOf("X-Nothing: 1")
		if offer != "" {
			header = headerOf("Sec-WebSocket-Protocol: " + offer)
		}
		e := dialRaw(t, relayURL(s, ends), header).expectClose(t, 1000, "")
		if e.bytes != said.size || e.sum != said.sum() {
			t.Errorf("%q: %d bytes come", offer, e.bytes)
		}
		for _, text := range []string{`{"type":"ping"}`, `{"type":"ack","bytes":0,"limit":65536}`, `{"type":"eof"}`} {
			w := dialRaw(t, relayURL(s, sinkServer(t)), header)
			w.send(t, frame(finBit|opText, []byte(text)))
			w.expectClose(t, 1003, "")
		}
		w := dialRaw(t, relayURL(s, sinkServer(t)), header)
		if first, payload, err := w.read(); first != finBit|opPing || err != nil {
			t.Errorf("%q: what comes of an idle relay is %#x %q, %v, not a ping", offer, first, payload, err)
		}
		// Lost is lost.
		w = dialRaw(t, relayURL(s, floodServer(t)), header)
		w.vanish()
	}
	eventually(t, patience, "no relay is left", func() bool {
		return len(s.logLines(`"msg":"relay ended"`)) == len(s.logLines(`"msg":"relay started"`))
	})
}

// A ping is answered at once, by the server of each of both.
func TestResumePing(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, allowLoopback())
	for _, path := range []string{relayPath(sinkServer(t)), resumeTunnelQuery, resumeTunnelQuery + "&control=binary"} {
		h := resumeBegin(t, s.direct(), path)
		if h.tunnel {
			h.must(t)
		}
		for range 50 {
			began := time.Now()
			h.alive(t)
			if d := elapsed(began); d > time.Second {
				t.Errorf("%s: a pong comes after %v", path, d)
			}
		}
	}
}
