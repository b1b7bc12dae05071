package desk

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/supervise"
	"wsproxy/internal/testkit"
)

// NewSystem returns an actor system that ends with the test.
func NewSystem(t testing.TB, log *slog.Logger) *actor.ActorSystem {
	t.Helper()
	system := supervise.NewSystem(log)
	t.Cleanup(system.Shutdown)
	return system
}

// A Probe stands in for an actor: what it is sent comes out of a channel, in
// order. System messages, such as those of the death watch, come out too.
type Probe struct {
	T    testing.TB
	Root *actor.RootContext
	PID  *actor.PID
	Got  chan any
}

var probes atomic.Int64

// NewProbe returns a probe with a name of its own.
func NewProbe(t testing.TB, system *actor.ActorSystem) *Probe {
	t.Helper()
	p := &Probe{T: t, Root: system.Root, Got: make(chan any, 1024)}
	pid, fresh := system.ProcessRegistry.Add(p, fmt.Sprintf("probe-%d", probes.Add(1)))
	if !fresh {
		t.Fatal("the probe's name is taken")
	}
	p.PID = pid
	return p
}

// SendUserMessage is called by the library.
func (p *Probe) SendUserMessage(_ *actor.PID, message any) {
	_, m, _ := actor.UnwrapEnvelope(message)
	p.Got <- m
}

// SendSystemMessage is called by the library.
func (p *Probe) SendSystemMessage(_ *actor.PID, message any) { p.Got <- message }

// Stop is called by the library.
func (p *Probe) Stop(*actor.PID) {}

// Next returns what the probe is sent next.
func (p *Probe) Next() any {
	p.T.Helper()
	return testkit.Receive(p.T, p.Got)
}

// Ask sends a request and returns the answer. Death watches, which the limits
// set on a probe that holds something, are passed over.
func (p *Probe) Ask(to *actor.PID, request any) any {
	p.T.Helper()
	p.Root.RequestWithCustomSender(to, request, p.PID)
	for {
		switch m := p.Next().(type) {
		case *actor.Watch, *actor.Unwatch:
		default:
			return m
		}
	}
}

// Settled returns when the actor has handled all that this goroutine sent it.
func (p *Probe) Settled(of *actor.PID) {
	p.T.Helper()
	if _, ok := p.Ask(of, &actor.Touch{}).(*actor.Touched); !ok {
		p.T.Fatal("the actor is not alive")
	}
}
