package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// An insideConn is the outside end of a raw connection that this process has
// opened itself, to carry HTTP as bytes. Its other end is a stream like any
// other: the client sees no difference.
//
// It serves one request at a time, each a visit. How the last one ended says
// what must be done at the end. gossh-wasm takes no notice of tcp_close; it
// lets a connection, and one of its few slots, go when it fails to write to a
// service that has ended. So an ended service is written to.
type insideConn struct {
	*net.UnixConn
	stream *stream
	link   *link
	visit  atomic.Pointer[visit] // the latest
	closed atomic.Bool
}

// A visit is one request's use of an insideConn.
type visit struct {
	conn    *insideConn
	over    chan struct{} // closed at its end
	outcome visitOutcome  // set before over is closed
	probe   atomic.Bool   // the connection may have ended; until the first write
}

type visitOutcome uint8

const (
	visitBroken visitOutcome = iota // it was given up: nobody knows what the service does
	visitKept                       // it was answered, and the service waits for the next request
	visitLast                       // it was answered, and the service closes the connection
)

// dial opens a raw connection of this process's own. peer is what the client
// is told of where it comes from.
func (l *link) dial(ctx context.Context, handler *actor.PID, peer string) (*insideConn, error) {
	select {
	case l.accepts <- struct{}{}:
	case <-l.stop:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	near, far, err := socketPair()
	if err != nil {
		<-l.accepts
		return nil, err
	}
	s := newStream(l, far, peer)
	l.tools.root.Send(handler, &messages.Accepted{Stream: s})
	return &insideConn{UnixConn: near, stream: s, link: l}, nil
}

// socketPair returns two sockets that are connected with each other.
func socketPair() (near, far *net.UnixConn, err error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	var conns [2]*net.UnixConn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "inside")
		conn, fileErr := net.FileConn(file) // a duplicate
		file.Close()
		if fileErr != nil {
			err = fileErr
			continue
		}
		conns[i] = conn.(*net.UnixConn)
	}
	if err != nil {
		for _, conn := range conns {
			if conn != nil {
				conn.Close()
			}
		}
		return nil, nil, err
	}
	return conns[0], conns[1], nil
}

var errUnasked = errors.New("the service sends without having been asked")

// Read tells an end that is none: what the stream has aborted must not be
// taken for a whole answer.
func (c *insideConn) Read(p []byte) (int, error) {
	n, err := c.UnixConn.Read(p)
	switch {
	case c.closed.Load():
		return 0, net.ErrClosed
	case errors.Is(err, io.EOF) && c.stream.Ended() != "":
		return 0, io.ErrUnexpectedEOF
	}
	if v := c.visit.Load(); n > 0 && v != nil {
		select {
		case <-v.over:
			return 0, errUnasked // net/http would log it, byte by byte
		default:
		}
	}
	return n, err
}

// Write sends the beginning of a request by itself over a connection that was
// kept for a while: if the service has ended it, its host answers that with a
// reset, and the client finds out when it writes the rest. So a request is
// either whole and read, or in part and lost, and never waits for an answer of
// a service that is gone.
func (c *insideConn) Write(p []byte) (int, error) {
	const first = 4 // bytes: no request is shorter
	v := c.visit.Load()
	if v == nil || len(p) <= first || !v.probe.CompareAndSwap(true, false) {
		return c.UnixConn.Write(p)
	}
	n, err := c.UnixConn.Write(p[:first])
	if err != nil {
		return n, err
	}
	c.ends(probePause)
	m, err := c.UnixConn.Write(p[first:])
	return n + m, err
}

const (
	// probeAfter is for how long a connection was kept when it may have ended
	// without a word: services wait much longer for the next request.
	probeAfter = 100 * time.Millisecond
	// probePause is how long the service's host has to answer with a reset. It
	// is near the host where the client's SSH session ends, mostly the same.
	probePause = 20 * time.Millisecond
)

// begin notes that a request uses the connection; probe is whether that may
// have ended meanwhile.
func (c *insideConn) begin(probe bool) *visit {
	v := &visit{conn: c, over: make(chan struct{})}
	v.probe.Store(probe)
	c.visit.Store(v)
	return v
}

func (v *visit) end(outcome visitOutcome) {
	v.outcome = outcome
	close(v.over)
}

// Close takes leave of the client, which may take a moment.
func (c *insideConn) Close() error {
	if !c.closed.CompareAndSwap(false, true) {
		return net.ErrClosed
	}
	startPump(c.link.tools.log, "inside leave", c.leave, func() { c.UnixConn.Close() })
	return nil
}

// leave makes the client let go of the connection, if it can be made to.
func (c *insideConn) leave() {
	outcome := visitKept // net/http may open one that no request comes to use
	if v := c.visit.Load(); v != nil {
		<-v.over
		outcome = v.outcome
	}
	switch outcome {
	case visitLast:
		c.nudge()
	case visitKept:
		c.part()
	}
}

const (
	// nudges is how many bytes are written to a service that has ended, at
	// most. The first makes its host answer with a reset, and a later one
	// fails: through a real SSH server the third. A page that is busy writes
	// several at once, which count as one; over six seconds they come apart.
	nudges = 7
	// nudgePause is how long after the answer's end the first is written, by
	// when the service has closed the connection. It is doubled each time.
	nudgePause = 50 * time.Millisecond
	// partPause is how long a service's host has to answer the first part of
	// the last request, and how often is looked for the answer to the whole.
	partPause = 150 * time.Millisecond
	// partLooks is for how many looks that is waited for. What is written after
	// it does no harm: it was the last request (RFC 9112, section 9.6).
	partLooks = 14
)

// nudge writes to a service that has ended, until the client finds out.
func (c *insideConn) nudge() {
	pause := nudgePause
	for range nudges {
		if c.ends(pause) {
			return
		}
		if _, err := c.UnixConn.Write([]byte{'\n'}); err != nil {
			return
		}
		pause *= 2
	}
	c.ends(pause)
}

// ends waits for the stream's end, which the client brings about, and reports
// whether it came.
func (c *insideConn) ends(within time.Duration) bool {
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-c.stream.done:
		return true
	case <-late.C:
		return false
	}
}

// part ends a connection that waits for its next request: by a last one, which
// asks for nothing but the end. It goes in two parts, so that a service which
// has ended meanwhile is found out by the second.
func (c *insideConn) part() {
	_, before := c.stream.Moved()
	for _, piece := range []string{"OPTIONS * HTTP/1.1\r\n", "Host: localhost\r\nConnection: close\r\n\r\n"} {
		if _, err := c.UnixConn.Write([]byte(piece)); err != nil {
			return
		}
		if c.ends(partPause) {
			return
		}
	}
	for range partLooks {
		if _, after := c.stream.Moved(); after > before {
			break // it has answered, and ended
		}
		if c.ends(partPause) {
			return
		}
	}
	c.nudge()
}
