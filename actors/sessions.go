package actors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// sessions is what the owners of relays and of tunnels have in common: how many
// children live, and the drain. It belongs to the actor that it is part of.
type sessions struct {
	live     int               // from their spawning to their end
	draining bool              // none is admitted any more
	done     []chan<- struct{} // closed when draining and live is 0
}

// spawn begins a session. Whatever goes wrong, the edge is not left waiting.
func (s *sessions) spawn(answer chan<- messages.Admission, begin func()) {
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

// keep handles what concerns all sessions.
func (s *sessions) keep(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Terminated:
		s.live--
		s.settle()
	case *messages.Drain:
		tellAll(ctx, m)
		s.draining = true
		s.done = append(s.done, m.Done)
		s.settle()
	case *messages.Shutdown:
		tellAll(ctx, m)
	}
}

// stillCloses tells a session that it has closed for [messages.Linger]: its peer
// takes its last bytes slowly. From then on it counts as a session again, and is
// cut if its limits are used up: else whoever reads slowly enough could have any
// number of them.
type stillCloses struct{}

// countLinger has an actor that begins to close a session sent stillCloses.
func countLinger(ctx actor.Context) *time.Timer {
	self, root := ctx.Self(), ctx.ActorSystem().Root
	return time.AfterFunc(messages.Linger, func() { root.Send(self, &stillCloses{}) })
}

func tellAll(ctx actor.Context, message any) {
	for _, child := range ctx.Children() {
		ctx.Send(child, message)
	}
}

// settle answers whoever waits for the last session to end.
func (s *sessions) settle() {
	if !s.draining || s.live > 0 {
		return
	}
	for _, done := range s.done {
		close(done)
	}
	s.done = nil
}

// userName returns how logs call a user.
func userName(user string) string {
	if user == "" {
		return "anonymous"
	}
	return user
}
