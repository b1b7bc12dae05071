package transport_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/gorilla/websocket"

	"wsproxy/actors/ledger"
	"wsproxy/actors/limits"
	"wsproxy/actors/relays"
	"wsproxy/actors/sessions"
	"wsproxy/actors/supervise"
	"wsproxy/messages"
	"wsproxy/messages/refused"
	"wsproxy/netpolicy"
	"wsproxy/transport"
	"wsproxy/transport/budget"
	"wsproxy/transport/wsock"
)

// A stand is a whole server on loopback, put together as main does it, for
// measuring what a session costs.
type stand struct {
	address string // of the HTTP listener
}

type noMeter struct{}

func (noMeter) RelayStarted()                             {}
func (noMeter) RelayEnded(messages.Reason, time.Duration) {}
func (noMeter) Refused(refused.Refusal)                   {}

func (noMeter) SessionDetached(string)                                {}
func (noMeter) SessionResumed(string, time.Duration)                  {}
func (noMeter) SessionGivenUp(string, messages.Reason, time.Duration) {}

func newStand(t testing.TB) *stand {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	system := supervise.NewSystem(log)
	limits, err := limits.Spawn(system, limits.NewBook(ledger.Bounds{}), nil, log)
	if err != nil {
		t.Fatal(err)
	}
	owner, err := relays.Spawn(system, relays.Needs{
		Limits: limits, Meter: noMeter{}, Log: log,
		Lasting: sessions.Terms{Timeout: time.Hour, Endpoint: "relay", Meter: noMeter{}, Limits: limits},
	})
	if err != nil {
		t.Fatal(err)
	}
	keepalive := wsock.NewKeepalive(30 * time.Second)
	server := transport.NewServer(transport.Config{
		Root: system.Root, Relays: owner, Policy: netpolicy.New(netpolicy.Options{}), Keepalive: keepalive,
		DialTimeout: 10 * time.Second, Ping: 30 * time.Second, Refused: noMeter{}, Log: log,
		Resume: transport.Resume{
			Timeout: time.Hour, Buffer: 1 << 20, Shares: budget.NewShares(1 << 30),
			Relay: func(id string) *actor.PID { return relays.PID(system, id) },
			Exists: func(pid *actor.PID) bool {
				_, exists := system.ProcessRegistry.Get(pid)
				return exists
			},
		},
	})
	s := &stand{address: serve(t, server.HTTP(), server.Listener)}
	t.Cleanup(func() { // after the sessions' own cleanup has ended them
		done := make(chan struct{})
		system.Root.Send(owner, &messages.Drain{Done: done})
		system.Root.Send(owner, &messages.Shutdown{}) // some wait for their clients
		<-done
		keepalive.Close()
		system.Shutdown()
	})
	return s
}

// serve runs an HTTP server on loopback until the test ends.
func serve(t testing.TB, server *http.Server, wrap func(*net.TCPListener) net.Listener) string {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(wrap(l)) }()
	t.Cleanup(func() { server.Close() })
	return l.Addr().String()
}

// newBaseline runs what one would write in an afternoon: gorilla's WebSocket as
// a net.Conn and io.Copy both ways. It leads every client to target.
func newBaseline(t testing.TB, target string) *stand {
	t.Helper()
	upgrader := websocket.Upgrader{}
	return &stand{address: serve(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		far, err := net.Dial("tcp4", target)
		if err != nil {
			return
		}
		defer far.Close()
		near := &gorillaStream{ws: ws}
		go func() {
			_, _ = io.Copy(far, near)
			_ = far.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(near, struct{ io.Reader }{far}) // without ReadFrom and WriteTo, as through any wrapper
	})}, func(l *net.TCPListener) net.Listener { return l })}
}

type gorillaStream struct {
	ws      *websocket.Conn
	message io.Reader
}

func (s *gorillaStream) Read(p []byte) (int, error) {
	for {
		if s.message == nil {
			_, message, err := s.ws.NextReader()
			if err != nil {
				return 0, err
			}
			s.message = message
		}
		n, err := s.message.Read(p)
		if err == io.EOF {
			s.message = nil
			if n == 0 {
				continue
			}
			err = nil
		}
		return n, err
	}
}

func (s *gorillaStream) Write(p []byte) (int, error) {
	return len(p), s.ws.WriteMessage(websocket.BinaryMessage, p)
}

// A session is one relay session seen from outside: two bare connections, on
// which reading and writing allocates nothing.
type session struct {
	client, target *net.TCPConn
	out            *bufio.Reader // of the client, for its frames
}

func listen(t testing.TB) *net.TCPListener {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// open opens a session that leads to target.
func (s *stand) open(t testing.TB, target *net.TCPListener) *session {
	t.Helper()
	return s.openBy(t, target, "")
}

// openBy is open with more header lines.
func (s *stand) openBy(t testing.TB, target *net.TCPListener, header string) *session {
	t.Helper()
	conn, err := net.Dial("tcp4", s.address)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(target.Addr().String())
	_, err = io.WriteString(conn, "GET /relay?host=127.0.0.1&port="+port+" HTTP/1.1\r\nHost: proxy\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+header+"\r\n")
	if err != nil {
		t.Fatal(err)
	}
	var answer []byte // byte by byte: the first message may come with it
	for one := make([]byte, 1); !bytes.HasSuffix(answer, []byte("\r\n\r\n")); answer = append(answer, one...) {
		if _, err := io.ReadFull(conn, one); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 101")) {
		t.Fatalf("the handshake is answered with %q", answer)
	}
	far, err := target.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	v := &session{client: conn.(*net.TCPConn), target: far}
	t.Cleanup(v.close)
	return v
}

func (v *session) close() {
	v.client.Close()
	v.target.Close()
}

// upFrame is a client's message, masked.
func upFrame(n int) []byte {
	f := []byte{0x82}
	switch {
	case n < 126:
		f = append(f, 0x80|byte(n))
	case n < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, 0x80|126), uint16(n))
	default:
		f = binary.BigEndian.AppendUint64(append(f, 0x80|127), uint64(n))
	}
	f = append(f, 1, 2, 3, 4)
	for i := range n {
		f = append(f, byte(i)^byte(i%4+1))
	}
	return f
}

// readPayload reads server frames until n bytes of payload have come. It
// allocates nothing.
func (v *session) readPayload(n int) error {
	if v.out == nil {
		v.out = bufio.NewReaderSize(v.client, 128<<10)
	}
	for n > 0 {
		head, err := v.out.Peek(2)
		if err != nil {
			return err
		}
		size, used := int(head[1]), 2
		switch size {
		case 126:
			if head, err = v.out.Peek(4); err != nil {
				return err
			}
			size, used = int(binary.BigEndian.Uint16(head[2:])), 4
		case 127:
			if head, err = v.out.Peek(10); err != nil {
				return err
			}
			size, used = int(binary.BigEndian.Uint64(head[2:])), 10
		}
		if _, err = v.out.Discard(used + size); err != nil {
			return err
		}
		n -= size
	}
	return nil
}
