package relays

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/ledger"
	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

func TestMain(m *testing.M) { testkit.VerifyMain(m) }

// Bounds are short in many tests.
type Bounds = ledger.Bounds

// A fakePair records what its actor tells it to do, and fails where it is told
// to.
type fakePair struct {
	panicIn  string
	up, down int64
	calls    chan string // the method, and for Finish its reason
	owner    atomic.Pointer[actor.PID]
	token    string          // of Announce
	refusal  messages.Reason // what TakeUp answers
}

func newFakePair() *fakePair { return &fakePair{calls: make(chan string, 64)} }

func (l *fakePair) call(method, detail string) {
	fails := l.panicIn == method // read first: whoever takes the call may change it
	l.calls <- method + detail
	if fails {
		panic("injected into " + method)
	}
}

func (l *fakePair) Own(owner *actor.PID)  { l.owner.Store(owner); l.call("own", "") }
func (l *fakePair) Announce(token string) { l.token = token; l.call("announce", "") }
func (l *fakePair) TakeUp(_ messages.WebSocket, number uint32, position uint64) messages.Reason {
	l.call("take up", fmt.Sprint(" ", number, " ", position))
	return l.refusal
}
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

// A tally is a Meter.
type tally struct {
	mu      sync.Mutex
	started int
	ended   map[messages.Reason]int
	lasted  time.Duration
	lasting []string // what became of sessions that may outlive their WebSocket
}

func (m *tally) RelayStarted() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.started++
}

func (m *tally) RelayEnded(reason messages.Reason, lasted time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended == nil {
		m.ended = make(map[messages.Reason]int)
	}
	m.ended[reason]++
	m.lasted += lasted
}

func (m *tally) add(event string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lasting = append(m.lasting, event)
}

func (m *tally) SessionDetached(string) { m.add("detached") }
func (m *tally) SessionResumed(_ string, away time.Duration) {
	m.add(fmt.Sprint("resumed after ", away))
}
func (m *tally) SessionGivenUp(_ string, reason messages.Reason, away time.Duration) {
	m.add(fmt.Sprint(reason, " after ", away))
}

// of returns what became of sessions that may outlive their WebSocket since the last
// call.
func (m *tally) of() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	events := strings.Join(m.lasting, ", ")
	m.lasting = nil
	return events
}

func (m *tally) counts() (started, ended int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.ended {
		ended += n
	}
	return m.started, ended
}
