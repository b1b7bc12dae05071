package supervise

import (
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// A mailbox is the library's, but that who sends one of certain messages to an actor that
// rests runs it itself. So a request goes through its actors without a change of
// goroutines: a small one through a tunnel has six messages.
//
// As long as more comes, who runs an actor is kept by it. That it rests every now and
// then is as sure as that its messages don't pile up.
type mailbox struct {
	actor.Mailbox // whose dispatcher this is
	workers       *Workers
	run           func()      // of who has set due
	due           atomic.Bool // run is to be called
}

// longData is from how many bytes on data of a tunnel's client goes by the workers: whoever
// writes it on writes more at once if it comes a little later, and its reader can go on.
const longData = 8 << 10

// isDirect reports whether who sends a message may run its receiver: all who send it hold no
// lock then. What the limits answer is none of these, though they hold none: a handler that is
// run within the one actor for all would hold up the others.
func isDirect(message any) bool {
	switch m := message.(type) {
	case *messages.OpenRequest, *messages.RequestRead, *messages.RequestEnded, *messages.CancelRequest, *messages.Delivered,
		*messages.Acquire, *messages.Release, *messages.FromClient:
		return true
	case *messages.Data:
		return len(m.Data) < longData
	}
	return false
}

// DirectOption has the workers run an actor, or who sends to it: see mailbox.
func (w *Workers) DirectOption() actor.PropsOption {
	if w == nil {
		return w.Option()
	}
	library := actor.Unbounded()
	return actor.WithMailbox(func() actor.Mailbox { return &mailbox{Mailbox: library(), workers: w} })
}

// RegisterHandlers is the library's.
func (m *mailbox) RegisterHandlers(invoker actor.MessageInvoker, _ actor.Dispatcher) {
	m.Mailbox.RegisterHandlers(invoker, m)
}

// Schedule notes that the actor is to be run. It is called by who posts, if nobody runs
// the actor, and before PostUserMessage or PostSystemMessage returns.
func (m *mailbox) Schedule(run func()) {
	m.run = run
	m.due.Store(true)
}

// Throughput is that of [Workers].
func (m *mailbox) Throughput() int { return mailboxThroughput }

// PostUserMessage posts a message.
func (m *mailbox) PostUserMessage(message any) {
	m.Mailbox.PostUserMessage(message)
	if m.due.Load() && m.due.CompareAndSwap(true, false) {
		if run := m.run; isDirect(message) {
			run()
		} else {
			m.workers.Schedule(run)
		}
	}
}

// PostSystemMessage posts a message of the library's.
func (m *mailbox) PostSystemMessage(message any) {
	m.Mailbox.PostSystemMessage(message)
	if m.due.Load() && m.due.CompareAndSwap(true, false) {
		m.workers.Schedule(m.run)
	}
}
