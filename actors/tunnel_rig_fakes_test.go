package actors

import (
	"fmt"
	"strings"
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// A fakeLink writes down what it is told, and fails where it is told to.
type fakeLink struct {
	wider    int // under mu: bytes that windows are wider by
	mayWiden int // under mu: up to how many

	mu      sync.Mutex
	calls   []string
	handled []int // what Handled was called with
	dropped []int // and Dropped
	forgot  []string
	taken   int  // bytes of memory, by TakeMemory
	scarce  bool // there is no memory for requests
	owner   *actor.PID
	handler *actor.PID
	ready   string // what Prepare was called with
	panicIn string // a method; consumed by the panic
	full    bool
	memory  int64 // what it holds
	coming  int64 // the part of it that a message under way from the client has

	token    string          // of Announce
	refusal  messages.Reason // what TakeUp answers
	onStart  func()          // called by Start
	onFinish func()          // called by Finish
}

func (l *fakeLink) Announce(token string) { l.token = token; l.call("announce") }

func (l *fakeLink) TakeUp(_ messages.WebSocket, number uint32, position uint64) messages.Reason {
	l.call("take up", number, position)
	return l.refusal
}

func (l *fakeLink) call(method string, details ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, strings.TrimSuffix(fmt.Sprintln(append([]any{method}, details...)...), "\n"))
	if l.panicIn == method {
		l.panicIn = ""
		panic("injected into " + method)
	}
}

func (l *fakeLink) Own(tunnel *actor.PID) { l.owner = tunnel; l.call("own") }
func (l *fakeLink) Listen(port uint16)    { l.call("listen", port) }
func (l *fakeLink) Prepare(handler *actor.PID, ready []byte) {
	l.handler, l.ready = handler, string(ready)
}
func (l *fakeLink) Start() {
	if l.onStart != nil {
		l.onStart()
	}
	l.call("start", l.ready)
}
func (l *fakeLink) Control(message []byte) { l.call("control", string(message)) }
func (l *fakeLink) Request(_ string, message []byte) bool {
	if l.scarce {
		return false
	}
	l.Control(message)
	return true
}

func (l *fakeLink) TakeMemory(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n > 0 && l.scarce {
		return false
	}
	l.taken += n
	return true
}

func (l *fakeLink) GiveMemory(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken -= n
}

// TakesInline says yes, as every client of the public protocol does.
func (l *fakeLink) TakesInline(int) bool { return true }

func (l *fakeLink) Forget(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgot = append(l.forgot, id)
}

func (l *fakeLink) Dropped(size int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped = append(l.dropped, size)
}

func (l *fakeLink) Finish(reason messages.Reason) {
	if l.onFinish != nil {
		l.onFinish()
	}
	l.call("finish", reason)
}

func (l *fakeLink) Cut() { l.call("cut") }

func (l *fakeLink) Handled(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handled = append(l.handled, n)
}

func (l *fakeLink) Full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.full
}

func (l *fakeLink) Crowded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.scarce
}

func (l *fakeLink) GiveUp() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	given := l.coming
	l.memory, l.coming = l.memory-given, 0
	return given
}

func (l *fakeLink) Held() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.memory
}

func (l *fakeLink) Moved() (sent, received int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.panicIn == "moved" {
		panic("injected into moved")
	}
	return 11, 22
}

// take returns the calls since the last take.
func (l *fakeLink) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := l.calls
	l.calls = nil
	return calls
}

func (l *fakeLink) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.calls) == 0 {
		return ""
	}
	return l.calls[len(l.calls)-1]
}
