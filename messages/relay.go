package messages

import (
	"net/netip"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// A Pair is a relay session's two connections, downstream and upstream, as its actor sees it. All
// methods return at once; what comes of them arrives as a message at the PID
// given to Own.
//
// The HTTP handler makes the pair and hands it over with [OpenRelay]. From
// then on the relay actor decides and the pair does: it owns the sockets, runs
// the pumps that copy between them, and closes both once Finish was called,
// also when its actor is no longer alive.
type Pair interface {
	Resumable
	// Own names the actor that is told how the pair fares. Called once,
	// before any other method.
	Own(owner *actor.PID)
	// Resolve looks the target up and judges its addresses.
	// Answer: [TargetResolved].
	Resolve()
	// Dial connects to an address that was judged, and begins to read the
	// client: what it sends waits for the target. Answer: [TargetDialed], and
	// maybe a [PumpEnded] before it, if the client leaves.
	Dial()
	// Pump starts copying from the target to the client. Each direction ends
	// with a [PumpEnded].
	Pump()
	// Finish ends the pair in an orderly way: what was read is delivered, the
	// client is sent a close frame for reason, the target sees the end of the
	// stream. Each has until [Linger] after the last byte that its kernel
	// acknowledges. Answer: [PairClosed]. Calls after the first
	// change nothing.
	Finish(reason Reason)
	// Cut ends the waiting for both sides of a pair that closes: what they have
	// not taken is lost.
	Cut()
	// Moved returns the payload bytes copied so far, to the target and to the
	// client.
	Moved() (up, down int64)
}

// OpenRelay asks the relays actor for a session. Answer gets exactly one
// [Admission], unless the actor system ends first.
type OpenRelay struct {
	Source  netip.Addr   // the client, as judged from peer and trusted proxies
	Count   netip.Prefix // what the limits count for Source
	User    string       // who it is; empty for anyone
	Expires time.Time    // when the session ends with its token; zero = it doesn't
	Target  string       // where to, as parsed and judged, for the log
	Resume  bool         // whether the session may outlive its WebSocket
	Lookup  bool         // whether resolving Target asks a name server
	Upgrade bool         // whether the request is a WebSocket handshake; if not, it is refused, last of all
	Pair    Pair         // handed over
	Answer  chan<- Admission
}

// Admission answers [OpenRelay]. Session is nil if the session was refused,
// for Refusal. Otherwise the handler must go on with [Upgraded] or
// [Abandoned].
type Admission struct {
	Session *actor.PID
	Refusal Reason
}

// Upgraded tells a relay or a tunnel that its pair or mux now has the client's
// WebSocket.
type Upgraded struct{}

// Abandoned tells a relay or a tunnel that there will be no WebSocket.
type Abandoned struct{}

// TargetResolved tells a relay how resolving went. Refused means that the
// target is blocked, not allowed, or unknown.
type TargetResolved struct {
	Refused bool
}

// TargetDialed tells a relay how dialling went. Failure is empty if the target
// is connected. Address and Local are the two ends of the connection, for the log:
// those of a failure are zero, unless it came after the target was reached.
type TargetDialed struct {
	Failure        Reason
	Address, Local netip.AddrPort
}

// PumpEnded tells a relay that one of its pumps will forward no more bytes,
// and why.
type PumpEnded struct {
	Reason Reason
}

// PairClosed tells a relay that both sockets are closed and all pumps have
// ended. Reason is the one given to Finish, or a graver one that came to light
// since.
type PairClosed struct {
	Reason Reason
}

// Drain asks an actor that owns sessions to admit no more of them. Done is
// closed when the last one has ended.
type Drain struct {
	Done chan<- struct{}
}

// Shutdown ends a session, or all sessions of the actor that gets it, for
// [ReasonShutdown]. AtOnce says that nobody's last bytes are waited for: it may follow
// one without.
type Shutdown struct{ AtOnce bool }
