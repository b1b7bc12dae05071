package wsproxy

import (
	"wsproxy/client/go/internal/session"
	"wsproxy/client/go/internal/socket"
)

// A RefusedError is a handshake that the server has answered by HTTP: a bad
// token (Status 401), an origin that is not allowed or a blocked target (403), a
// limit (429), a server that drains (503). Its fields:
//
//	Status     int           // of the answer
//	Sentence   string        // the server's own: up to 512 bytes, without control characters; may be empty
//	RetryAfter time.Duration // what the server asked for, 0 if nothing
type RefusedError = socket.RefusedError

// A CloseError is a connection or a tunnel that the server has ended otherwise
// than in order, such as with 1008 (the target turned out to be blocked) or 1011
// (it can't be reached, or has reset the connection). Its fields:
//
//	Code   int    // of RFC 6455, or the server's own
//	Reason string // the server's own words, without control characters; may be empty
type CloseError = socket.CloseError

var (
	// ErrReplaced is of a session that somebody else has taken over, or of a tunnel
	// whose name another one has now. It doesn't help to try again.
	ErrReplaced = session.ErrReplaced
	// ErrSessionLost is of a session that could not be taken up: the server doesn't
	// have it any more, or could not be reached for as long as it keeps one.
	ErrSessionLost = session.ErrLost
)
