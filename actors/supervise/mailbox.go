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
// Who runs an actor so is not kept by what others send: after some messages a worker goes
// on. The library has no word for that, so the actor is suspended and, when its runner has
// left it, resumed.
type mailbox struct {
	actor.Mailbox        // whose dispatcher this is
	actor.MessageInvoker // the actor
	workers              *Workers
	run                  func()      // of who has set due
	due                  atomic.Bool // run is to be called
	left                 int         // of who runs the actor: how many more messages it deals with; no bound if negative
	resume               atomic.Bool // who has run the actor is to resume it
}

const (
	// longData is from how many bytes on data of a tunnel's client goes by the workers: whoever
	// writes it on writes more at once if it comes a little later, and its reader can go on.
	longData = 8 << 10
	// directMessages is with how many messages a sender deals before a worker does: more than a
	// request has in a busy tunnel, and less than a millisecond's.
	directMessages = 64
)

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
	m.MessageInvoker = invoker
	m.Mailbox.RegisterHandlers(m, m)
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
	m.runIfDue(isDirect(message))
}

// PostSystemMessage posts a message of the library's.
func (m *mailbox) PostSystemMessage(message any) {
	m.Mailbox.PostSystemMessage(message)
	m.runIfDue(false)
}

// runIfDue runs the actor if that is due, or has a worker do it.
func (m *mailbox) runIfDue(direct bool) {
	if !m.due.Load() || !m.due.CompareAndSwap(true, false) {
		return
	}
	if !direct {
		m.left = -1
		m.workers.Schedule(m.run)
		return
	}
	m.left = directMessages
	m.run()
	if m.resume.CompareAndSwap(true, false) {
		m.PostSystemMessage(&actor.ResumeMailbox{})
	}
}

// InvokeUserMessage has the actor deal with a message. Behind the last one that is for a
// sender, that leaves.
func (m *mailbox) InvokeUserMessage(message any) {
	m.MessageInvoker.InvokeUserMessage(message)
	if m.left--; m.left == 0 {
		m.left = directMessages
		m.Mailbox.PostSystemMessage(&actor.SuspendMailbox{})
		m.resume.Store(true) // not before: to be resumed is the last word
	}
}

// EscalateFailure has the supervisor say what becomes of an actor that has failed. It alone
// resumes the actor then.
func (m *mailbox) EscalateFailure(reason, message any) {
	m.resume.Store(false)
	m.MessageInvoker.EscalateFailure(reason, message)
}
