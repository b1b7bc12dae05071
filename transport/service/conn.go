package service

import (
	"errors"
	"io"
	"net"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/http1"
	"wsproxy/transport/tunnel"
)

// A Conn is a connection over which a service is spoken to. One goroutine reads it,
// and one writes to it; any may close it. It serves one request at a time: from
// Begin to End it is that one's. All methods that are those of a [tunnel.Pipe] mean
// what they mean there, but for what is said here.
type Conn interface {
	Room(least int) ([]byte, error)
	Send(from, to int)
	Write(b []byte) (n int, err error)
	Next(stop <-chan struct{}) ([]byte, error)
	Waits() bool
	Passed(chunk []byte)
	Idle(happens func()) bool
	Use() bool

	// Begin notes that a request uses the connection, which was idle for so long
	// before; 0 if it is new. once says that the request must not reach the service
	// twice. If Begin returns true, all of the request's head must go through one
	// Write, which may return [ErrUnsent].
	Begin(idle time.Duration, once bool) (whole bool)
	// Answered has the head of the answer, which is no interim one, and what has come
	// behind it. sent says that the request was sent whole. The reader calls it.
	Answered(head *http1.Answer, rest []byte, sent bool)
	// End ends the use. Reader and writer have come to rest. Called once for each
	// Begin, unless Join has returned a stream.
	End(outcome Outcome)
	// Close ends the connection. Room, Write and Next return an error from now on. A
	// connection in use may say more to its service once that has come to its End.
	Close(reason messages.CloseReason)
	// Join makes one connection of this one and that of an outside client. nil if it
	// is over; then End has yet to be called. After that ended is called, and the use has ended.
	Join(conn *net.TCPConn, ended func()) messages.Stream
}

// ErrUnsent says that a service had ended the connection before the request: nothing
// was sent of which it can make anything, so the request may go over another one.
var ErrUnsent = errors.New("the service had ended the connection before the request")

// HasEnded reports whether an error of a connection says that it has ended by itself, as
// far as this side goes.
func HasEnded(err error) bool {
	var end *messages.EndError
	if errors.As(err, &end) {
		switch end.Reason {
		case messages.CloseClient, messages.CloseClientReset, messages.CloseEOF:
			return true
		}
	}
	return err == io.EOF
}

// An Outcome is how a connection's use ended.
type Outcome uint8

// The outcomes of a use.
const (
	OutcomeBroken Outcome = iota // the service has a part of a request, or the connection has become something else
	OutcomeKept                  // the request was answered, and the service waits for the next
	OutcomeLast                  // the request was answered, and the service closes the connection
	OutcomeLeft                  // the service has the whole request, and nobody wants the answer, or its rest
)

// Plain is a Conn of a client that tells all ends: nobody has to know what it is used for.
type Plain struct{ *tunnel.Pipe }

// OpenPlain opens a connection from peer over which protocol is spoken. The error is
// that of [tunnel.Mux.OpenPipe].
func OpenPlain(mux *tunnel.Mux, peer, protocol string) (Conn, error) {
	pipe, err := mux.OpenPipe(peer, protocol, mux.HTTPTimeout())
	if err != nil {
		return nil, err
	}
	return Plain{pipe}, nil
}

// Begin does nothing.
func (Plain) Begin(time.Duration, bool) (whole bool) { return false }

// Answered does nothing.
func (Plain) Answered(*http1.Answer, []byte, bool) {}

// End does nothing.
func (Plain) End(Outcome) {}

// Join is [tunnel.Pipe.Join].
func (p Plain) Join(conn *net.TCPConn, ended func()) messages.Stream {
	if stream := p.Pipe.Join(conn, ended); stream != nil {
		return stream
	}
	return nil
}
