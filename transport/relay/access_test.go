package relay

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// A service is a WebSocket server behind Cloudflare Access, at the other end of
// an accessUpstream. TLS and the handshake are left out.
type service struct {
	*net.TCPConn
	t  *testing.T
	in *bufio.Reader
}

func (s *service) send(first byte, payload []byte) error {
	_, err := s.Write(testkit.ServerFrame(first, payload))
	return err
}

// receive returns what the service is sent until its next close frame, message
// by message. Empty ones count.
func (s *service) receive(n int) (got []string, closed bool) {
	s.t.Helper()
	var message []byte
	for len(got) < n {
		first, payload, err := testkit.ReadFrame(s.in)
		if err != nil {
			s.t.Fatalf("after %d of %d messages: %v", len(got), n, err)
		}
		switch first {
		case frameClose:
			return got, true
		case frameBin, frameBegin, frameEnd, 0:
			message = append(message, payload...)
		default:
			s.t.Fatalf("the service is sent a frame of %x", first)
		}
		if first&0x80 != 0 {
			got = append(got, string(message))
			message = nil
		}
	}
	return got, false
}

// wants fails if the next messages are others.
func (s *service) wants(want ...string) {
	s.t.Helper()
	if got, _ := s.receive(len(want)); !slices.Equal(got, want) {
		s.t.Fatalf("the service is sent %.60q, want %.60q", got, want)
	}
}

// newAccessUpstream returns both ends of a WebSocket to a service.
func newAccessUpstream(t *testing.T) (*accessUpstream, *service) {
	t.Helper()
	near, far := testkit.TCPPair(t)
	u := &accessUpstream{ws: testkit.GorillaClient(t, near), pinger: time.AfterFunc(time.Hour, func() {})}
	t.Cleanup(func() { u.Close() })
	_ = far.SetReadDeadline(time.Now().Add(testkit.Patience))
	return u, &service{far, t, bufio.NewReader(far)}
}

// newAccessRig returns a running pair whose upstream is a WebSocket.
func newAccessRig(t *testing.T) (*rig, *service) {
	t.Helper()
	r := newRig(t)
	u, s := newAccessUpstream(t)
	_ = u.ws.NetConn().SetDeadline(time.Time{})
	r.connect(u, true)
	return r, s
}

func TestMessagesKeepTheirEndsBehindAccess(t *testing.T) {
	r, service := newAccessRig(t)
	large := string(testkit.Pattern(200_000)) // many reads of the pump
	r.clientSends([]byte("one"))
	r.clientSends([]byte(large))
	r.clientSends([]byte("three"))
	service.wants("one", large, "three")

	_ = service.send(frameBin, []byte("answer"))
	if _, p, err := r.client.ReadMessage(); err != nil || string(p) != "answer" {
		t.Fatalf("the client reads %q, %v", p, err)
	}
	_ = service.send(frameClose, testkit.ClosePayload(1000, ""))
	r.finish(messages.ReasonTargetEnded)
	service.Close()
	r.wantClose(messages.CloseNormal)
	r.wantClosed(messages.ReasonTargetEnded)
}

// A message may end with an empty frame, sent by itself: without passing the
// end on, what came before stays in a buffer for ever.
func TestMessageEndsWithAnEmptyFrameBehindAccess(t *testing.T) {
	r, service := newAccessRig(t)
	_, _ = r.peer.Write(testkit.Frame(wsock.OpBinary, []byte("held")))
	testkit.Eventually(t, "the first frame is passed on", func() bool { return r.pair.up.Load() == 4 })
	_, _ = r.peer.Write(testkit.Frame(frameEnd, nil))
	service.wants("held")
	r.clientSends(nil)
	r.clientSends([]byte("next"))
	service.wants("", "next")
	r.pair.Finish(messages.ReasonShutdown)
	service.Close()
	r.wantClose(messages.CloseGoingAway)
	r.wantClosed(messages.ReasonShutdown)
}

// Only a close frame with a good code is an orderly end of the service.
func TestEndsOfAServiceBehindAccess(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(*service)
		reason messages.Reason
		code   int
	}{
		"close 1000":   {func(s *service) { _ = s.send(frameClose, testkit.ClosePayload(1000, "")) }, messages.ReasonTargetEnded, 1000},
		"close 1001":   {func(s *service) { _ = s.send(frameClose, testkit.ClosePayload(1001, "")) }, messages.ReasonTargetEnded, 1000},
		"close empty":  {func(s *service) { _ = s.send(frameClose, nil) }, messages.ReasonTargetEnded, 1000},
		"close 1011":   {func(s *service) { _ = s.send(frameClose, testkit.ClosePayload(1011, "")) }, messages.ReasonTargetReset, 1011},
		"no close":     {func(s *service) { s.Close() }, messages.ReasonTargetReset, 1011},
		"half a frame": {func(s *service) { _, _ = s.Write([]byte{0x82, 5, 'a'}); s.Close() }, messages.ReasonTargetReset, 1011},
		"text":         {func(s *service) { _ = s.send(frameText, []byte("a")) }, messages.ReasonTargetReset, 1011},
		"no frame":     {func(s *service) { _, _ = s.Write([]byte{0xff, 0xff}) }, messages.ReasonTargetReset, 1011},
	} {
		t.Run(name, func(t *testing.T) {
			r, service := newAccessRig(t)
			c.end(service)
			r.finish(c.reason)
			service.Close()
			r.wantClose(c.code)
			r.wantClosed(c.reason)
		})
	}
}

func TestReadFromAServiceBehindAccessKeepsTheBytes(t *testing.T) {
	u, service := newAccessUpstream(t)
	sent := testkit.Pattern(100_000)
	go func() {
		_ = service.send(frameBin, sent[:10])
		_ = service.send(frameBin, nil) // no bytes, no end
		_ = service.send(frameBin, sent[10:60_000])
		_ = service.send(frameBin, sent[60_000:])
		_ = service.send(frameClose, testkit.ClosePayload(1000, ""))
	}()
	var got []byte
	for {
		buf, n, err := u.read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || n == 0 {
			t.Fatal(n, err)
		}
		got = append(got, buf[wsock.ServerHeader:wsock.ServerHeader+n]...)
		wsock.GiveBuffer(buf)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came, of %d", len(got), len(sent))
	}
}

// The end of the client's stream is a close frame to the service, and what came
// before it is not lost though the service still sends: closed at once, the
// kernel would answer with a reset, which takes along what was not yet read.
func TestClientsCloseReachesTheServiceBehindAccess(t *testing.T) {
	r, service := newAccessRig(t)
	sent := testkit.Pattern(300_000)
	r.clientSends(sent)
	_ = r.client.WriteMessage(websocket.CloseMessage, nil)
	r.finish(messages.ReasonClientClosed)
	r.wantClose(websocket.CloseNormalClosure)
	for range 100 {
		if err := service.send(frameBin, testkit.Pattern(10_000)); err != nil {
			t.Fatalf("the service can't send on: %v", err)
		}
	}
	got, _ := service.receive(1)
	if len(got) != 1 || got[0] != string(sent) {
		t.Errorf("the service got %d messages, not the one of %d bytes", len(got), len(sent))
	}
	if _, closed := service.receive(1); !closed {
		t.Error("the service is sent no close frame")
	}
	service.Close()
	r.wantClosed(messages.ReasonClientClosed)
}
