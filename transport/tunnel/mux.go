package tunnel

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
	"wsproxy/transport/budget"
	"wsproxy/transport/pieces"
	"wsproxy/transport/renewer"
	"wsproxy/transport/resume"
	"wsproxy/transport/tunnel/inflight"
	"wsproxy/transport/tunnel/port"
	"wsproxy/transport/tunnel/sendqueue"
	"wsproxy/transport/wsock"
)

// A Mux is a tunnel's WebSocket, its raw port and everything that waits to go
// through either. The HTTP handler makes it and attaches the client's
// WebSocket; the tunnel's actors say what happens when. See [messages.Mux].
type Mux struct {
	life     life
	session  *wsock.Session          // of a tunnel that ends with its WebSocket
	lasting  *resume.Session         // of one that outlives it; else nil
	sink     *lastingIn              // of lasting
	token    string                  // of lasting, from Announce to Start
	leaving  atomic.Bool             // of lasting: what is read goes nowhere
	settings *Settings               // set once
	renewer  *renewer.Renewer        // set once
	dialect  Dialect                 // set once, before Start
	credit   bool                    // set once: flow=credit
	handler  *actor.PID              // set by Prepare, before the pumps begin
	started  atomic.Bool             // handler is set, for others than the pumps
	queue    *sendqueue.Queue        // what waits for the client
	inFlight inflight.Bound          // what is on its way to the client
	memory   *budget.Budget          // what the tunnel holds of that of all
	requests *budget.Budget          // the part of it that requests hold, until the client has them
	buffer   *budget.Budget          // what waits for outside peers beyond their shares; counted in memory too
	answers  budget.Account          // responses, until their requests have them
	comes    atomic.Pointer[inbound] // what is made of the client's messages; nil until they are read
	wider    *budget.Budget          // bytes by which windows of raw connections are wider
	inbound  *budget.Budget          // what was read from the client and is not handled yet
	posted   budget.Account          // the same, in memory: a tunnel's end leaves some unhandled
	room     chan struct{}           // has room for one: some of memory or inbound came back
	accepts  chan struct{}           // a token for each stream that no actor has taken yet
	streams  table                   // to which the client's data goes

	listener  atomic.Pointer[net.TCPListener] // the raw port, once it is open
	accepting bool                            // Start was called; used by the tunnel's calls only
	cutting   context.CancelFunc              // ends the wait for the client, of a tunnel that outlives its WebSocket; nil before Finish
	writeDone chan struct{}                   // closed when the writing pump has ended; nil until it starts
	sent      atomic.Int64                    // bytes of frames to the client
	received  atomic.Int64                    // bytes from the client
}

// Settings are what all tunnels share. All fields are required, but for Bind, Proxies
// and Resume.
type Settings struct {
	Host         *wsock.Host
	Memory       *budget.Pool  // of all tunnels
	Buffer       int64         // bytes that may wait in one tunnel for its outside peers
	MaxMessage   int64         // bytes of a message from a client
	StallTimeout time.Duration // how long a peer that takes nothing may hold up its tunnel
	HTTPTimeout  time.Duration // within which an HTTP request must be answered
	Bind         netip.Addr    // of raw ports; the zero Addr means all interfaces
	Proxies      port.Proxies  // before raw ports
	// Resume is for tunnels that outlive their WebSocket; nil if there are none.
	Resume *resume.Settings
}

// requestParts is of how many parts of a tunnel's memory requests leave one: they
// come from anyone, and may come slowly. If they could fill it, the client would
// not be read meanwhile.
const requestParts = 4

// Options are what one client asks for, and whose tunnel it is.
type Options struct {
	Credit bool   // flow=credit
	User   string // for the memory that all of one user's tunnels may hold
	// Lasting is whether the tunnel may outlive its WebSocket.
	Lasting bool
	// Renewer judges the client's fresh tokens; nil for a tunnel that doesn't end with
	// its token.
	Renewer *renewer.Renewer
}

// New returns a Mux for a client that speaks what dialect returns, which is
// called once. It starts nothing.
func New(settings *Settings, dialect func(*Mux) Dialect, options Options) *Mux {
	m := &Mux{
		settings: settings, credit: options.Credit, renewer: options.Renewer,
		memory:  settings.Memory.Open(options.User),
		buffer:  budget.New(settings.Buffer),
		inbound: budget.New(inboundWindow),
		room:    make(chan struct{}, 1),
		accepts: make(chan struct{}, maxAccepted),
		streams: table{all: make(map[string]*Stream)},
	}
	m.memory.OnFreed(func() { signal(m.room) })
	m.requests = m.memory.Below(m.memory.Limit() / requestParts * (requestParts - 1))
	m.wider = budget.New(min(m.memory.Limit(), settings.Buffer) / widerPart)
	m.answers.Init(m.memory)
	m.posted.Init(m.memory)
	m.dialect = dialect(m)
	if options.Lasting {
		m.initLasting(options.User)
	} else {
		m.session = new(wsock.Session)
		m.session.Init(settings.Host, func(reason messages.Reason) any { return &messages.MuxEnded{Reason: reason} })
		m.life = m.session
	}
	m.queue = sendqueue.New(m.freed, m.dialect.MaxCoalesced())
	return m
}

// Attach gives the Mux its client: see [wsock.Session.Attach].
func (m *Mux) Attach(client *wsock.Conn) bool {
	if m.lasting != nil {
		return m.lasting.Attach(client)
	}
	return m.session.Attach(client)
}

// Own names the tunnel.
func (m *Mux) Own(tunnel *actor.PID) { m.life.Own(tunnel) }

// Dialect returns how the client is spoken to.
func (m *Mux) Dialect() Dialect { return m.dialect }

// Memory is what requests to the tunnel hold of its memory, until its client has
// them.
func (m *Mux) Memory() *budget.Budget { return m.requests }

// Host returns what all sessions share.
func (m *Mux) Host() *wsock.Host { return m.settings.Host }

// HTTPTimeout is within what an HTTP request must be answered.
func (m *Mux) HTTPTimeout() time.Duration { return m.settings.HTTPTimeout }

// Moved returns the bytes of all frames, to the client and from it.
func (m *Mux) Moved() (sent, received int64) { return m.sent.Load(), m.received.Load() }

func (m *Mux) movedOut(n int) {
	m.sent.Add(int64(n))
	m.settings.Host.Flows.Tunnels.ToClient.Add(int64(n))
}

func (m *Mux) movedIn(n int) {
	m.received.Add(int64(n))
	m.settings.Host.Flows.Tunnels.FromClient.Add(int64(n))
}

// Control sends a control message.
func (m *Mux) Control(message []byte) { m.queue.Control(m.frameControl(message)) }

// TakeMemory takes n bytes of the tunnel's memory, and reports whether there is
// room for them.
func (m *Mux) TakeMemory(n int) bool { return m.requests.Try(int64(n)) }

// GiveMemory gives back what TakeMemory took.
func (m *Mux) GiveMemory(n int) { m.requests.Add(int64(-n)) }

// TakesInline reports whether the client takes an http_request without a body
// whose message has n bytes.
func (m *Mux) TakesInline(n int) bool { return m.dialect.TakesInline(n) }

// Request sends http_request, whose id is given, and reports whether there is
// memory for it.
func (m *Mux) Request(id string, message []byte) bool {
	held := m.requests.Reserved(0)
	if !held.Try(int64(cap(message))) {
		return false
	}
	m.SendRequest(id, message, &held, nil)
	return true
}

// SendRequest is Request for a message that is charged already. What held holds
// becomes the frame's, and comes back when that is written or dropped; then gone is
// called, if it is not nil.
func (m *Mux) SendRequest(id string, message []byte, held *budget.Reservation, gone func()) {
	m.dialect.RequestSent(id)
	m.queue.Control(sendqueue.Request(m.dialect.ControlOpcode(), message, id, held.Pass(), gone))
}

// Forget drops an http_request that was not sent yet.
func (m *Mux) Forget(id string) { m.queue.Forget(id) }

// Reserve returns a reservation for n bytes of a request that are charged to
// Memory already.
func (m *Mux) Reserve(n int64) budget.Reservation { return m.requests.Reserved(n) }

// Answered returns what a response is charged: it is the caller's now.
func (m *Mux) Answered(size int) budget.Reservation {
	m.answers.Pass(int64(size))
	return m.memory.Reserved(int64(size))
}

// Dropped gives back what a response is charged that nobody gets.
func (m *Mux) Dropped(n int) { m.answers.Add(int64(-n)) }

// take counts bytes that were read from the client and are not handled yet, or
// were if n is negative.
func (m *Mux) take(n int64) {
	m.inbound.Add(n)
	m.posted.Add(n)
}

// Handled says that the handler has dealt with a message of n bytes.
func (m *Mux) Handled(n int) {
	m.take(int64(-n) - messageCost)
	signal(m.room)
}

// Full reports whether the client can't be read on for want of room.
func (m *Mux) Full() bool { return m.buffer.Full() || m.memory.Full() }

// Crowded reports whether requests hold most of what they may.
func (m *Mux) Crowded() bool { return 2*m.requests.Held() > m.requests.Limit() }

// Held returns how many bytes the tunnel holds in memory.
func (m *Mux) Held() int64 { return m.memory.Held() }

// giveUpWorth is from how many bytes on what has come of a message is given up:
// most have come whole before less than that is of use to anyone.
const giveUpWorth = 64 << 10

// GiveUp keeps nothing of the control message that comes from the client, if much
// of it has come, and returns how many bytes that gives back. It returns at once,
// maybe before they are there.
func (m *Mux) GiveUp() (bytes int64) {
	in := m.comes.Load()
	if in == nil {
		return 0
	}
	if bytes = in.message.Size(); bytes < giveUpWorth {
		return 0
	}
	// A message of megabytes is looked through for what it is.
	wsock.StartPump(m.settings.Host.Log(), "gives up", func() { pieces.Heavily(int(bytes), in.message.Revoke) }, func() {})
	return bytes
}

// freed gives back what a frame was charged with.
func (m *Mux) freed(bytes int64, request bool) {
	if request {
		m.requests.Add(-bytes)
	} else {
		m.memory.Add(-bytes)
	}
}

// Prepare names the handler, and makes ready the first message to the client.
func (m *Mux) Prepare(handler *actor.PID, ready []byte) {
	m.handler = handler
	m.started.Store(true)
	m.Control(ready)
}

// Start begins to read the client, to write to it, and to accept.
func (m *Mux) Start() {
	if m.lasting != nil {
		m.startLasting()
	} else {
		m.session.Conn().KeepUnsentLow()
		m.inFlight.Watch(m.session.Conn().Sending)
		m.startReading()
		m.writeDone = m.session.Pump("tunnel out", m.pumpOut)
	}
	m.accepting = true
	if listener := m.listener.Load(); listener != nil {
		m.accept(listener)
	}
}

// Cut ends the waiting for the client of a Mux that closes.
func (m *Mux) Cut() {
	m.life.Cut()
	if m.cutting != nil {
		m.cutting()
	}
}

// Finish ends the Mux: what waits is written, the WebSocket is closed, the raw
// port too.
func (m *Mux) Finish(reason messages.Reason) {
	if m.lasting != nil {
		m.finishLasting(reason)
		return
	}
	m.session.Finish(reason, m.finish, m.closed)
}

// closed gives everything back. The client has left.
func (m *Mux) closed(messages.Reason) {
	m.queue.Clear()
	m.answers.End()
	m.posted.End()
	m.life.Tell(&messages.MuxClosed{})
}

func (m *Mux) finish(reason messages.Reason) messages.Reason {
	if listener := m.listener.Load(); listener != nil {
		listener.Close()
	}
	if m.session.BeginClose(reason) {
		m.queue.Clear()
	} else {
		m.queue.End()
	}
	if m.writeDone != nil {
		<-m.writeDone
	}
	m.session.Close(reason)
	return reason
}

// widerPart is of how many parts of a tunnel's memory, and of its buffer, the windows of
// its raw connections may be wider by one. So what comes when all of them are filled
// leaves most.
const widerPart = 4

// Widen takes n bytes by which a window becomes wider, while the tunnel holds less
// than half of what it may. They are a promise: what comes by it is counted in memory
// when it does.
func (m *Mux) Widen(n int) bool {
	if n >= 0 && (m.Full() || 2*m.memory.Held() > m.memory.Limit()) {
		return false
	}
	return m.wider.Try(int64(n))
}

// pumpOut writes what waits for the client, together what waits together.
func (m *Mux) pumpOut() messages.Reason {
	client := m.session.Conn()
	var batch []sendqueue.Frame
	defer func() { m.queue.DropAll(batch) }() // those in hand, should this fail
	var bufs [][]byte
	for {
		room := m.inFlight.Room()
		var more bool
		batch, more = m.queue.Take(batch[:0], room)
		if len(batch) == 0 {
			switch {
			case !more:
				return messages.ReasonShutdown // the Mux is closing, for whatever reason
			case room == 0:
				m.inFlight.Await(m.queue.Wake())
			default:
				<-m.queue.Wake()
				runtime.Gosched() // others who are about to add something do so first: one write for all
			}
			continue
		}
		bufs = sendqueue.Append(bufs[:0], batch)
		size, interactive := sendqueue.Total(batch)
		err := client.Write(bufs...)
		m.inFlight.Wrote(size, interactive)
		clear(bufs)
		m.queue.DropAll(batch)
		if err != nil {
			m.queue.Clear()
			return client.Failure(err)
		}
		m.movedOut(size)
		client.AwaitTurn()
	}
}
