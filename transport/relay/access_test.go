package relay

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/messages"
)

// newAccessRig returns a running line whose far side is a WebSocket, and the
// service at its other end. TLS and the handshake are left out.
func newAccessRig(t *testing.T) (*rig, *socket, *decoder) {
	t.Helper()
	r := newRig(t)
	near, far := tcpPair(t)
	ws := gorillaClient(t, near)
	f := &accessFar{ws: ws}
	f.pinger = time.AfterFunc(time.Hour, func() {})
	r.line.far = f
	service, err := newSocket(far)
	if err != nil {
		t.Fatal(err)
	}
	_ = far.SetReadDeadline(time.Now().Add(patience))
	r.line.Pump()
	return r, service, &decoder{byWord: true, onPing: service.answer, limit: messages.MaxClientMessage}
}

// wantMessages reads what the service is sent, message by message.
func wantMessages(t *testing.T, service *socket, d *decoder, want ...string) {
	t.Helper()
	var got []string
	var message []byte
	buf := make([]byte, 64<<10)
	for len(got) < len(want) {
		n, err := service.conn.Read(buf)
		if err != nil {
			t.Fatalf("after %d of %d messages: %v", len(got), len(want), err)
		}
		for rest := buf[:n]; len(rest) > 0; {
			var data []byte
			var result decoded
			var reason messages.Reason
			data, rest, result, reason = d.decode(rest)
			message = append(message, data...)
			switch result {
			case decodedMessage:
				got = append(got, string(message))
				message = nil
			case decodedBad, decodedClose:
				t.Fatalf("the service is sent something else: %d %s", result, reason)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("the service is sent %.60q, want %.60q", got, want)
	}
}

func TestMessagesKeepTheirEndsBehindAccess(t *testing.T) {
	r, service, d := newAccessRig(t)
	large := string(pattern(200_000)) // many reads of the pump
	r.clientSends([]byte("one"))
	r.clientSends([]byte(large))
	r.clientSends([]byte("three"))
	wantMessages(t, service, d, "one", large, "three")

	_ = service.write(dataFrame([]byte("answer")))
	if _, p, err := r.client.ReadMessage(); err != nil || string(p) != "answer" {
		t.Fatalf("the client reads %q, %v", p, err)
	}
	_ = service.writeClose(1000, "")
	r.finish(messages.ReasonTargetEnded)
	service.conn.Close()
	r.wantClose(messages.CloseNormal)
	r.wantClosed(messages.ReasonTargetEnded)
}

// A message may end with an empty frame, sent by itself: without passing the
// end on, what came before stays in a buffer for ever.
func TestMessageEndsWithAnEmptyFrameBehindAccess(t *testing.T) {
	r, service, d := newAccessRig(t)
	_, _ = r.peer.Write(wsFrame(opBinary, []byte("held")))
	eventually(t, "the first frame is passed on", func() bool { return r.line.up.Load() == 4 })
	_, _ = r.peer.Write(wsFrame(frameEnd, nil))
	wantMessages(t, service, d, "held")
	r.clientSends(nil)
	r.clientSends([]byte("next"))
	wantMessages(t, service, d, "", "next")
	r.line.Finish(messages.ReasonShutdown)
	service.conn.Close()
	r.wantClose(messages.CloseGoingAway)
	r.wantClosed(messages.ReasonShutdown)
}

// Only a close frame with a good code is an orderly end of the service.
func TestEndsOfAServiceBehindAccess(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(service *socket)
		reason messages.Reason
		code   int
	}{
		"close 1000":   {func(s *socket) { _ = s.writeClose(1000, "") }, messages.ReasonTargetEnded, 1000},
		"close 1001":   {func(s *socket) { _ = s.writeClose(1001, "") }, messages.ReasonTargetEnded, 1000},
		"close empty":  {func(s *socket) { _ = s.write([]byte{0x88, 0}) }, messages.ReasonTargetEnded, 1000},
		"close 1011":   {func(s *socket) { _ = s.writeClose(1011, "") }, messages.ReasonTargetReset, 1011},
		"no close":     {func(s *socket) { s.conn.Close() }, messages.ReasonTargetReset, 1011},
		"half a frame": {func(s *socket) { _ = s.write([]byte{0x82, 5, 'a'}); s.conn.Close() }, messages.ReasonTargetReset, 1011},
		"text":         {func(s *socket) { _ = s.write([]byte{0x81, 1, 'a'}) }, messages.ReasonTargetReset, 1011},
		"no frame":     {func(s *socket) { _ = s.write([]byte{0xff, 0xff}) }, messages.ReasonTargetReset, 1011},
	} {
		t.Run(name, func(t *testing.T) {
			r, service, _ := newAccessRig(t)
			c.end(service)
			r.finish(c.reason)
			service.conn.Close()
			r.wantClose(c.code)
			r.wantClosed(c.reason)
		})
	}
}

func TestReadFromAServiceBehindAccessKeepsTheBytes(t *testing.T) {
	near, far := tcpPair(t)
	f := &accessFar{ws: gorillaClient(t, near), pinger: time.AfterFunc(time.Hour, func() {})}
	defer f.Close()
	sent := pattern(100_000)
	go func() {
		_, _ = far.Write(dataFrame(sent[:10]))
		_, _ = far.Write(dataFrame(nil)) // no bytes, no end
		_, _ = far.Write(dataFrame(sent[10:60_000]))
		_, _ = far.Write(dataFrame(sent[60_000:]))
		_, _ = far.Write(closeFrame(1000, ""))
	}()
	var got []byte
	for {
		buf, n, err := f.read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || n == 0 {
			t.Fatal(n, err)
		}
		got = append(got, buf[serverHeader:serverHeader+n]...)
		giveBuffer(buf)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came, of %d", len(got), len(sent))
	}
}

// The end of the client's stream is a close frame to the service, and what came
// before it is not lost though the service still sends: closed at once, the
// kernel would answer with a reset, which takes along what was not yet read.
func TestClientsCloseReachesTheServiceBehindAccess(t *testing.T) {
	r, service, _ := newAccessRig(t)
	sent := pattern(300_000)
	r.clientSends(sent)
	_ = r.client.WriteMessage(websocket.CloseMessage, nil)
	r.finish(messages.ReasonClientClosed)
	r.wantClose(websocket.CloseNormalClosure)
	for range 100 {
		if err := service.write(dataFrame(pattern(10_000))); err != nil {
			t.Fatalf("the service can't send on: %v", err)
		}
	}
	d := relayDecoder()
	var got []byte
	for buf := make([]byte, 64<<10); ; {
		n, err := service.conn.Read(buf)
		if err != nil {
			t.Fatalf("after %d bytes of %d: %v", len(got), len(sent), err)
		}
		data, _, result, _ := d.decode(buf[:n])
		got = append(got, data...)
		if result == decodedClose {
			break
		}
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("the service got %d bytes of %d", len(got), len(sent))
	}
	service.conn.Close()
	r.wantClosed(messages.ReasonClientClosed)
}
