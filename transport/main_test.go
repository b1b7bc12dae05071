package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	buffers.New = pooled.make
	goleak.VerifyTestMain(m,
		// The actor library's timer of one second, which nothing stops; the
		// second name is what inlining makes of it.
		goleak.IgnoreAnyFunction("github.com/asynkron/protoactor-go/actor.NewThrottle.func2.1"),
		goleak.IgnoreAnyFunction("github.com/asynkron/protoactor-go/actor.NewDeadLetter.NewThrottle.func4.1"))
}

// pooled makes all buffers of the tests, and knows which of them are alive.
var pooled bufferCount

type bufferCount struct {
	mu   sync.Mutex
	made []weak.Pointer[buffer]
}

func (c *bufferCount) make() any {
	b := new(buffer)
	c.mu.Lock()
	c.made = append(c.made, weak.Make(b))
	c.mu.Unlock()
	return b
}

// held returns how many buffers somebody holds: two garbage collections empty
// the pool, so what lives on is held by somebody else.
func (c *bufferCount) held() (n int) {
	runtime.GC()
	runtime.GC()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.made {
		if b.Value() != nil {
			n++
		}
	}
	return n
}

// patience is how long a test waits for what must happen. A test that passes
// never waits that long.
const patience = 15 * time.Second

func receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("what was waited for did not come")
		panic("unreachable")
	}
}

// eventually polls until the condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !condition() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("never came true: %s", what)
		}
	}
}

// tcpPair returns the two ends of a TCP connection over loopback.
func tcpPair(t testing.TB) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	deadline := time.Now().Add(2 * patience) // no read of a test's hangs for ever
	_ = near.SetDeadline(deadline)
	return near, far
}

func wsFrame(first byte, payload []byte) []byte {
	return wsFrameKey(first, payload, [4]byte{0x37, 0xfa, 0x21, 0x3d})
}

// wsFrameKey returns a client's frame, made by the book and not by the code
// that it tests.
func wsFrameKey(first byte, payload []byte, key [4]byte) []byte {
	f := []byte{first}
	switch n := len(payload); {
	case n < 126:
		f = append(f, 0x80|byte(n))
	case n < 1<<16:
		f = append(f, 0x80|126)
		f = binary.BigEndian.AppendUint16(f, uint16(n))
	default:
		f = append(f, 0x80|127)
		f = binary.BigEndian.AppendUint64(f, uint64(n))
	}
	f = append(f, key[:]...)
	for i, b := range payload {
		f = append(f, b^key[i%4])
	}
	return f
}

func closePayload(code int, text string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(code)), text...)
}

// pattern returns n bytes that differ wherever they could be confused.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i ^ i>>8 ^ i>>16*7)
	}
	return p
}

// A dialog makes a gorilla client believe that its peer has answered the
// handshake, so that it can be used on a bare connection.
type dialog struct {
	*net.TCPConn
	answer *bytes.Reader // nil until the handshake was written
}

func (d *dialog) Write(p []byte) (int, error) {
	if d.answer != nil {
		return d.TCPConn.Write(p)
	}
	_, after, _ := bytes.Cut(p, []byte("Sec-WebSocket-Key: "))
	key, _, _ := bytes.Cut(after, []byte("\r\n"))
	d.answer = bytes.NewReader([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + acceptKey(string(key)) + "\r\n\r\n"))
	return len(p), nil
}

func (d *dialog) Read(p []byte) (int, error) {
	if n, err := d.answer.Read(p); err != io.EOF {
		return n, err
	}
	return d.TCPConn.Read(p)
}

// gorillaClient returns a client of the other implementation that reads and
// writes what conn carries.
func gorillaClient(t testing.TB, conn *net.TCPConn) *websocket.Conn {
	t.Helper()
	dialer := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return &dialog{TCPConn: conn}, nil }}
	ws, answer, err := dialer.Dial("ws://127.0.0.1/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(answer.Status)
	}
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	return ws
}

// A probe stands in for the actor that owns a line.
type probe struct {
	t    testing.TB
	pid  *actor.PID
	got  chan any
	root *actor.RootContext
}

var probes atomic.Int64

func newProbe(t testing.TB, system *actor.ActorSystem) *probe {
	t.Helper()
	p := &probe{t: t, got: make(chan any, 64), root: system.Root}
	pid, fresh := system.ProcessRegistry.Add(p, fmt.Sprint("probe-", probes.Add(1)))
	if !fresh {
		t.Fatal("the probe's name is taken")
	}
	p.pid = pid
	return p
}

func (p *probe) SendUserMessage(_ *actor.PID, message any) {
	_, m, _ := actor.UnwrapEnvelope(message)
	p.got <- m
}
func (p *probe) SendSystemMessage(*actor.PID, any) {}
func (p *probe) Stop(*actor.PID)                   {}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}
