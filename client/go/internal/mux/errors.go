package mux

import (
	"errors"
	"io"
	"net"
	"strconv"
	"syscall"

	"wsproxy/messages"
)

// An Error says that a connection broke, and why. For [errors.Is] it is
// [syscall.ECONNRESET], and whatever Err is.
type Error struct {
	// Reason is the server's: reset, limit, slow, unknown, restart or shutdown.
	// It is "tunnel" if the tunnel has ended, and "overrun" if the server sent
	// more than it had credit for.
	Reason string
	// Err is why the tunnel ended. It is nil for other reasons, and if the tunnel
	// was closed here.
	Err error
}

const (
	reasonTunnel  = "tunnel"
	reasonOverrun = "overrun"
)

func (e *Error) Error() string {
	switch e.Reason {
	case string(messages.CloseReset):
		return "the outside peer's connection broke (reset)"
	case string(messages.CloseLimit):
		return "the server says that more was sent than it gave credit for (limit)"
	case string(messages.CloseSlow):
		return "the outside peer has taken nothing for too long (slow)"
	case string(messages.CloseUnknown):
		return "the server knows nothing of this connection (unknown)"
	case string(messages.CloseRestart):
		return "the server had a failure and ended the tunnel's connections (restart)"
	case string(messages.CloseShutdown):
		return "the server is shutting down (shutdown)"
	case reasonOverrun:
		return "the server sent more than it had credit for (overrun)"
	case reasonTunnel:
		if e.Err == nil {
			return "the tunnel was closed"
		}
		return "the tunnel has ended: " + e.Err.Error()
	}
	return "the server ended the connection: " + strconv.Quote(e.Reason)
}

func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{syscall.ECONNRESET}
	}
	return []error{syscall.ECONNRESET, e.Err}
}

// maxReason is how many bytes of a reason that the protocol doesn't have are kept.
const maxReason = 64

// brokeFor returns the error of a connection that the server ended by force.
func brokeFor(reason string) *Error {
	if reason == "" { // there is always one
		reason = string(messages.CloseReset)
	}
	return &Error{Reason: reason[:min(len(reason), maxReason)]}
}

// ErrProtocol is of a server that says what no server may. The session is ended
// with 1002.
var ErrProtocol = errors.New("the server broke the tunnel's protocol")

// opError is err as a connection's method returns it. The end of the stream is
// io.EOF itself.
func (s *Stream) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: network, Source: s.LocalAddr(), Addr: s.remote, Err: err}
}
