package supervise

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// A counter counts messages, and fails if two run it at once. A function that it is sent is
// called.
type counter struct {
	busy  atomic.Bool
	count *atomic.Int32
}

func (c *counter) Receive(ctx actor.Context) {
	if c.busy.Swap(true) {
		panic("two run one actor")
	}
	defer c.busy.Store(false)
	switch m := ctx.Message().(type) {
	case *messages.Delivered:
		c.count.Add(1)
		if m.ID == "fatal" {
			panic("injected")
		}
	case func():
		m()
	}
}

func spawnCounter(w *Workers) (system *actor.ActorSystem, pid *actor.PID, count *atomic.Int32) {
	count = new(atomic.Int32)
	system = NewSystem(slog.New(slog.DiscardHandler))
	props := Guarded(slog.New(slog.DiscardHandler), func() actor.Actor { return &counter{count: count} },
		actor.WithGuardian(Resume), w.DirectOption())
	return system, system.Root.Spawn(props), count
}

// A message that may be dealt with at once was, when its sender goes on: if nobody else runs
// the actor, and no matter who has sent what it gets before.
func TestSendersRunActors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWorkers()
		defer w.Close()
		system, pid, count := spawnCounter(w)
		defer system.Shutdown()
		synctest.Wait() // it has started
		for n := range int32(10) {
			system.Root.Send(pid, &messages.Delivered{})
			if got := count.Load(); got != n+1 {
				t.Fatalf("behind %d messages it has had %d", n+1, got)
			}
			system.Root.Send(pid, func() {}) // by a worker
			synctest.Wait()
		}
		held := make(chan struct{})
		system.Root.Send(pid, func() { <-held }) // this goroutine is not held up
		system.Root.Send(pid, &messages.Delivered{})
		synctest.Wait()
		if got := count.Load(); got != 10 {
			t.Errorf("while it is held up it has had %d messages, not 10", got)
		}
		close(held)
		synctest.Wait()
		if got := count.Load(); got != 11 {
			t.Errorf("it has had %d messages, not 11", got)
		}
	})
}

// The sender of a message at which the actor fails hears nothing of it.
func TestSendersOutliveActorsThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWorkers()
		defer w.Close()
		system, pid, count := spawnCounter(w)
		defer system.Shutdown()
		for range 2 {
			synctest.Wait() // it has started, or was resumed
			system.Root.Send(pid, &messages.Delivered{ID: "fatal"})
		}
		synctest.Wait()
		if got := count.Load(); got != 2 {
			t.Errorf("it has had %d messages, not 2", got)
		}
	})
}

// Nothing is lost, and nobody runs beside another, however many send in both ways.
func TestManySendersOfOneActor(t *testing.T) {
	const senders, each = 8, 2000
	w := NewWorkers()
	defer w.Close()
	system, pid, count := spawnCounter(w)
	defer system.Shutdown()
	var all sync.WaitGroup
	for i := range senders {
		all.Go(func() {
			for n := range each {
				if system.Root.Send(pid, &messages.Delivered{}); (i+n)%3 == 0 {
					system.Root.Send(pid, func() {})
				}
			}
		})
	}
	all.Wait()
	done := make(chan struct{})
	system.Root.Send(pid, func() { close(done) })
	<-done
	if got := count.Load(); got != senders*each {
		t.Errorf("it has had %d messages, not %d", got, senders*each)
	}
}

// What would hold its sender up, or others, is left to the workers.
func TestWhatSendersRun(t *testing.T) {
	for _, c := range []struct {
		message any
		direct  bool
	}{
		{&messages.Acquire{}, true},
		{&messages.Granted{}, false},
		{&messages.Data{Data: make([]byte, longData-1)}, true},
		{&messages.Data{Data: make([]byte, longData)}, false},
	} {
		if isDirect(c.message) != c.direct {
			t.Errorf("%T of up to %d bytes is direct: %t", c.message, longData, !c.direct)
		}
	}
}
