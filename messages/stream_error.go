package messages

import "errors"

// Reasons why nothing moves through a stream that is not over, to or from this process.
var (
	// ErrStalled says that the client has taken nothing of what waits for it for
	// too long.
	ErrStalled = errors.New("the tunnel's client takes nothing")
	// ErrStopped says that the reader wants no more.
	ErrStopped = errors.New("nobody waits for the tunnel's client")
)

// An EndError says that such a stream is over, and why.
type EndError struct {
	// Reason is that of the stream's first Abort; CloseTunnelEnded if the client
	// has gone, and CloseClient if it has closed the stream.
	Reason CloseReason
}

func (e *EndError) Error() string {
	return "the connection through the tunnel has ended: " + string(e.Reason)
}
