package wsproxy

import (
	"io"
	"net"
	"time"

	"wsproxy/client/go/internal/mux"
)

// A Stream is one connection of a [Tunnel]. It is a [net.Conn]: any goroutine may
// call any method, deadlines included. It outlives the tunnel's WebSocket as the tunnel
// does; meanwhile Read and Write wait.
//
// A Stream that is not read stops its own peer and nobody else: 256 KiB wait
// for the reader, or up to 8 MiB for one that has been fast. Of what is written up to 128 KiB
// wait, then Write does. Streams take turns that are counted in bytes, and who had
// nothing to send goes first.
type Stream struct{ s *mux.Stream }

// A StreamError is of a connection that broke, behind all that came before.
// [errors.Is] takes it for [syscall.ECONNRESET]. Its fields:
//
//	Reason string // reset: by the outside peer; slow: that one took nothing; restart, shutdown: of
//	              // the server; limit, unknown, overrun: a mistake of one side; tunnel: with the tunnel
//	Err    error  // why the tunnel ended, if that is the reason and it was not closed here
type StreamError = mux.Error

var _ net.Conn = (*Stream)(nil)

// Read reads what the outside peer has sent. The error is [io.EOF] when that has
// ended its sending side, and wraps a [*StreamError] when the connection broke.
func (s *Stream) Read(p []byte) (int, error) { return s.s.Read(p) }

// Write returns when p waits to be sent. What it returned nil for is sent also
// after Close, unless the connection or the tunnel breaks.
func (s *Stream) Write(p []byte) (int, error) { return s.s.Write(p) }

// A TryWriter is a writer that [Stream.WriteTo] mostly spares a change of goroutines:
//
//	TryWrite(p []byte) int // writes what it can of p without waiting, and returns how much
//
// It is called by the goroutine that receives what comes for all streams, which all wait for it,
// and never at the same time as Write. What it leaves is given to Write, which may wait.
type TryWriter = mux.TryWriter

// WriteTo writes to w what the outside peer sends, until its end, which is no error: for
// [io.Copy]. It holds no buffer while nothing comes. w may be a [TryWriter].
func (s *Stream) WriteTo(w io.Writer) (int64, error) { return s.s.WriteTo(w) }

// ReadFrom writes what r has, until its end, which is no error: for [io.Copy]. It spares a
// copy of what comes in large pieces.
func (s *Stream) ReadFrom(r io.Reader) (int64, error) { return s.s.ReadFrom(r) }

// CloseWrite ends the sending side behind what was written. The outside peer of
// a raw connection reads the end and may send on. To a connection of HTTP it is the end
// of both directions, as a service's is, but what has come can still be read.
func (s *Stream) CloseWrite() error { return s.s.CloseWrite() }

// Close ends the connection and returns at once. What was written is still
// delivered, in the background. If something has come on a raw connection that was not read, the
// peer reads a reset instead of the end, as from TCP: it must not take that for received.
func (s *Stream) Close() error { return s.s.Close() }

// Reset resets the outside connection: what it has not got is lost, and what it
// has does not look whole. It may follow Close.
func (s *Stream) Reset() error { return s.s.Reset() }

// Refuse says that there is no service for the connection. A client of HTTP reads
// status 502 with a sentence that says so, a peer of a raw connection a reset.
func (s *Stream) Refuse() error { return s.s.Refuse() }

// HTTP reports whether the server is an HTTP/1.1 client on the connection. Else it
// is that of an outside peer of [Tunnel.RawAddr].
func (s *Stream) HTTP() bool { return s.s.HTTP() }

// LocalAddr returns the public address that the connection came to.
func (s *Stream) LocalAddr() net.Addr { return s.s.LocalAddr() }

// RemoteAddr returns the outside peer's address, a [*net.TCPAddr]. Over HTTP it
// is that of the request which opened the connection: later ones say theirs in
// X-Forwarded-For.
func (s *Stream) RemoteAddr() net.Addr { return s.s.RemoteAddr() }

// SetDeadline sets both deadlines.
func (s *Stream) SetDeadline(t time.Time) error { return s.s.SetDeadline(t) }

// SetReadDeadline sets when Read gives up, with [os.ErrDeadlineExceeded]; the zero
// Time is never.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.s.SetReadDeadline(t) }

// SetWriteDeadline sets when Write gives up. What it has taken until then is sent.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.s.SetWriteDeadline(t) }
