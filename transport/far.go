package transport

import (
	"io"
	"net"
	"sync"
	"time"
)

// A far is the far side of a line: the target, behind plain TCP or behind
// Cloudflare Access. One goroutine reads and one writes; the other methods may
// be called from any.
type far interface {
	// read waits for bytes, holding no buffer meanwhile, and returns n of them
	// at buf[serverHeader:]. The caller gives buf back. io.EOF means that the
	// target has ended its stream.
	read() (buf *buffer, n int, err error)
	// write passes bytes on. boundary says that they end a client's message.
	write(p []byte, boundary bool) error
	// broke reports whether a write found that the target had reset the
	// connection: the reader then may see an end like any other. It waits for
	// the write under way, which a deadline in the past ends.
	broke() bool
	// boundaries reports whether write wants to know where messages end.
	boundaries() bool
	// closeWrite tells the target that no more bytes will come.
	closeWrite()
	// drain reads on, to no purpose, until the target's end or the deadline.
	// read may have ended by a deadline before.
	drain()
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
	Close() error
}

// A tcpFar is a target behind plain TCP.
type tcpFar struct {
	*net.TCPConn
	reader *reader
	turn   sync.Mutex // held by write
	reset  bool       // under turn: a write found the connection reset
}

func newTCPFar(conn *net.TCPConn) (*tcpFar, error) {
	r, err := newReader(conn, serverHeader)
	if err != nil {
		return nil, err
	}
	return &tcpFar{TCPConn: conn, reader: r}, nil
}

func (f *tcpFar) read() (*buffer, int, error) { return f.reader.read() }
func (f *tcpFar) boundaries() bool            { return false }

func (f *tcpFar) write(p []byte, _ bool) error {
	f.turn.Lock()
	defer f.turn.Unlock()
	_, err := f.Write(p)
	f.reset = f.reset || isReset(err)
	return err
}

func (f *tcpFar) broke() bool {
	f.turn.Lock()
	defer f.turn.Unlock()
	return f.reset
}

func (f *tcpFar) closeWrite() {
	_ = f.CloseWrite() // fails only if the connection is gone, which its reader finds
}

func (f *tcpFar) drain() { _, _ = io.Copy(io.Discard, f.TCPConn) }
