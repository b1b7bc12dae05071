package gossh

import (
	"encoding/binary"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/http1"
	"wsproxy/transport/outside"
	"wsproxy/transport/service"
	"wsproxy/transport/tunnel"
	"wsproxy/transport/wsock"
)

// A webSocket is a connection to a service that has become a WebSocket, and that of
// the visitor. It watches the frames that pass, and ends when both sides have closed: this
// client tells no end of the service's, so the visitor would wait for one.
type webSocket struct {
	conn  *conn // that to the service; set once
	outer *net.TCPConn
	cut   chan struct{} // closed when it must end
	end   func()        // closes cut, once
	moved atomic.Int64  // when bytes passed last, in ns since 1970

	mu          sync.Mutex
	fromService frames // under mu
	fromVisitor frames // under mu

	serviceClosed chan struct{} // closed when the service's close frame has passed
}

func newWebSocket(c *conn) *webSocket {
	w := &webSocket{conn: c, cut: make(chan struct{}), serviceClosed: make(chan struct{})}
	w.end = sync.OnceFunc(func() { close(w.cut) })
	return w
}

// isWebSocket reports whether a service has agreed to speak as a WebSocket.
func isWebSocket(head *http1.Answer) bool {
	return head.Status == http.StatusSwitchingProtocols && slices.ContainsFunc(head.Fields, func(f messages.Field) bool {
		return f.Name == "Upgrade" && strings.EqualFold(f.Value, "websocket")
	})
}

// A joined is the stream of a webSocket, as those see it who may end it.
type joined struct {
	*tunnel.Stream
	ws *webSocket
}

// LastMoved returns when bytes passed last.
func (j joined) LastMoved() time.Time { return time.Unix(0, j.ws.moved.Load()) }

// Abort ends it. The service is told.
func (j joined) Abort(messages.CloseReason) { j.ws.end() }

// join lets bytes pass until either side has ended.
func (w *webSocket) join(outer *net.TCPConn, ended func()) messages.Stream {
	w.outer = outer
	w.touch()
	log := w.conn.mux.Host().Log()
	up, down := make(chan struct{}), make(chan struct{})
	wsock.StartPump(log, "WebSocket up", w.passUp, func() { close(up) })
	wsock.StartPump(log, "WebSocket down", w.passDown, func() { close(down) })
	wsock.StartPump(log, "WebSocket", func() {
		select {
		case <-up:
		case <-down:
		case <-w.conn.Stream().Done(): // the tunnel has ended it
			w.end()
		case <-w.cut:
		}
		w.conn.Close(messages.CloseEOF) // which waits for End
		_ = outer.SetDeadline(wsock.LongAgo)
		<-up
		<-down
	}, func() {
		w.hangUp()
		w.conn.End(service.OutcomeBroken)
		ended()
	})
	return joined{w.conn.Stream(), w}
}

// hangUp closes the visitor's connection: by a reset if it was cut, else such that
// the visitor gets all that was sent.
func (w *webSocket) hangUp() {
	c := new(outside.Conn)
	c.Init(w.outer)
	select {
	case <-w.cut:
		c.Cut()
	default:
		c.DiscardOnClose()
		c.Close()
	}
}

// passUp passes on what the visitor sends.
func (w *webSocket) passUp() {
	in, err := wsock.NewReader(w.outer, 0)
	if err != nil {
		return
	}
	for !w.bothClosed() {
		buf, n, err := in.Read()
		if err != nil {
			return
		}
		_, err = w.fromOutside(buf[:n])
		wsock.GiveBuffer(buf)
		if err != nil {
			return
		}
	}
}

// passDown passes on what the service sends.
func (w *webSocket) passDown() {
	for !w.bothClosed() {
		chunk, err := w.conn.Pipe.Next(nil)
		if err != nil {
			return
		}
		_, err = w.outer.Write(chunk)
		w.heard(chunk)
		w.conn.Passed(chunk)
		if err != nil {
			return
		}
	}
}

func (w *webSocket) touch() { w.moved.Store(time.Now().UnixNano()) }

// heard follows what comes from the service.
func (w *webSocket) heard(p []byte) {
	w.touch()
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.fromService.closed
	if w.fromService.read(p); w.fromService.closed && !before {
		close(w.serviceClosed)
	}
}

// fromOutside sends what comes from the visitor, and follows it.
func (w *webSocket) fromOutside(p []byte) (int, error) {
	w.touch()
	n, err := w.conn.Pipe.Write(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fromVisitor.read(p[:n])
	return n, err
}

func (w *webSocket) bothClosed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fromService.closed && w.fromVisitor.closed
}

// closedByVisitor reports whether the service has been sent a close frame.
func (w *webSocket) closedByVisitor() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fromVisitor.closed
}

// atBoundary reports whether what the service was sent ends where a frame does.
func (w *webSocket) atBoundary() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fromVisitor.left == 0 && len(w.fromVisitor.head) == 0
}

// goingAway is a masked close frame with code 1001 (RFC 6455, section 7.4.1).
var goingAway = []byte{0x88, 0x82, 0x5a, 0xa5, 0x3c, 0xc3, 0x03 ^ 0x5a, 0xe9 ^ 0xa5}

// frames follows a stream of WebSocket frames, masked or not (RFC 6455, section
// 5.2). What is no frame it takes for one: nothing depends on it but whether a
// close frame is found.
type frames struct {
	head   []byte // of the frame under way, while it is not complete
	left   uint64 // payload bytes of the frame that are still to come
	closes bool   // the frame under way is a close frame
	closed bool   // a close frame has passed whole
}

func (f *frames) read(b []byte) {
	for len(b) > 0 {
		if f.left == 0 && !f.header(&b) {
			return
		}
		n := min(f.left, uint64(len(b)))
		f.left -= n
		b = b[n:]
		if f.left == 0 {
			f.closed = f.closed || f.closes
		}
	}
}

// header takes a frame's header off b, and reports whether it is complete.
func (f *frames) header(b *[]byte) bool {
	for {
		need := 2
		if len(f.head) >= 2 {
			switch f.head[1] & 0x7f {
			case 126:
				need += 2
			case 127:
				need += 8
			}
			need += 4 * int(f.head[1]>>7)
		}
		if len(f.head) == need {
			break
		}
		n := min(need-len(f.head), len(*b))
		if n == 0 {
			return false
		}
		f.head = append(f.head, (*b)[:n]...)
		*b = (*b)[n:]
	}
	f.left = uint64(f.head[1] & 0x7f)
	switch f.left {
	case 126:
		f.left = uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 127:
		f.left = binary.BigEndian.Uint64(f.head[2:])
	}
	const opClose = 0x8
	f.closes = f.head[0]&0x0f == opClose
	f.head = f.head[:0]
	if f.left == 0 {
		f.closed = f.closed || f.closes
	}
	return true
}
