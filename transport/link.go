package transport

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// A link is a tunnel's WebSocket, its raw port and everything that waits to go
// through either. The HTTP handler makes it and attaches the client's socket;
// the tunnel's actors say what happens when. See [messages.Mux].
type link struct {
	tools   *linkTools    // set once
	dialect dialect       // set once
	credit  bool          // set once: flow=credit
	owner   *actor.PID    // set by Own
	handler *actor.PID    // set by Start, before the pumps begin
	client  *socket       // set by attach, before the actor hears of it
	lanes   *lanes        // what waits for the client
	flight  flight        // what is on its way to the client
	gossh   *gossh        // what is special for gossh-wasm; nil for other clients; set once
	memory  *budget       // what the tunnel holds of that of all: the next two, and HTTP
	buffer  *budget       // what waits for outside peers beyond their shares
	answers tally         // responses, until their requests have them
	inbound budget        // what was read from the client and is not handled yet; not part of memory
	room    chan struct{} // has room for one: some of memory or inbound came back
	accepts chan struct{} // a token for each raw connection that no actor has taken yet

	state     atomic.Int32                    // linkOpen, linkAttached, linkFinishing, as for a line
	discard   atomic.Bool                     // the link is closing: what is read goes nowhere
	listener  atomic.Pointer[net.TCPListener] // the raw port, once it is open
	accepting bool                            // Start was called; used by the tunnel's calls only
	closing   context.Context                 // ends when the link begins to close
	cancel    context.CancelFunc              // of closing; called by Finish
	stop      <-chan struct{}                 // closing's Done
	readDone  chan struct{}                   // closed when the reading pump has ended; nil until it starts
	writeDone chan struct{}                   // closed when the writing pump has ended; nil until it starts
	sent      atomic.Int64                    // bytes of frames to the client
	received  atomic.Int64                    // bytes from the client
	echoClose int                             // the code of the client's close frame; set before readDone is closed
	garbled   bool                            // the client sent frames that can not be told apart; set before readDone is closed
}

// What all links share.
type linkTools struct {
	root       *actor.RootContext
	keepalive  *Keepalive
	total      *budget // of all tunnels
	buffer     int64   // bytes that may wait in one tunnel for its outside peers
	maxMessage uint64  // bytes of a message from a client
	stall      time.Duration
	timeout    time.Duration // within which an HTTP request must be answered
	bind       netip.Addr    // of raw ports; the zero Addr means all interfaces
	log        *slog.Logger
}

// memoryReserve is how many bytes of memory a tunnel may take though others have
// used up that of all: its small requests and responses don't wait for theirs.
const memoryReserve = 1 << 20

func newLink(tools *linkTools, d dialect, credit bool) *link {
	l := &link{
		tools: tools, dialect: d, credit: credit,
		memory:  newBudget(tools.total, math.MaxInt64),
		room:    make(chan struct{}, 1),
		accepts: make(chan struct{}, maxAccepted),
	}
	l.closing, l.cancel = context.WithCancel(context.Background())
	l.stop = l.closing.Done()
	l.memory.reserve = memoryReserve
	l.memory.freed = func() { signal(l.room) }
	l.buffer = newBudget(l.memory, tools.buffer)
	l.answers.budget = l.memory
	l.inbound.limit = inboundWindow
	l.lanes = newLanes(l.drop)
	if d == dialectGossh {
		l.gossh = newGossh(l)
		l.lanes.join = gosshMessage - messages.DataHeader
	}
	return l
}

// attach gives the link its client, and reports whether the link still wants
// it. If not, the socket remains the caller's.
func (l *link) attach(client *socket) bool {
	l.client = client
	return l.state.CompareAndSwap(lineOpen, lineAttached)
}

func (l *link) Own(tunnel *actor.PID) { l.owner = tunnel }

func (l *link) Moved() (sent, received int64) { return l.sent.Load(), l.received.Load() }

func (l *link) tell(message any) { l.tools.root.Send(l.owner, message) }

// controlFrame makes a frame of a control message.
func (l *link) controlFrame(message []byte) frame {
	f := frame{bytes: message}
	f.headed = uint8(len(appendHeader(f.head[:0], l.dialect.opcode(), len(message))))
	return f
}

func (l *link) Control(message []byte) { l.lanes.sendControl(l.controlFrame(message)) }

func (l *link) Request(id string, message []byte) bool {
	charged := int64(cap(message))
	if !l.memory.try(charged) {
		return false
	}
	l.request(id, message, charged)
	return true
}

// request is Request for a message that is charged to the tunnel's memory. The
// charge becomes the frame's.
func (l *link) request(id string, message []byte, charged int64) {
	if l.gossh != nil {
		l.gossh.remember(id)
	}
	f := l.controlFrame(message)
	f.request, f.charged, f.hurry = id, charged, true
	l.lanes.sendControl(f)
}

func (l *link) Forget(id string) { l.lanes.forget(id) }

// drop gives back what a frame held, written or not.
func (l *link) drop(f frame) {
	if f.buf != nil {
		giveBuffer(f.buf)
	}
	l.memory.add(-f.charged)
	if f.gone != nil {
		f.gone()
	}
}

// dropAll drops frames, each once however often it is called.
func (l *link) dropAll(frames []frame) {
	for i, f := range frames {
		frames[i] = frame{}
		l.drop(f)
	}
}

func (l *link) Dropped(n int) { l.answers.add(int64(-n)) }

func (l *link) Handled(n int) {
	l.inbound.add(int64(-n) - messageCost)
	signal(l.room)
}

func (l *link) Full() bool { return l.buffer.full() }

func (l *link) Start(handler *actor.PID, ready []byte) {
	l.handler = handler
	l.Control(ready)
	l.client.gaveUp = func(reason messages.Reason) { l.tell(&messages.MuxEnded{Reason: reason}) }
	l.flight.look = func() (int64, int64) { return kernelAhead(l.client.raw) }
	l.readDone = l.pump("tunnel in", func() messages.Reason {
		l.tools.keepalive.add(l.client) // here, because it may wait for a beat
		return l.pumpIn()
	})
	l.writeDone = l.pump("tunnel out", l.pumpOut)
	l.accepting = true
	if listener := l.listener.Load(); listener != nil {
		l.accept(listener)
	}
}

// pump starts one of the two pumps of the WebSocket. The channel is closed at
// its end.
func (l *link) pump(name string, run func() messages.Reason) chan struct{} {
	done := make(chan struct{})
	reason := messages.ReasonInternal
	startPump(l.tools.log, name, func() { reason = run() }, func() {
		close(done)
		l.tell(&messages.MuxEnded{Reason: reason})
	})
	return done
}

// pumpOut writes what waits for the client, together what waits together.
func (l *link) pumpOut() messages.Reason {
	var batch []frame
	defer func() { l.dropAll(batch) }() // those in hand, should this fail
	var bufs [][]byte
	for {
		full := l.flight.full()
		var more bool
		batch, more = l.lanes.take(batch[:0], full)
		if len(batch) == 0 {
			switch {
			case !more:
				return messages.ReasonShutdown // the link is closing, for whatever reason
			case full:
				l.flight.await(l.lanes.wake)
			default:
				<-l.lanes.wake
			}
			continue
		}
		bufs = bufs[:0]
		size, hurry := 0, false
		for i := range batch {
			f := &batch[i]
			if f.headed > 0 {
				bufs = append(bufs, f.head[:f.headed])
			}
			bufs = append(bufs, f.bytes)
			size += int(f.headed) + len(f.bytes)
			hurry = hurry || f.hurry
		}
		err := l.client.write(bufs...)
		l.flight.wrote(size, hurry)
		clear(bufs)
		l.dropAll(batch)
		if err != nil {
			l.lanes.clear()
			return l.client.failure(err)
		}
		l.sent.Add(int64(size))
	}
}

// Listen opens the raw port, and begins to accept if the link has started.
func (l *link) Listen(port uint16) {
	accepting := l.accepting
	var err error
	startPump(l.tools.log, "listen", func() {
		var listener *net.TCPListener
		if listener, err = l.listen(port); err != nil {
			return
		}
		l.listener.Store(listener)
		select {
		case <-l.stop: // the link has closed meanwhile, maybe without seeing it
			listener.Close()
		default:
			if accepting {
				l.accept(listener)
			}
		}
	}, func() { l.tell(&messages.PortOpened{Port: port, Err: err}) })
}

func (l *link) listen(port uint16) (*net.TCPListener, error) {
	host := ""
	if l.tools.bind.IsValid() {
		host = l.tools.bind.String()
	}
	var config net.ListenConfig
	listener, err := config.Listen(context.Background(), "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		return nil, err
	}
	return listener.(*net.TCPListener), nil
}

// accept hands the raw port's connections over to the handler.
func (l *link) accept(listener *net.TCPListener) {
	var err error
	startPump(l.tools.log, "accept", func() { err = l.acceptAll(listener) }, func() {
		listener.Close()
		select {
		case <-l.stop:
		default:
			l.tell(&messages.PortFailed{Err: err})
		}
	})
}

// acceptPause is how long a listener that can't accept waits, for instance for
// want of file descriptors.
const acceptPause = 50 * time.Millisecond

// maxAccepted is how many raw connections of a tunnel may wait for its handler
// to take or reject them. The others wait in the kernel.
const maxAccepted = 32

func (l *link) acceptAll(listener *net.TCPListener) error {
	for {
		select {
		case l.accepts <- struct{}{}:
		case <-l.stop:
			return net.ErrClosed
		}
		conn, err := listener.AcceptTCP()
		if err != nil {
			<-l.accepts
			if isTemporary(err) {
				select {
				case <-time.After(acceptPause):
					continue
				case <-l.stop:
				}
			}
			return err
		}
		s := newStream(l, conn, conn.RemoteAddr().String())
		l.tools.root.Send(l.handler, &messages.Accepted{Stream: s})
	}
}

// isTemporary reports whether accepting may go on after an error: the kernel
// lacked something, or a connection ended before it was accepted.
func isTemporary(err error) bool {
	for _, passing := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}
