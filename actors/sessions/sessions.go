package sessions

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// A Set is what the owners of relays and of tunnels have in common: how many
// children live, and the drain. It belongs to the actor that it is part of.
type Set struct {
	Draining bool              // none is admitted any more
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
	}
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
