package gossh

import (
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"wsproxy/transport/wsock"
)

// A webSocket is a connection to a service that has become a WebSocket. It
// watches the frames that pass, and ends when both sides have closed: this
// client tells no end of the service's, so the visitor would wait for one.
//
// net/http's proxy reads in one goroutine and writes in another, both of which
// may still be at it when the connection is closed.
type webSocket struct {
	io.ReadWriteCloser
	conn *conn // which that is; set once

	reading sync.Mutex // held while the service's bytes are read and followed
	writing sync.Mutex // held while the visitor's bytes are written and followed
	stopped bool       // under both: the visitor has gone

	mu          sync.Mutex
	fromService frames // under mu
	fromVisitor frames // under mu

	serviceClosed chan struct{} // closed when the service's close frame has passed
}

func newWebSocket(stream io.ReadWriteCloser, c *conn) *webSocket {
	return &webSocket{ReadWriteCloser: stream, conn: c, serviceClosed: make(chan struct{})}
}

var errClosed = errors.New("the WebSocket is closed")

func isWebSocket(answer *http.Response) bool {
	return strings.EqualFold(answer.Header.Get("Upgrade"), "websocket")
}

func (w *webSocket) Read(p []byte) (int, error) {
	w.reading.Lock()
	defer w.reading.Unlock()
	if w.stopped || w.bothClosed() {
		return 0, errClosed
	}
	n, err := w.ReadWriteCloser.Read(p)
	w.heard(p[:n])
	if err != nil && w.bothClosed() {
		err = errClosed
	}
	return n, err
}

// heard follows what comes from the service.
func (w *webSocket) heard(p []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.fromService.closed
	if w.fromService.read(p); w.fromService.closed && !before {
		close(w.serviceClosed)
	}
}

func (w *webSocket) Write(p []byte) (int, error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	if w.stopped {
		return 0, errClosed
	}
	n, err := w.ReadWriteCloser.Write(p)
	w.mu.Lock()
	w.fromVisitor.read(p[:n])
	w.mu.Unlock()
	if w.bothClosed() {
		_ = w.conn.SetReadDeadline(wsock.LongAgo) // ends the read that waits
	}
	return n, err
}

// stop lets no more bytes pass. What the visitor has sent may so end in the
// middle of a frame.
func (w *webSocket) stop() {
	_ = w.conn.SetDeadline(wsock.LongAgo) // ends the calls that wait
	w.reading.Lock()
	defer w.reading.Unlock()
	w.writing.Lock()
	defer w.writing.Unlock()
	w.stopped = true
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
