package supervise

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// Who sends a message is not kept by an actor that always has another one.
func TestSendersAreNotKept(t *testing.T) {
	w := NewWorkers()
	defer w.Close()
	log := slog.New(slog.DiscardHandler)
	system := NewSystem(log)
	defer system.Shutdown()
	var enough atomic.Bool
	ended, started := make(chan struct{}), make(chan struct{})
	pid := system.Root.Spawn(Guarded(log, func() actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case *actor.Started:
				close(started)
			case *messages.Delivered:
				if enough.Load() {
					close(ended)
					return
				}
				ctx.Send(ctx.Self(), &messages.Delivered{})
			}
		})
	}, w.DirectOption()))
	testkit.Receive(t, started)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		system.Root.Send(pid, &messages.Delivered{})
	}()
	testkit.Receive(t, sent)
	enough.Store(true)
	testkit.Receive(t, ended)
}

// A fragile fails now and then, and must not be heard of after that.
type fragile struct {
	broken bool
	order  *[]int // the latest message of each sender, of all incarnations
	count  *int
	t      *testing.T
}

// numbered is a message of one of some senders.
type numbered struct{ sender, n int }

func (f *fragile) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case func():
		m()
	case *messages.Delivered, *numbered:
		if f.broken {
			f.t.Error("an actor that has failed goes on")
		}
		*f.count++
		if m, ok := m.(*numbered); ok {
			if m.n <= (*f.order)[m.sender] {
				f.t.Errorf("message %d of %d comes behind %d", m.n, m.sender, (*f.order)[m.sender])
			}
			(*f.order)[m.sender] = m.n
		}
		if *f.count%97 == 0 {
			f.broken = true
			panic("injected")
		}
	}
}

// What is left to a worker keeps its order, and waits for the supervisor of an actor
// that has failed meanwhile.
func TestActorsThatFailWhileManySend(t *testing.T) {
	const senders, each = 8, 5000
	w := NewWorkers()
	defer w.Close()
	log := slog.New(slog.DiscardHandler)
	system := NewSystem(log)
	defer system.Shutdown()
	order, count := make([]int, senders), 0
	restarts := actor.NewOneForOneStrategy(1<<30, 0, func(any) actor.Directive { return actor.RestartDirective })
	child := make(chan *actor.PID, 1)
	system.Root.Spawn(Guarded(log, func() actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				child <- ctx.Spawn(Guarded(log, func() actor.Actor { return &fragile{order: &order, count: &count, t: t} }, w.DirectOption()))
			}
		})
	}, actor.WithSupervisor(restarts)))
	pid := testkit.Receive(t, child)
	var all sync.WaitGroup
	for i := range senders {
		all.Go(func() {
			for n := range each {
				system.Root.Send(pid, &messages.Delivered{})
				system.Root.Send(pid, &numbered{i, n + 1})
			}
		})
	}
	all.Wait()
	done := make(chan int, 1)
	system.Root.Send(pid, func() { done <- count })
	if got := testkit.Receive(t, done); got != 2*senders*each {
		t.Errorf("%d messages have come, not %d", got, 2*senders*each)
	}
}

// An actor that is run by what another one sends while that fails, and fails itself, takes
// nothing of that one's failure, and each is heard of once.
func TestActorsThatFailWithinOthers(t *testing.T) {
	w := NewWorkers()
	defer w.Close()
	log := slog.New(slog.DiscardHandler)
	system, inner, count := spawnCounter(w)
	defer system.Shutdown()
	var failed atomic.Int32
	OnFailure(system, func(string) { failed.Add(1) })
	outer := system.Root.Spawn(Guarded(log, func() actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) {
			switch m := ctx.Message().(type) {
			case *messages.RequestRead:
				defer ctx.Send(inner, &messages.Delivered{ID: m.ID})
				panic("injected")
			case func():
				m()
			}
		})
	}, actor.WithGuardian(Resume), w.DirectOption()))
	for i, c := range []struct {
		id       string
		failures int32
	}{{"", 1}, {"fatal", 3}, {"", 4}} {
		system.Root.Send(outer, &messages.RequestRead{ID: c.id})
		for _, pid := range []*actor.PID{outer, inner} {
			done := make(chan struct{})
			system.Root.Send(pid, func() { close(done) })
			testkit.Receive(t, done)
		}
		if had, failures := count.Load(), failed.Load(); had != int32(i+1) || failures != c.failures {
			t.Errorf("behind %d messages the inner one has had %d, and %d failures were told, not %d", i+1, had, failures, c.failures)
		}
	}
}
