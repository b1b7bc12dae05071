package messages

// A CloseReason is why a raw connection ended: what tcp_close says, or what
// only log and metrics do. It never holds foreign text.
type CloseReason string

// The reasons of the proxy's tcp_close: fixed by the protocol.
const (
	CloseEOF      CloseReason = "eof"      // the outside peer ended its stream
	CloseReset    CloseReason = "reset"    // the outside connection broke
	CloseLimit    CloseReason = "limit"    // the client sent more than its credit
	CloseSlow     CloseReason = "slow"     // the outside peer stalled the tunnel
	CloseUnknown  CloseReason = "unknown"  // there is no such connection
	CloseRestart  CloseReason = "restart"  // the tunnel's handler failed and began anew
	CloseShutdown CloseReason = "shutdown" // the server is shutting down
)

// Reasons that are only for log and metrics: the client knows, because it has
// ended the connection itself, or is gone.
const (
	CloseClient      CloseReason = "client_closed" // the client closed the connection
	CloseClientReset CloseReason = "client_reset"  // the client closed it with the reason reset
	CloseRefused     CloseReason = "refused"       // the client has no service for it
	CloseTunnelEnded CloseReason = "tunnel_ended"  // its tunnel ended, and not for a shutdown
)

// CloseIdle is for log and metrics: nothing came either way for
// TUNNEL_TCP_IDLE_TIMEOUT. The protocol's list has no such reason; the client is
// told that the connection was reset, as it was.
const CloseIdle CloseReason = "idle"

// wire returns the reason that tcp_close gives.
func (r CloseReason) wire() CloseReason {
	if r == CloseIdle {
		return CloseReset
	}
	return r
}

// IsTold reports whether the client is told of an end for this reason, by
// tcp_close.
func (r CloseReason) IsTold() bool {
	switch r {
	case CloseEOF, CloseReset, CloseLimit, CloseSlow, CloseUnknown, CloseRestart, CloseShutdown, CloseIdle:
		return true
	}
	return false
}

// The reasons of the client's tcp_close that mean something with flow=credit:
// fixed by the protocol. Any other, and none, is the end of both directions.
const (
	ClientEOF     = "eof"     // the client sends no more; the other direction goes on
	ClientReset   = "reset"   // the outside connection is to be reset
	ClientRefused = "refused" // there is no service: the outside connection is to be reset
)
