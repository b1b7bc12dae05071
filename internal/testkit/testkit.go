package testkit

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

// VerifyMain runs a package's tests, and fails if a goroutine is left. It is for
// TestMain.
func VerifyMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The actor library's timer of one second, which nothing stops; the
		// second name is what inlining makes of it.
		goleak.IgnoreAnyFunction("github.com/asynkron/protoactor-go/actor.NewThrottle.func2.1"),
		goleak.IgnoreAnyFunction("github.com/asynkron/protoactor-go/actor.NewDeadLetter.NewThrottle.func4.1"))
}

// Patience is how long a test waits for what must happen. A test that passes
// never waits that long.
const Patience = 15 * time.Second

func Receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(Patience):
		t.Fatal("what was waited for did not come")
		panic("unreachable")
	}
}

// Eventually polls until the condition holds.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(Patience)
	for !condition() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("never came true: %s", what)
		}
	}
}

// TCPPair returns the two ends of a TCP connection over loopback.
func TCPPair(t testing.TB) (client, server *net.TCPConn) {
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
	deadline := time.Now().Add(2 * Patience) // no read of a test's hangs for ever
	_ = near.SetDeadline(deadline)
	return near, far
}

func Frame(first byte, payload []byte) []byte {
	return FrameKey(first, payload, [4]byte{0x37, 0xfa, 0x21, 0x3d})
}

// FrameKey returns a client's frame, made by the book and not by the code
// that it tests.
func FrameKey(first byte, payload []byte, key [4]byte) []byte {
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

// ServerFrame returns a server's frame: one without a mask.
func ServerFrame(first byte, payload []byte) []byte {
	f := FrameKey(first, payload, [4]byte{})
	f[1] &^= 0x80
	at := len(f) - len(payload)
	return append(f[:at-4], payload...)
}

// ReadFrame reads a frame of either side, and takes off its mask.
func ReadFrame(r io.Reader) (first byte, payload []byte, err error) {
	head := make([]byte, 2, 14)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	n, masked := uint64(head[1]&0x7f), head[1]&0x80 != 0
	long := map[uint64]int{126: 2, 127: 8}[n]
	more := head[2 : 2+long]
	if masked {
		more = head[2 : 2+long+4]
	}
	if _, err := io.ReadFull(r, more); err != nil {
		return 0, nil, err
	}
	if long > 0 {
		n = 0
		for _, b := range more[:long] {
			n = n<<8 | uint64(b)
		}
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, err
	}
	if masked {
		for i := range payload {
			payload[i] ^= more[long+i%4]
		}
	}
	return head[0], payload, nil
}

func ClosePayload(code int, text string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(code)), text...)
}

// Pattern returns n bytes that differ wherever they could be confused.
func Pattern(n int) []byte {
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
		"Sec-WebSocket-Accept: " + AcceptKey(string(key)) + "\r\n\r\n"))
	return len(p), nil
}

func (d *dialog) Read(p []byte) (int, error) {
	if n, err := d.answer.Read(p); err != io.EOF {
		return n, err
	}
	return d.TCPConn.Read(p)
}

// AcceptKey is Sec-WebSocket-Accept of RFC 6455, section 4.2.2.
func AcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// GorillaClient returns a client of the other implementation that reads and
// writes what conn carries.
func GorillaClient(t testing.TB, conn *net.TCPConn) *websocket.Conn {
	t.Helper()
	dialer := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return &dialog{TCPConn: conn}, nil }}
	ws, answer, err := dialer.Dial("ws://127.0.0.1/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(answer.Status)
	}
	_ = conn.SetDeadline(time.Now().Add(2 * Patience))
	return ws
}

// A Probe stands in for the actor that owns a session.
type Probe struct {
	T    testing.TB
	PID  *actor.PID
	Got  chan any
	Root *actor.RootContext
}

var probes atomic.Int64

func NewProbe(t testing.TB, system *actor.ActorSystem) *Probe {
	t.Helper()
	p := &Probe{T: t, Got: make(chan any, 64), Root: system.Root}
	pid, fresh := system.ProcessRegistry.Add(p, fmt.Sprint("probe-", probes.Add(1)))
	if !fresh {
		t.Fatal("the Probe's name is taken")
	}
	p.PID = pid
	return p
}

func (p *Probe) SendUserMessage(_ *actor.PID, message any) {
	_, m, _ := actor.UnwrapEnvelope(message)
	p.Got <- m
}
func (p *Probe) SendSystemMessage(*actor.PID, any) {}
func (p *Probe) Stop(*actor.PID)                   {}

func IsTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// An Ear stands in for an actor: it keeps what it is told, however much.
type Ear struct {
	t    testing.TB
	PID  *actor.PID
	mu   sync.Mutex
	told []any
	Came chan struct{}
}

func NewEar(t testing.TB, system *actor.ActorSystem) *Ear {
	e := &Ear{t: t, Came: make(chan struct{}, 1)}
	pid, fresh := system.ProcessRegistry.Add(e, fmt.Sprint("ear-", probes.Add(1)))
	if !fresh {
		t.Fatal("the ear's name is taken")
	}
	e.PID = pid
	return e
}

func (e *Ear) SendUserMessage(_ *actor.PID, message any) {
	_, m, _ := actor.UnwrapEnvelope(message)
	e.mu.Lock()
	e.told = append(e.told, m)
	e.mu.Unlock()
	select {
	case e.Came <- struct{}{}:
	default:
	}
}
func (e *Ear) SendSystemMessage(*actor.PID, any) {}
func (e *Ear) Stop(*actor.PID)                   {}

// Take returns what the ear was told since the last time.
func (e *Ear) Take() []any {
	e.mu.Lock()
	defer e.mu.Unlock()
	told := e.told
	e.told = nil
	return told
}

func (e *Ear) Count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.told)
}

// Hears waits for the next message, which must be a T.
func Hears[T any](e *Ear) T {
	e.t.Helper()
	late := time.After(Patience)
	for {
		e.mu.Lock()
		if len(e.told) > 0 {
			m := e.told[0]
			e.told = e.told[1:]
			e.mu.Unlock()
			want, ok := m.(T)
			if !ok {
				e.t.Fatalf("the actor is told %T %+v, want %T", m, m, want)
			}
			return want
		}
		e.mu.Unlock()
		select {
		case <-e.Came:
		case <-late:
			var want T
			e.t.Fatalf("the actor is not told %T", want)
		}
	}
}
