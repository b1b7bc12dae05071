package sessions

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
	"wsproxy/messages/inspect"
)

// A Set is what the owners of relays and of tunnels have in common: how many
// children live, and the drain. It belongs to the actor that it is part of.
type Set struct {
	Draining bool              // none is admitted any more
	MaxAge   time.Duration     // at which a session ends; 0 = at none
	sweeping bool              // a sweep is due
	live     int               // from their spawning to their end
	done     []chan<- struct{} // closed when Draining and live is 0
}

// Spawn begins a session. Whatever goes wrong, the edge is not left waiting.
func (s *Set) Spawn(answer chan<- messages.Admission, begin func()) {
	begun := false
	defer func() {
		if !begun {
			answer <- messages.Admission{Refusal: messages.ReasonInternal}
		}
	}()
	begin()
	begun = true
	s.live++
}

// Keep handles what concerns all sessions.
func (s *Set) Keep(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Terminated:
		s.live--
		s.settle()
	case *messages.Drain:
		tellAll(ctx, m)
		s.Draining = true
		s.done = append(s.done, m.Done)
		s.settle()
	case *messages.Shutdown:
		tellAll(ctx, m)
	case *inspect.List:
		m.Answer <- ask(ctx, m.Most)
	case *actor.Started:
		s.sweepLater(ctx)
	case *AgeBound:
		s.MaxAge = m.Most
		s.sweepLater(ctx)
	case *sweep:
		s.sweeping = false
		if s.MaxAge > 0 {
			tellAll(ctx, &inspect.End{Reason: messages.ReasonTooOld, Before: time.Now().Add(-s.MaxAge)})
		}
		s.sweepLater(ctx)
	}
}

// ask has sessions answer what they are, at most so many.
func ask(ctx actor.Context, most int) inspect.Asked {
	children := ctx.Children()
	asked := children[:min(max(most, 0), len(children))]
	answers := make(chan inspect.Session, len(asked))
	for _, child := range asked {
		ctx.Send(child, &inspect.Describe{Answer: answers})
	}
	return inspect.Asked{Sessions: answers, Number: len(asked), LeftOut: len(children) - len(asked)}
}

// AgeBound has sessions end at another age from now on, those that there are, too; 0 = at
// none.
type AgeBound struct{ Most time.Duration }

// sweep ends the sessions that are too old. One timer looks at all of them: with one each
// an idle session would have a timer.
type sweep struct{}

// Sessions end by up to so much later than MaxAge: a part of it, within bounds. To ask all
// sessions takes some milliseconds.
const (
	sweepPart     = 20
	shortestSweep = 50 * time.Millisecond
	longestSweep  = 10 * time.Second
)

func (s *Set) sweepLater(ctx actor.Context) {
	if s.MaxAge <= 0 || s.sweeping {
		return
	}
	s.sweeping = true
	self, root := ctx.Self(), ctx.ActorSystem().Root
	time.AfterFunc(min(max(s.MaxAge/sweepPart, shortestSweep), longestSweep), func() { root.Send(self, &sweep{}) })
}

// StillCloses tells a session that it has closed for [messages.Linger]: its peer
// takes its last bytes slowly. From then on it counts as a session again, and is
// cut if its limits are used up: else whoever reads slowly enough could have any
// number of them.
type StillCloses struct{}

// CountLinger has an actor that begins to close a session sent [StillCloses].
func CountLinger(ctx actor.Context) *time.Timer {
	self, root := ctx.Self(), ctx.ActorSystem().Root
	return time.AfterFunc(messages.Linger, func() { root.Send(self, &StillCloses{}) })
}

func tellAll(ctx actor.Context, message any) {
	for _, child := range ctx.Children() {
		ctx.Send(child, message)
	}
}

// settle answers whoever waits for the last session to end.
func (s *Set) settle() {
	if !s.Draining || s.live > 0 {
		return
	}
	for _, done := range s.done {
		close(done)
	}
	s.done = nil
}

// UserName returns how logs call a user.
func UserName(user string) string {
	if user == "" {
		return "anonymous"
	}
	return user
}
