package actors

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/goleak"

	"wsproxy/actors/ledger"
	"wsproxy/actors/supervise"
	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The library starts a timer of one second at a dead letter and has no
		// way to stop it. The second name is what inlining makes of it.
		goleak.IgnoreAnyFunction("github.com/asynkron/protoactor-go/actor.NewThrottle.func2.1"),
		goleak.IgnoreAnyFunction("github.com/asynkron/protoactor-go/actor.NewDeadLetter.NewThrottle.func4.1"))
}

func newSystem(t testing.TB, log *slog.Logger) *actor.ActorSystem {
	t.Helper()
	system := supervise.NewSystem(log)
	t.Cleanup(system.Shutdown)
	return system
}

// A probe stands in for an actor: what it is sent comes out of a channel, in
// order. System messages, such as those of the death watch, come out too.
type probe struct {
	t    testing.TB
	root *actor.RootContext
	pid  *actor.PID
	got  chan any
}

var probes atomic.Int64

func newProbe(t testing.TB, system *actor.ActorSystem) *probe {
	t.Helper()
	p := &probe{t: t, root: system.Root, got: make(chan any, 1024)}
	pid, fresh := system.ProcessRegistry.Add(p, fmt.Sprintf("probe-%d", probes.Add(1)))
	if !fresh {
		t.Fatal("the probe's name is taken")
	}
	p.pid = pid
	return p
}

func (p *probe) SendUserMessage(_ *actor.PID, message any) {
	_, m, _ := actor.UnwrapEnvelope(message)
	p.got <- m
}
func (p *probe) SendSystemMessage(_ *actor.PID, message any) { p.got <- message }
func (p *probe) Stop(*actor.PID)                             {}

// next returns what the probe is sent next.
func (p *probe) next() any {
	p.t.Helper()
	return testkit.Receive(p.t, p.got)
}

// ask sends a request and returns the answer. Death watches, which the limits
// set on a probe that holds something, are passed over.
func (p *probe) ask(to *actor.PID, request any) any {
	p.t.Helper()
	p.root.RequestWithCustomSender(to, request, p.pid)
	for {
		switch m := p.next().(type) {
		case *actor.Watch, *actor.Unwatch:
		default:
			return m
		}
	}
}

// settled returns when the actor has handled all that this goroutine sent it.
func (p *probe) settled(of *actor.PID) {
	p.t.Helper()
	if _, ok := p.ask(of, &actor.Touch{}).(*actor.Touched); !ok {
		p.t.Fatal("the actor is not alive")
	}
}

// A fakePair records what its actor tells it to do, and fails where it is told
// to.
type fakePair struct {
	panicIn  string
	up, down int64
	calls    chan string // the method, and for Finish its reason
	owner    atomic.Pointer[actor.PID]
}

func newFakePair() *fakePair { return &fakePair{calls: make(chan string, 64)} }

func (l *fakePair) call(method, detail string) {
	fails := l.panicIn == method // read first: whoever takes the call may change it
	l.calls <- method + detail
	if fails {
		panic("injected into " + method)
	}
}

func (l *fakePair) Own(owner *actor.PID)     { l.owner.Store(owner); l.call("own", "") }
func (l *fakePair) Resolve()                 { l.call("resolve", "") }
func (l *fakePair) Dial()                    { l.call("dial", "") }
func (l *fakePair) Pump()                    { l.call("pump", "") }
func (l *fakePair) Finish(r messages.Reason) { l.call("finish", " "+string(r)) }
func (l *fakePair) Cut()                     { l.call("cut", "") }
func (l *fakePair) Moved() (up, down int64)  { l.call("moved", ""); return l.up, l.down }

// taken returns what was called so far, and forgets it.
func (l *fakePair) taken() (calls []string) {
	for {
		select {
		case c := <-l.calls:
			calls = append(calls, c)
		default:
			return calls
		}
	}
}

// want fails unless the next calls are these.
func (l *fakePair) want(t testing.TB, calls ...string) {
	t.Helper()
	for _, call := range calls {
		if got := testkit.Receive(t, l.calls); got != call {
			t.Fatalf("the pair was told to %q, want %q", got, call)
		}
	}
}

// A tally is a RelayMeter.
type tally struct {
	mu      sync.Mutex
	started int
	ended   map[messages.Reason]int
	up      int64
	down    int64
}

func (m *tally) RelayStarted() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.started++
}

func (m *tally) RelayEnded(reason messages.Reason, up, down int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended == nil {
		m.ended = make(map[messages.Reason]int)
	}
	m.ended[reason]++
	m.up += up
	m.down += down
}

func (m *tally) counts() (started, ended int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.ended {
		ended += n
	}
	return m.started, ended
}

// Bounds are short in many tests.
type Bounds = ledger.Bounds
