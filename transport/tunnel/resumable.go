package tunnel

import (
	"context"
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
	"wsproxy/transport/resume"
	"wsproxy/transport/tunnel/inflight"
	"wsproxy/transport/tunnel/sendqueue"
	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/replay"
)

// A life is what is the same of a session, whether it outlives its WebSocket or not.
type life interface {
	Own(owner *actor.PID)
	Closing() context.Context
	Tell(message any)
	Log() *slog.Logger
	Cut()
}

// A lastingIn passes on what the client of a tunnel that outlives its WebSocket sends.
// It is a [resume.Sink].
type lastingIn struct {
	mux *Mux
	in  *inbound // set by startLasting
}

func (m *Mux) initLasting(user string) {
	m.lasting = new(resume.Session)
	m.life = m.lasting
	m.sink = &lastingIn{mux: m}
	m.lasting.Init(m.settings.Resume, resume.Options{
		Unit: replay.Messages, Opcode: m.dialect.ControlOpcode(), User: user, Sink: m.sink,
	})
}

// Announce tells the client, as soon as the Mux starts, by which token it can take the
// tunnel up: see [messages.Resumable].
func (m *Mux) Announce(token string) { m.token = token }

// TakeUp goes on with another WebSocket: see [messages.Resumable].
func (m *Mux) TakeUp(ws messages.WebSocket, number uint32, position uint64) messages.Reason {
	conn, ok := ws.(*wsock.Conn)
	if !ok || m.lasting == nil {
		return messages.ReasonNoSession
	}
	return m.lasting.TakeUp(conn, number, position)
}

func (m *Mux) startLasting() {
	m.sink.in = m.newInbound()
	m.lasting.Announce(m.token)
	m.token = ""
	done := make(chan struct{})
	reason := messages.ReasonInternal
	wsock.StartPump(m.life.Log(), "tunnel out", func() { reason = m.pumpOutLasting() }, func() {
		m.life.Tell(&messages.MuxEnded{Reason: reason})
		close(done)
	})
	m.writeDone = done
}

// discards reports whether what is read goes nowhere any more.
func (m *Mux) discards() bool {
	if m.lasting != nil {
		return m.leaving.Load()
	}
	return m.session.Discarding()
}

// Try takes a message, or a part of one, if that needs no waiting.
func (s *lastingIn) Try(data []byte, text, end bool) (n int) {
	if len(data) > 0 && s.in.wantsRoom() && !s.mux.discards() {
		return 0
	}
	s.take(data, text, end)
	return len(data)
}

// Take takes a message, or a part of one, when there is room for it.
func (s *lastingIn) Take(data []byte, text, end bool) {
	s.in.waitForRoom()
	s.take(data, text, end)
}

func (s *lastingIn) take(data []byte, text, end bool) {
	s.mux.movedIn(len(data))
	if !s.mux.discards() {
		s.in.payload(data, text, end)
	}
}

// End is not called: a tunnel has no end but that of its session.
func (*lastingIn) End() {}

// Leaving waits until all is taken that came ahead of the client's close frame, as who
// reads a client whose tunnel does not outlive its WebSocket does. If the tunnel closes
// meanwhile the rest goes nowhere.
func (s *lastingIn) Leaving() { s.mux.lasting.AwaitPassed() }

// pumpOutLasting is pumpOut for a tunnel that outlives its WebSocket. Frames stay in
// their queues, where the next one is chosen in turn, until the client may be sent
// something.
func (m *Mux) pumpOutLasting() messages.Reason {
	var watched *wsock.Conn
	var batch []sendqueue.Frame
	var all []replay.Message
	defer func() { m.queue.DropAll(batch) }()
	for m.lasting.AwaitRoom(1) > 0 {
		room := inflight.MaxBatch
		if conn := m.lasting.Conn(); conn != nil {
			if conn != watched {
				watched, m.inFlight = conn, inflight.Bound{}
				m.inFlight.Watch(conn.Sending)
				conn.KeepUnsentLow()
			}
			room = m.inFlight.Room()
		}
		var more bool
		batch, more = m.queue.Take(batch[:0], room)
		if len(batch) == 0 {
			switch {
			case !more:
				return messages.ReasonShutdown
			case room == 0:
				m.inFlight.Await(m.queue.Wake())
			default:
				select {
				case <-m.queue.Wake():
				case <-m.life.Closing().Done():
				}
			}
			continue
		}
		size, interactive := sendqueue.Total(batch)
		for i := range batch {
			message, control, buf := batch[i].Unframe()
			all = append(all, replay.Message{Payload: message, JSON: control, Buf: buf})
		}
		sent := m.lasting.Send(all...)
		clear(all)
		all = all[:0]
		m.inFlight.Wrote(size, interactive)
		m.queue.DropAll(batch)
		if !sent {
			break
		}
		m.movedOut(size)
	}
	m.queue.Clear()
	return messages.ReasonShutdown // the Mux is closing, for whatever reason
}

// finishLasting ends a Mux that outlives its WebSocket. The client has a while to be sent
// what waits, if it is there.
func (m *Mux) finishLasting(reason messages.Reason) {
	if m.leaving.Swap(true) {
		return
	}
	cut, cutting := context.WithTimeout(context.Background(), messages.Linger)
	m.cutting = cutting
	wsock.StartPump(m.life.Log(), "finish", func() {
		defer cutting()
		if listener := m.listener.Load(); listener != nil {
			listener.Close()
		}
		m.queue.End()
		if m.writeDone != nil && m.lasting.Conn() != nil {
			select {
			case <-m.writeDone:
			case <-cut.Done():
			}
		}
		m.queue.Clear()
	}, func() { m.lasting.Finish(reason, m.closed) })
}
