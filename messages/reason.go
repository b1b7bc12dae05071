package messages

import "strconv"

// A Reason says why a session ended or a request was refused. It is the value
// that log lines and metric labels carry, so it never holds foreign text.
type Reason string

// Reasons that a session ends for.
const (
	ReasonClientClosed  Reason = "client_closed"  // the client sent a close frame
	ReasonClientAborted Reason = "client_aborted" // the client of a session that outlives its WebSocket sent a close frame that is none of an orderly end
	ReasonClientGone    Reason = "client_gone"    // the client's TCP connection ended without a close frame
	ReasonClientSilent  Reason = "client_silent"  // nothing came from the client for two and a half ping intervals
	ReasonClientStalled Reason = "client_stalled" // a write to the client made no progress for two and a half ping intervals

	ReasonClientLost Reason = "client_lost" // a WebSocket is of no more use, and its session waits for another one

	ReasonTargetEnded       Reason = "target_ended"       // the target ended its stream
	ReasonTargetReset       Reason = "target_reset"       // the target reset the connection, or its WebSocket failed
	ReasonTargetUnreachable Reason = "target_unreachable" // no address of the target could be reached
	ReasonTargetBlocked     Reason = "target_blocked"     // the address was found blocked at the moment of dialling

	ReasonMessageTooBig Reason = "message_too_big" // a message of a tunnel's client above the limit
	ReasonTextMessage   Reason = "text_message"    // a text message where only binary ones mean something
	ReasonProtocolError Reason = "protocol_error"  // frames that RFC 6455 does not allow

	ReasonBadAck         Reason = "bad_ack"         // an ack that can't be read, or of what was never sent
	ReasonBeyondLimit    Reason = "beyond_limit"    // more than the client was granted, or something behind its eof
	ReasonUnknownMessage Reason = "unknown_message" // JSON on a relay that is none of a session that can be taken up
	ReasonResumeTimeout  Reason = "resume_timeout"  // it had lost its WebSocket, and nobody took it up within RESUME_TIMEOUT

	ReasonTokenExpired Reason = "token_expired" // the token that it was opened with, or renewed by, has expired (END_WITH_TOKEN)

	ReasonNameTaken Reason = "name_taken" // a later tunnel of the same name has come
	ReasonShutdown  Reason = "shutdown"   // the server is shutting down
	ReasonOperator  Reason = "operator"   // the operator has closed it
	ReasonTooOld    Reason = "too_old"    // it has lasted for MAX_SESSION_AGE
	ReasonInternal  Reason = "internal"   // a fault of the server's own
	ReasonAbandoned Reason = "abandoned"  // the client went away, or did not upgrade, before the session began
)

// Reasons that a WebSocket of a session ends for, which goes on without it, or that
// one is closed for which would have taken a session up.
const (
	ReasonTakenOver    Reason = "taken_over"    // another WebSocket has taken the session up
	ReasonNoSession    Reason = "no_session"    // unknown, over, of the other endpoint, or another user's
	ReasonOldAttempt   Reason = "old_attempt"   // the attempt's number is not above the last accepted one, or none
	ReasonNotContinued Reason = "not_continued" // the client's position was never sent, is not kept any more, or is none
)

// Reasons that a request is refused for, before any upgrade.
const (
	ReasonOrigin        Reason = "origin"
	ReasonBadTarget     Reason = "bad_target"
	ReasonTargetRefused Reason = "target_refused" // blocked, port not allowed, or a name that does not resolve
	ReasonAddressLimit  Reason = "address_limit"
	ReasonUserLimit     Reason = "user_limit"
	ReasonLookupLimit   Reason = "lookup_limit"
	ReasonDraining      Reason = "draining"
	ReasonNotWebSocket  Reason = "not_websocket"
	ReasonEarlyBytes    Reason = "early_bytes"    // bytes came with the handshake
	ReasonBadRequest    Reason = "bad_request"    // net/http can't read the request, for instance a stray % in its path
	ReasonHeaderTooBig  Reason = "header_too_big" // of the request
	ReasonNoTunnels     Reason = "no_tunnels"
	ReasonConnLimit     Reason = "conn_limit"    // too many connections to the HTTP listener, none of them idle
	ReasonConnIdle      Reason = "conn_idle"     // an idle connection to the HTTP listener gave way to a new one
	ReasonProxyHeader   Reason = "proxy_header"  // a proxy's connection does not begin with a header of the PROXY protocol, or not in time
	ReasonTLSHandshake  Reason = "tls_handshake" // a connection did not get through its TLS handshake
)

// Reasons that an HTTP request to a tunnel is refused or given up for.
const (
	ReasonHTTPLimit      Reason = "http_limit"      // the source address has too many under way
	ReasonHTTPShare      Reason = "http_share"      // the source address has too many under way in this tunnel
	ReasonTunnelBusy     Reason = "tunnel_busy"     // the tunnel has too many under way
	ReasonGaveWay        Reason = "gave_way"        // its slot went to another source address, which has fewer; of a session that waited for a WebSocket, to a new one of its user
	ReasonMemory         Reason = "memory"          // the byte budget of all tunnels is used up
	ReasonTunnelGone     Reason = "tunnel_gone"     // the tunnel ended before the answer
	ReasonRestarted      Reason = "restarted"       // the tunnel's handler failed and began anew
	ReasonBodyTooBig     Reason = "body_too_big"    // above TUNNEL_MAX_BODY
	ReasonBodyBad        Reason = "body_bad"        // the request's body is malformed, or was cut short
	ReasonBodyLate       Reason = "body_late"       // the request's body took longer than TUNNEL_HTTP_TIMEOUT, or paused for too long
	ReasonBadAnswer      Reason = "bad_answer"      // the client's response can't be passed on
	ReasonAnswerTooBig   Reason = "answer_too_big"  // the client's response is longer than a message may be
	ReasonAnswerHeaders  Reason = "answer_headers"  // the response has more headers than pass
	ReasonAnswerLate     Reason = "answer_late"     // no answer within TUNNEL_HTTP_TIMEOUT
	ReasonServiceRefused Reason = "service_refused" // the client has no service for it
	ReasonServiceEnded   Reason = "service_ended"   // the service's connection ended before the answer's head
	ReasonRawLimit       Reason = "raw_limit"       // all tunnels together have too many raw connections
	ReasonRawFull        Reason = "raw_full"        // the tunnel has too many raw connections
	ReasonRawAddress     Reason = "raw_address"     // the source address has too many raw connections of this tunnel
	ReasonRawTunnel      Reason = "raw_tunnel"      // the tunnel has its part of the raw connections of all
	ReasonRawUser        Reason = "raw_user"        // the user's tunnels have their part of the raw connections of all
	ReasonNoTunnel       Reason = "no_tunnel"       // there is no such tunnel
	ReasonBadControl     Reason = "bad_control"     // an unknown value of control, flow, http or raw, or values that exclude each other
	ReasonBadHost        Reason = "bad_host"        // host is none that a Host header may have
	ReasonBadName        Reason = "bad_name"        // name is none that a tunnel may have
)

// WebSocket close codes that the server sends (RFC 6455, section 7.4.1).
const (
	CloseNormal        = 1000
	CloseGoingAway     = 1001
	CloseProtocolError = 1002
	CloseUnsupported   = 1003
	ClosePolicy        = 1008
	CloseTooBig        = 1009
	CloseInternal      = 1011
)

// Close codes of the protocol's own (section 2). A client does not take its session
// or name up again after them, but for a 4001 that comes before it was resumed: then
// with a later attempt.
const (
	CloseTakenOver    = 4001 // another WebSocket has taken over
	CloseNoSession    = 4404 // there is no such session, any more
	CloseNotContinued = 4409 // the session can't be continued from there
)

// IsAnswered reports whether a session that may outlive its WebSocket is over only when
// its client has answered the close frame, if it ends for r: until then it has what there
// is for it to come for. One that ends for another reason is over at once.
func (r Reason) IsAnswered() bool {
	switch r {
	case ReasonTargetEnded, ReasonTargetReset, ReasonTargetUnreachable, ReasonTargetBlocked:
		return true
	}
	return false
}

// IsForced reports whether what ends for r is closed within [Linger] in all, however slowly
// its two sides take their last bytes: neither has wanted the end.
func (r Reason) IsForced() bool {
	return r == ReasonShutdown || r == ReasonOperator || r == ReasonTooOld || r == ReasonTokenExpired
}

// CloseFor returns the close code and the text that tell a client of the
// reason. The texts stay below the 123 bytes that a close frame has room for
// (RFC 6455, section 5.5). That of a shutdown is better told by [RestartText].
func CloseFor(r Reason) (code int, text string) {
	switch r {
	case ReasonClientClosed, ReasonClientAborted, ReasonClientGone, ReasonTargetEnded:
		return CloseNormal, ""
	case ReasonShutdown:
		return CloseGoingAway, RestartText(1)
	case ReasonProtocolError:
		return CloseProtocolError, "frame not allowed by RFC 6455"
	case ReasonBadAck:
		return CloseProtocolError, "ack that can't be read, or of what was never sent"
	case ReasonBeyondLimit:
		return CloseProtocolError, "more was sent than was granted, or something behind eof"
	case ReasonTextMessage:
		return CloseUnsupported, "only binary messages are relayed"
	case ReasonUnknownMessage:
		return CloseUnsupported, "unknown type of JSON message"
	case ReasonTargetBlocked:
		return ClosePolicy, "target blocked"
	case ReasonOperator:
		return ClosePolicy, "closed by the operator of this server"
	case ReasonTooOld:
		return ClosePolicy, "the session is as old as this server lets one become"
	case ReasonTokenExpired:
		return ClosePolicy, "the token has expired: connect again with a fresh one"
	case ReasonMessageTooBig:
		return CloseTooBig, "message too big"
	case ReasonNameTaken:
		return CloseTakenOver, "a later tunnel has taken this name over"
	case ReasonTakenOver:
		return CloseTakenOver, "another WebSocket has taken this session over"
	case ReasonOldAttempt:
		return CloseTakenOver, "attempt is not above the last one that was accepted"
	case ReasonNoSession:
		return CloseNoSession, "there is no such session"
	case ReasonResumeTimeout, ReasonGaveWay:
		return CloseNoSession, "the session has ended"
	case ReasonNotContinued:
		return CloseNotContinued, "the session can't be continued from there"
	case ReasonTargetUnreachable:
		return CloseInternal, "cannot reach target"
	case ReasonTargetReset:
		return CloseInternal, "target reset the connection"
	}
	return CloseInternal, "internal failure"
}

// retryRate is how many sessions a second a server that has begun anew is to
// meet: fixed by the protocol (section 12). Each is a handshake and a signature to
// check; all at once would look like an attack, and be refused as one.
const retryRate = 500

// RestartText is what the close frames of a shutdown say when so many sessions
// end by it. Clients wait a random part of the time that it names.
func RestartText(sessions int) string {
	seconds := max((sessions+retryRate-1)/retryRate, 1)
	return "restart, retry within " + strconv.Itoa(seconds) + " s"
}
