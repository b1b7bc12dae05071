package messages

import (
	"net/netip"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// A Mux is a tunnel's WebSocket and its raw port, as its actors see them. All
// methods return at once; what comes of them arrives as messages: what
// concerns the mux at the tunnel, what comes through it at the handler.
//
// The HTTP handler makes the mux and hands it over with [OpenTunnel]. It
// closes everything that it owns once Finish was called, also when its tunnel
// is no longer alive.
type Mux interface {
	Resumable
	// Own names the tunnel. Called once, before any other method.
	Own(tunnel *actor.PID)
	// Listen opens the raw port. Answer: [PortOpened].
	Listen(port uint16)
	// Prepare names the handler, to which everything that comes in goes, and
	// makes ready the first message sent. From then on control messages and
	// requests may be sent: they wait behind it.
	Prepare(handler *actor.PID, ready []byte)
	// Start begins to read the WebSocket, to write it, and to accept raw
	// connections if a port is open. Called once, after Prepare.
	Start()
	// Control sends a control message.
	Control(message []byte)
	// Request sends http_request, whose id is given, and reports whether there
	// is memory for it.
	Request(id string, message []byte) bool
	// TakeMemory takes n bytes of the tunnel's memory for a message that waits to
	// be sent, and reports whether there is room for it. GiveMemory gives it back.
	TakeMemory(n int) bool
	GiveMemory(n int)
	// TakesInline reports whether the client takes an http_request of n bytes
	// without a body as it is. Else the request proceeds by the edge.
	TakesInline(n int) bool
	// Forget drops an http_request that was not sent yet: nobody waits for its
	// response any more.
	Forget(id string)
	// Dropped says that nobody gets a response of size bytes that came through
	// the mux. Who gets one gives back what it is charged.
	Dropped(size int)
	// Handled says that the handler has dealt with a message that came
	// through the mux, and with the n bytes that it carried, which are none of a
	// [Response]. Called once for each [FromClient], [Data] and [Garbage].
	Handled(n int)
	// Full reports whether the mux can't be read on for want of room: a byte
	// budget of its tunnel or its user is used up, or it holds more than its fair
	// part of that of all, which is.
	Full() bool
	// Crowded reports whether requests hold most of what they may of the tunnel's
	// memory.
	Crowded() bool
	// Widen takes bytes by which the window of one raw connection becomes wider, and
	// reports whether there is room for that; of 0, whether there is still. If bytes
	// is negative it gives back.
	Widen(bytes int) bool
	// Held returns how many bytes the tunnel holds in memory.
	Held() int64
	// GiveUp has the mux keep nothing of the message that comes from the client
	// just now, if much of it has come: it may never come whole. It returns how
	// many bytes that gives back. If it is a response, its request hears so when
	// the client goes on.
	GiveUp() (bytes int64)
	// Finish ends the mux in an orderly way, within [Linger]. Answer:
	// [MuxClosed]. Calls after the first change nothing.
	Finish(reason Reason)
	// Cut ends the waiting for the client of a Mux that closes: what it has not
	// taken is lost.
	Cut()
	// Moved returns the bytes of all messages, to the client and from it.
	Moved() (sent, received int64)
}

// A Stream is one raw TCP connection, as its conn actor sees it. All methods
// return at once. Who accepted it hands it over with [Accepted].
type Stream interface {
	// Own names the conn actor. Called once, before any other method but
	// Reject.
	Own(conn *actor.PID)
	// ID returns the connId.
	ID() string
	// RemoteAddr returns the outside peer's address.
	RemoteAddr() string
	// Reject closes a connection that was never announced.
	Reject()
	// Open announces the connection with tcp_open and starts to read it.
	Open()
	// Hold books bytes that are on their way to the conn, and returns how many
	// wait for the outside peer now. Once the stream has ended it books nothing.
	Hold(data []byte) (waiting int64)
	// Write sends bytes that Hold has booked to the outside peer, after all
	// earlier ones. data changes owner. Answer, some time: [Flushed].
	Write(data []byte)
	// Drop gives back what Hold has booked for bytes that are not to be
	// written. data changes owner.
	Drop(data []byte)
	// Credit allows n more bytes from the outside peer to the client.
	Credit(n int)
	// EndRead drops what waits for the client, which wants no more of it. What
	// the outside peer still sends is read to no purpose.
	EndRead()
	// CloseWrite ends the sending side towards the outside peer once all that
	// waits has been written; the connection goes on until the peer ends too.
	// What is written after it is dropped. EndWrite, or Abort, follows.
	CloseWrite()
	// EndWrite closes the connection in an orderly way once all that waits
	// for the outside peer has been written. What waits for the client goes
	// its way. Answer: [StreamClosed].
	EndWrite()
	// Leave says that the tunnel has ended: nothing is announced to the client
	// any more; what waits for it goes its way while there is one. What the outside peer still
	// sends is read to no purpose; what waits for the peer is delivered, and
	// the stream needs the tunnel's Mux no longer. EndWrite follows.
	Leave()
	// Abort resets the connection at once and drops what waits. It tells the
	// client why, if that is a reason that IsTold. Answer: [StreamClosed].
	Abort(reason CloseReason)
	// Ended returns the reason of the first Abort, or "".
	Ended() CloseReason
	// Held returns what waits for the outside peer takes up in memory, in bytes.
	Held() int64
	// Waiting returns how many bytes wait for the outside peer, and how many
	// its kernel has acknowledged so far.
	Waiting() (waiting, acked int64)
	// Moved returns the payload bytes that the outside peer has sent, and
	// those that were written to it.
	Moved() (in, out int64)
	// LastMoved returns when that last changed, of a stream that was joined to an
	// outside peer's connection ([StreamJoined]).
	LastMoved() time.Time
}

// OpenTunnel asks the tunnels actor for a tunnel. Answer gets exactly one
// [Admission].
type OpenTunnel struct {
	Source netip.Addr
	Count  netip.Prefix
	User   string // empty for anyone
	// Expires is when the tunnel ends with its token; zero = it doesn't.
	Expires time.Time
	Credit  bool // flow=credit
	Bytes   bool // http=bytes; only with Credit
	NoRaw   bool // raw=off: no raw port is taken
	Resume  bool // whether the tunnel may outlive its WebSocket; only with Bytes
	// Subdomain is that of a named tunnel, which a later one of the same name
	// takes over. Empty: any will do, and nobody takes it over.
	Subdomain string
	Name      string // that Subdomain is made of
	// Upgrade is whether the request is a WebSocket handshake; if not, it is
	// refused, last of all.
	Upgrade bool
	Mux     Mux // handed over
	Answer  chan<- Admission
}

// PortOpened tells a tunnel how Listen went.
type PortOpened struct {
	Port uint16
	Err  error // nil, or why the port can't be listened on
}

// PortFailed tells a tunnel that its raw port's listener has ended by itself.
type PortFailed struct{ Err error }

// MuxEnded tells a tunnel that its WebSocket is of no more use, and why.
type MuxEnded struct{ Reason Reason }

// MuxClosed tells a tunnel that everything its mux owned is closed.
type MuxClosed struct{}

// TakePort asks the ports actor for a raw port for Holder, which is answered
// with [PortTaken]. Busy is a port granted before that something
// else on the machine turned out to hold; 0 if none.
type TakePort struct {
	Holder *actor.PID
	Busy   uint16
	Last   bool // Busy is given back, and no other one is wanted: the answer is 0
}

// PortTaken answers [TakePort]. Port is 0 if none is free.
type PortTaken struct{ Port uint16 }

// Accepted hands a raw connection over to the handler, or a stream of this
// process's own, of which the client knows already.
type Accepted struct {
	Stream Stream
	// Protocol is what this process speaks over the stream; "" for a raw connection.
	// Such a stream takes no slot of those: its requests have slots of their own.
	Protocol string
	// Count is what the limits count for the outside peer; the zero Prefix for a
	// stream whose outer end is this process.
	Count netip.Prefix
}

// A Pool is the memory that all tunnels share, as the tunnels actor sees it.
type Pool interface {
	// Excess returns how many more bytes are held than there are, at least 0. If
	// that grows after the call, [MemoryShort] says so.
	Excess() int64
}

// MemoryShort tells the tunnels actor that more memory is held than there is: a
// tunnel that holds less than its fair part has asked for some.
type MemoryShort struct{}

// GiveWay asks a handler to end some of what holds its tunnel's memory, newest
// first, so that about so many bytes come back.
type GiveWay struct{ Bytes int64 }

// ReadingWaits tells the handler that its client is not read for want of room.
type ReadingWaits struct{}

// Data is payload of a raw connection, from the client. The bytes are the
// receiver's.
type Data struct {
	ConnID string
	Data   []byte
}

// FromClient wraps a decoded control message with the bytes it was charged.
type FromClient struct {
	Message any // *Response, *Close, *Credit or *Dropped
	Size    int
}

// Dropped is in the place of a response for which there was no memory, read to
// its end or not. Reason says so, and is what the request is answered with.
type Dropped struct {
	ID     string
	Reason Reason
}

// Garbage tells the handler that a client sent something that makes no sense.
// What says what, without a byte of it.
type Garbage struct{ What string }

// StreamJoined tells a conn that an outside peer's connection is the outer end of
// its stream from now on, which was in this process.
type StreamJoined struct{}

// Flushed tells a conn that n bytes of what it wrote have reached the kernel.
type Flushed struct{ N int }

// PassedOn tells a conn, with flow=credit, that n bytes have come from the client and
// reached the kernel without meeting a mailbox, less than a quarter of a window late.
type PassedOn struct{ N int }

// OutsideEnded tells a conn that its outside peer will send no more. If that
// is an orderly end, the client has been sent all that came before, and the end.
type OutsideEnded struct{ Reason CloseReason }

// StreamClosed tells a conn that its socket is closed, and that nothing of it
// waits for the client any more: until then it takes up memory.
type StreamClosed struct{}

// ConnEnded tells the handler that a conn is about to stop.
type ConnEnded struct{ ConnID string }

// An Exchange is an HTTP request under way, at the edge. Any goroutine may call
// its methods, which return at once.
type Exchange interface {
	// Held returns how many bytes of memory it holds now.
	Held() int64
	// Revoke ends an exchange whose answer is on its way to the outside client: the
	// connection is cut, so that what the client has got does not look whole. One that
	// waits gets its [Answer], which comes before this call.
	Revoke()
}

// OpenRequest asks a handler to pass an HTTP request on to its client. Answer
// gets exactly one [Answer] for it.
//
// With Body, Proceed gets the tunnel's Mux at once, by which the body is read;
// when it is there [RequestRead] asks for the request's slot. Then, or without Body
// as soon as it has its slot, Proceed gets the Mux and the request goes through
// that. Only a Frame that the client takes, and that need not wait, is sent by the
// handler; whoever Proceed tells has the Frame again. Taken has the Mux as soon as the
// handler has the Frame, for who wants to know. All have room for one.
type OpenRequest struct {
	ID       string
	Count    netip.Prefix // what the limits count for the source address
	Body     bool         // it has a body, which has yet to be read
	Frame    []byte       // http_request, encoded; or nil
	Exchange Exchange
	Proceed  chan<- Mux
	Taken    chan<- Mux // may be nil
	Answer   chan<- Answer
}

// RequestRead tells a handler that the body of a request is there, or of one that
// goes as bytes the beginning of the body.
type RequestRead struct{ ID string }

// RequestUpgraded tells a handler that a request has become a connection, which is
// Stream now. It keeps its slot until [RequestEnded].
type RequestUpgraded struct {
	ID     string
	Stream Stream
}

// RequestEnded tells a handler that a request that was told to proceed has ended.
// It is not answered.
type RequestEnded struct{ ID string }

// CancelRequest forgets a request: nobody waits for it any more. It is
// answered as well, so that the sender knows that nothing will follow.
type CancelRequest struct {
	ID    string
	Short bool // because there is no memory for it
}

// Delivered tells a handler that the outside client has got what it is to get of
// a request's response. Until then the request counts as under way in the
// tunnel. The handler may be another one by then.
type Delivered struct{ ID string }

// Answer is what becomes of a request: the client's response, or the reason
// why there is none. With a response the request's Claims become the receiver's:
// it sends a [Release] of them in the handler's name, and [Delivered], when the
// outside client has got what it is to get.
type Answer struct {
	Response *Response
	Claims   []Claim
	Size     int // bytes that the response is charged; the receiver's, as the slot
	Mux      Mux // that the response came through; nil without one, unless it was too long
	Refusal  Reason
}

// CloseHandler ends a handler's work, for good: what waits is answered, raw
// connections are closed. Unless the server shuts down, outside peers get what
// their connections have for them.
type CloseHandler struct{ Reason Reason }
