package relay

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/kernel"
	"wsproxy/transport/wsock/rest"
)

// An upstream is the target's side of a pair: plain TCP, or a service behind
// Cloudflare Access. One goroutine reads and one writes; the other methods may
// be called from any.
type upstream interface {
	// afresh has readPair return [wsock.ErrAfresh] where it would wait for long in a
	// goroutine that has grown, if it can tell.
	afresh()
	// again has start called when the pump, which has ended because of a
	// [wsock.ErrAfresh] of readPair or readChunk, is to go on.
	again(start func())
	// readChunk waits for bytes that go to a client as they are, holding no buffer
	// meanwhile. io.EOF means that the target has ended its stream.
	readChunk() (wsock.Chunk, error)
	// readPair is readChunk for bytes that are kept: in a buffer, or in two if much is
	// expected, of which the second may be empty.
	readPair(much bool) (first, second wsock.Chunk, err error)
	// write passes bytes on. boundary says that they end a client's message.
	write(p []byte, boundary bool) error
	// try is write without waiting: it returns how many bytes were passed on.
	try(p []byte, boundary bool) (n int, err error)
	// broke reports whether a write found that the target had reset the
	// connection: the reader then may see an end like any other. It waits for
	// the write under way, which a deadline in the past ends.
	broke() bool
	// closeWrite tells the target that no more bytes will come.
	closeWrite()
	// drain reads on, to no purpose, until the target's end or a deadline.
	// read may have ended by a deadline before.
	drain()
	// raw returns the TCP connection below.
	raw() (syscall.RawConn, error)
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
	Close() error
	// abort closes the connection so that it does not look ended to the target.
	abort()
}

// A tcpUpstream is a target behind plain TCP.
type tcpUpstream struct {
	rest.Conn
	reader *wsock.Reader
	writer *wsock.TryWriter // under turn: of try, which most sessions never call; nil until then
	turn   sync.Mutex       // held by write
	reset  bool             // under turn: a write found the connection reset
}

func newTCPUpstream(conn *net.TCPConn) (*tcpUpstream, error) {
	wsock.BoundSendBuffer(conn, wsock.SendBuffer)
	u := &tcpUpstream{Conn: rest.Conn{TCPConn: conn}}
	var err error
	u.reader, err = wsock.NewReader(&u.Conn, wsock.ServerHeader)
	return u, err
}

func (u *tcpUpstream) afresh() { u.reader.Afresh() }

func (u *tcpUpstream) again(start func()) { u.reader.Again(start) }

func (u *tcpUpstream) read() (*wsock.Buffer, int, error) { return u.reader.Read() }

func (u *tcpUpstream) readChunk() (wsock.Chunk, error) { return u.reader.ReadChunk() }

func (u *tcpUpstream) readPair(much bool) (first, second wsock.Chunk, err error) {
	if much {
		return u.reader.ReadPair()
	}
	buf, n, err := u.read()
	return wsock.InBuffer(buf, n), wsock.Chunk{}, err
}

func (u *tcpUpstream) write(p []byte, _ bool) error {
	u.turn.Lock()
	defer u.turn.Unlock()
	_, err := kernel.Send(u.reader.Raw(), p)
	u.reset = u.reset || isReset(err)
	return err
}

func (u *tcpUpstream) try(p []byte, _ bool) (n int, err error) {
	u.turn.Lock()
	defer u.turn.Unlock()
	if u.writer == nil {
		if u.writer, err = wsock.NewTryWriter(u.TCPConn); err != nil {
			return 0, err
		}
	}
	n, err = u.writer.Try(p)
	u.reset = u.reset || isReset(err)
	return n, err
}

func (u *tcpUpstream) broke() bool {
	u.turn.Lock()
	defer u.turn.Unlock()
	return u.reset
}

func (u *tcpUpstream) closeWrite() {
	_ = u.CloseWrite() // fails only if the connection is gone, which its reader finds
}

func (u *tcpUpstream) abort() {
	_ = u.SetLinger(0)
	u.Close()
}

func (u *tcpUpstream) raw() (syscall.RawConn, error) { return u.reader.Raw(), nil }

func (u *tcpUpstream) drain() { _, _ = io.Copy(io.Discard, &u.Conn) }

// isReset reports whether an error of a TCP connection means that it broke,
// rather than that it ended, for which EPIPE stands, or that a deadline passed.
func isReset(err error) bool {
	if err == nil {
		return false // without the allocation that errno is
	}
	var errno syscall.Errno
	return errors.As(err, &errno) && errno != syscall.EPIPE
}
