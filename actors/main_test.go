package actors

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/goleak"

	"wsproxy/messages"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The library starts a timer of one second at a dead letter and has no
		// way to stop it. The second name is what inlining makes of it.
		goleak.IgnoreAnyFunction("github.com/asynkron/protoactor-go/actor.NewThrottle.func2.1"),
		goleak.IgnoreAnyFunction("github.com/asynkron/protoactor-go/actor.NewDeadLetter.NewThrottle.func4.1"))
}

// patience is how long a test waits for what must happen. It is no measure of
// speed: a test that passes never waits that long.
const patience = 10 * time.Second

func newSystem(t testing.TB, log *slog.Logger) *actor.ActorSystem {
	t.Helper()
	system := NewSystem(log)
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
	return receive(p.t, p.got)
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

func receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("what was waited for did not come")
		panic("unreachable")
	}
}

// eventually polls until the condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !condition() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("never came true: %s", what)
		}
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
		if got := receive(t, l.calls); got != call {
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

// A journal is a slog.Handler that keeps what it is given.
type journal struct {
	level  slog.Level
	shared *journalLines
	attrs  []slog.Attr
}

type journalLines struct {
	mu    sync.Mutex
	lines []journalLine
}

type journalLine struct {
	level   slog.Level
	message string
	fields  map[string]any
}

func newJournal() (*slog.Logger, *journalLines) {
	lines := &journalLines{}
	return slog.New(journal{level: slog.LevelDebug, shared: lines}), lines
}

func (j journal) Enabled(_ context.Context, l slog.Level) bool { return l >= j.level }
func (j journal) WithGroup(string) slog.Handler                { return j }
func (j journal) WithAttrs(attrs []slog.Attr) slog.Handler {
	j.attrs = append(append([]slog.Attr(nil), j.attrs...), attrs...)
	return j
}

func (j journal) Handle(_ context.Context, r slog.Record) error {
	line := journalLine{level: r.Level, message: r.Message, fields: make(map[string]any)}
	keep := func(a slog.Attr) bool { line.fields[a.Key] = a.Value.Resolve().Any(); return true }
	for _, a := range j.attrs {
		keep(a)
	}
	r.Attrs(keep)
	j.shared.mu.Lock()
	defer j.shared.mu.Unlock()
	j.shared.lines = append(j.shared.lines, line)
	return nil
}

// of returns the lines with this message.
func (l *journalLines) of(message string) (lines []journalLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if line.message == message {
			lines = append(lines, line)
		}
	}
	return lines
}
