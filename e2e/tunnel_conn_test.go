package e2e

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/internal/attack/wire"
)

// A tunnelRawConn is a raw connection as a tunnel's client has it. With credit
// it keeps the rules itself, and complains if the proxy doesn't.
type tunnelRawConn struct {
	c      *tunnelClient
	id     string
	remote string
	// protocol is what tcp_open says: empty for a raw connection.
	protocol string

	mu      sync.Mutex
	changed *sync.Cond
	in      []byte   // under mu: what came and was not read
	total   int      // under mu: payload bytes that came
	reasons []string // under mu: of each tcp_close that came
	owed    int      // under mu: read and not given back as credit
	out     int      // under mu: bytes that came and for which no credit was given back
	allowed int      // under mu: bytes that may be sent
	credits int      // under mu: bytes of credit that came
	sent    int      // under mu: payload bytes sent by Write
	left    bool     // under mu: leave was called
}

func newTunnelRawConn(c *tunnelClient, m tunnelMessage) *tunnelRawConn {
	n := &tunnelRawConn{c: c, id: m.ConnID, remote: m.RemoteAddr, protocol: m.Protocol, allowed: tunnelWindow}
	n.changed = sync.NewCond(&n.mu)
	if _, err := netip.ParseAddrPort(m.RemoteAddr); err != nil || len(m.ConnID) != 12 {
		c.t.Errorf("tcp_open is %+v: %v", m, err)
	}
	return n
}

func (n *tunnelRawConn) received(payload []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.left {
		return
	}
	if len(n.reasons) > 0 {
		n.c.t.Errorf("data after tcp_close %q", n.reasons)
	}
	n.in = append(n.in, payload...)
	n.total += len(payload)
	if n.out += len(payload); n.c.credit && n.out > tunnelWindow {
		n.c.t.Errorf("%d bytes are on their way, more than the window", n.out)
	}
	n.changed.Broadcast()
}

func (n *tunnelRawConn) closed(reason string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reasons = append(n.reasons, reason)
	n.changed.Broadcast()
}

func (n *tunnelRawConn) granted(bytes int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.allowed += bytes
	n.credits += bytes
	if bytes <= 0 || n.credits > n.sent+tunnelMaxWindow-tunnelWindow {
		n.c.t.Errorf("credit of %d bytes, %d in all, for %d sent", bytes, n.credits, n.sent)
	}
	n.changed.Broadcast()
}

// Read reads what the outside peer sends. Its end is io.EOF after tcp_close
// with reason eof, an error that says the reason after another.
func (n *tunnelRawConn) Read(p []byte) (int, error) {
	n.mu.Lock()
	for len(n.in) == 0 && len(n.reasons) == 0 && !n.left {
		n.changed.Wait()
	}
	if n.left {
		defer n.mu.Unlock()
		return 0, net.ErrClosed
	}
	if len(n.in) == 0 {
		defer n.mu.Unlock()
		if n.reasons[0] == "eof" {
			return 0, io.EOF
		}
		return 0, errors.New("closed: " + n.reasons[0])
	}
	k := copy(p, n.in)
	n.in = n.in[k:]
	give := 0
	if n.owed += k; n.c.credit && n.owed >= tunnelWindow/4 {
		give, n.owed = n.owed, 0
		n.out -= give
	}
	n.mu.Unlock()
	if give > 0 {
		return k, n.c.send(tunnelJSON{"type": "tcp_credit", "connId": n.id, "bytes": give})
	}
	return k, nil
}

// Write sends to the outside peer.
func (n *tunnelRawConn) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		piece := p[written:min(written+tunnelPayload, len(p))]
		n.mu.Lock()
		for n.c.credit && n.allowed == 0 && !n.broken() {
			n.changed.Wait()
		}
		if n.broken() {
			defer n.mu.Unlock()
			return written, errors.New("closed: " + n.reasons[len(n.reasons)-1])
		}
		if n.c.credit {
			piece = piece[:min(len(piece), n.allowed)]
			n.allowed -= len(piece)
		}
		n.sent += len(piece)
		n.mu.Unlock()
		if err := n.push(piece); err != nil {
			return written, err
		}
		written += len(piece)
	}
	return written, nil
}

// broken reports whether the connection was closed but for the peer's sending
// side. Under mu.
func (n *tunnelRawConn) broken() bool {
	return len(n.reasons) > 0 && n.reasons[len(n.reasons)-1] != "eof"
}

// push sends a data frame, allowed or not.
func (n *tunnelRawConn) push(payload []byte) error {
	return n.c.write(websocket.BinaryMessage, tunnelFrame(n.id, payload))
}

// Close sends tcp_close.
func (n *tunnelRawConn) Close() error {
	return n.c.send(tunnelJSON{"type": "tcp_close", "connId": n.id})
}

// leave closes the connection, and ends a Read that waits.
func (n *tunnelRawConn) leave() {
	_ = n.Close()
	n.forget()
}

// end sends tcp_close with a reason.
func (n *tunnelRawConn) end(reason string) {
	_ = n.c.send(tunnelJSON{"type": "tcp_close", "connId": n.id, "reason": reason})
}

// forget ends a Read that waits; what still comes is dropped.
func (n *tunnelRawConn) forget() {
	n.mu.Lock()
	n.left, n.in = true, nil
	n.mu.Unlock()
	n.changed.Broadcast()
}

// reason waits for a tcp_close and returns the reason of the first.
func (n *tunnelRawConn) reason(t *testing.T) string {
	t.Helper()
	return n.allReasons(t, 1)[0]
}

// allReasons waits for so many tcp_close and returns their reasons.
func (n *tunnelRawConn) allReasons(t *testing.T, count int) (reasons []string) {
	t.Helper()
	eventually(t, patience, "tcp_close", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		reasons = append([]string(nil), n.reasons...)
		return len(reasons) >= count
	})
	return reasons
}

// arrived returns how many payload bytes have come.
func (n *tunnelRawConn) arrived() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.total
}

// tunnelNextPort is where tunnelPorts looks on. Below it are the default
// range and what people use; the kernel's own range is above all of it.
var tunnelNextPort atomic.Int32

func init() { tunnelNextPort.Store(21000) }

// tunnelPorts returns the first of n neighbouring ports that nobody holds. It
// gives none out twice.
func tunnelPorts(t *testing.T, n int) int {
	t.Helper()
	for range 200 {
		first := int(tunnelNextPort.Add(int32(n))) - n
		free := true
		for port := first; port < first+n && free; port++ {
			l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if free = err == nil; free {
				l.Close()
			}
		}
		if free {
			return first
		}
	}
	t.Fatal("no neighbouring ports are free")
	return 0
}

// tunnelDial connects to a raw port as an outside peer does. The connection is
// closed with the test.
func tunnelDial(t *testing.T, port int) *net.TCPConn {
	t.Helper()
	return tunnelDialLocal(t, port, 1)
}

// tunnelDialLocal dials from 127.0.0.n.
func tunnelDialLocal(t *testing.T, port int, n byte) *net.TCPConn {
	t.Helper()
	return tunnelDialBuffer(t, port, n, 0)
}

// tunnelDialBuffer is tunnelDialLocal with a receive buffer of so many bytes, which the
// system chooses if it is 0. A buffer that gets smaller only after the handshake takes
// back a window that its peer has been told of. From there on the kernel drops what
// comes beyond it, with the acknowledgements in it: both directions wait for the
// retransmission timer, a minute and more.
func tunnelDialBuffer(t *testing.T, port int, n byte, bytes int) *net.TCPConn {
	t.Helper()
	conn, err := wire.DialFrom(t.Context(), net.IPv4(127, 0, 0, n).String(), net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), bytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	return conn.(*net.TCPConn)
}

// tunnelPair makes a raw connection and returns both ends.
func tunnelPair(t *testing.T, c *tunnelClient) (outside *net.TCPConn, inside *tunnelRawConn) {
	t.Helper()
	return tunnelPairFrom(t, c, 1)
}

// tunnelPairFrom is tunnelPair from 127.0.0.n: lines about each peer come once a
// second.
func tunnelPairFrom(t *testing.T, c *tunnelClient, n byte) (outside *net.TCPConn, inside *tunnelRawConn) {
	t.Helper()
	outside = tunnelDialLocal(t, c.port, n)
	return outside, tunnelInside(t, c, outside)
}

// tunnelPairBuffer is tunnelPair with a receive buffer of so many bytes outside.
func tunnelPairBuffer(t *testing.T, c *tunnelClient, bytes int) (outside *net.TCPConn, inside *tunnelRawConn) {
	t.Helper()
	outside = tunnelDialBuffer(t, c.port, 1, bytes)
	return outside, tunnelInside(t, c, outside)
}

// tunnelInside returns the client's end of a raw connection.
func tunnelInside(t *testing.T, c *tunnelClient, outside *net.TCPConn) *tunnelRawConn {
	t.Helper()
	inside := c.next(t)
	if inside.remote != outside.LocalAddr().String() {
		t.Fatalf("the remote address is %q, not %q", inside.remote, outside.LocalAddr())
	}
	return inside
}

// tunnelEcho sends back what comes, and then closes.
func tunnelEcho(_ *tunnelClient, conn *tunnelRawConn) {
	_, _ = io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
	_ = conn.Close()
}
