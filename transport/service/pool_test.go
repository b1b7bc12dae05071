package service

import (
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/http1"
)

// A fake is a Conn that can be kept until it ends.
type fake struct {
	mu      sync.Mutex
	happens func() // under mu
	used    bool   // under mu: it can be used
	closed  int    // under mu
	idle    []time.Duration
	ends    []Outcome
}

func (f *fake) Room(int) ([]byte, error)                  { return nil, nil }
func (f *fake) Send(int, int)                             {}
func (f *fake) Write(b []byte) (int, error)               { return len(b), nil }
func (f *fake) Next(<-chan struct{}) ([]byte, error)      { return nil, nil }
func (f *fake) Waits() bool                               { return true }
func (f *fake) Passed([]byte)                             {}
func (f *fake) Answered(*http1.Answer, []byte, bool)      {}
func (f *fake) End(outcome Outcome)                       { f.ends = append(f.ends, outcome) }
func (f *fake) Join(*net.TCPConn, func()) messages.Stream { return nil }

func (f *fake) Begin(idle time.Duration, _ bool) bool {
	f.idle = append(f.idle, idle)
	return false
}

func (f *fake) Idle(happens func()) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.happens = happens
	return f.used
}

func (f *fake) Use() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.used
}

func (f *fake) Close(messages.CloseReason) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
}

func (f *fake) isClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed > 0
}

// newFakePool returns a pool of fakes, which come in order of their opening.
func newFakePool(s Settings) (*Pool, *[]*fake) {
	var all []*fake
	s.Open = func(string) (Conn, error) {
		f := &fake{used: true}
		all = append(all, f)
		return f, nil
	}
	return NewPool(s), &all
}

func (p *Pool) mustOpen(t *testing.T) *Lease {
	t.Helper()
	l, err := p.Open("peer")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A connection is kept for as long as its service says, and the one that has waited
// least serves the next request.
func TestPoolKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, all := newFakePool(Settings{})
		if p.Take() != nil {
			t.Fatal("there is a connection that nobody has opened")
		}
		first, second := p.mustOpen(t), p.mustOpen(t)
		for _, l := range []*Lease{first, second} {
			l.Begin(true)
			if l.Served() {
				t.Error("a new one has served a request")
			}
			l.End(OutcomeKept, time.Minute, messages.CloseEOF)
		}
		time.Sleep(time.Second)
		l := p.Take()
		if l != second || !l.Served() {
			t.Fatal("another one is taken than the last")
		}
		l.Begin(true)
		if idle := (*all)[1].idle; len(idle) != 2 || idle[0] != 0 || idle[1] != time.Second {
			t.Errorf("it was idle for %v", idle)
		}
		l.End(OutcomeLast, 0, messages.CloseEOF)
		if !(*all)[1].isClosed() || (*all)[0].isClosed() {
			t.Error("not the one is closed whose service closes it")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if !(*all)[0].isClosed() || p.Take() != nil {
			t.Error("it is kept for ever")
		}
		if (*all)[0].closed != 1 {
			t.Errorf("it is closed %d times", (*all)[0].closed)
		}
	})
}

// One that ends while it is kept, or before, is closed and serves nobody.
func TestPoolDropsWhatHasEnded(t *testing.T) {
	p, all := newFakePool(Settings{})
	l := p.mustOpen(t)
	l.Begin(true)
	l.End(OutcomeKept, time.Minute, messages.CloseEOF)
	(*all)[0].happens()
	if !(*all)[0].isClosed() || p.Take() != nil {
		t.Error("it is kept though something has happened to it")
	}
	l = p.mustOpen(t)
	l.Begin(true)
	(*all)[1].used = false
	l.End(OutcomeKept, time.Minute, messages.CloseEOF)
	if !(*all)[1].isClosed() || p.Take() != nil {
		t.Error("it is kept though it had ended")
	}
	l = p.mustOpen(t)
	l.Begin(true)
	l.End(OutcomeKept, time.Minute, messages.CloseEOF)
	(*all)[2].used = false
	if p.Take() != nil || !(*all)[2].isClosed() {
		t.Error("one is taken that has ended just now")
	}
}

// Connections that are used, and those that are kept, are no more than there may be.
func TestPoolHasABound(t *testing.T) {
	p, all := newFakePool(Settings{Max: 2})
	first, second := p.mustOpen(t), p.mustOpen(t)
	for _, l := range []*Lease{first, second} {
		l.Begin(true)
		l.End(OutcomeKept, time.Minute, messages.CloseEOF)
	}
	third := p.mustOpen(t)
	if !(*all)[0].isClosed() || (*all)[1].isClosed() {
		t.Error("not the one is closed that has waited longest")
	}
	p.mustOpen(t)
	if !(*all)[1].isClosed() {
		t.Error("there are three")
	}
	third.Left()
	if len(p.kept) != 0 || p.used != 1 {
		t.Errorf("%d are kept, %d used", len(p.kept), p.used)
	}

	p, all = newFakePool(Settings{})
	var leases []*Lease
	for range maxKept + 1 {
		leases = append(leases, p.mustOpen(t))
	}
	for _, l := range leases {
		l.Begin(true)
		l.End(OutcomeKept, time.Minute, messages.CloseEOF)
	}
	if len(p.kept) != maxKept || !(*all)[0].isClosed() {
		t.Errorf("%d are kept", len(p.kept))
	}
	for range maxKept { // so that no timer is left
		p.Take()
	}
}

func TestPoolThatCanNotOpen(t *testing.T) {
	p := NewPool(Settings{Max: 1, Open: func(string) (Conn, error) { return nil, net.ErrClosed }})
	if _, err := p.Open("peer"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the error is %v", err)
	}
	if p.used != 0 {
		t.Errorf("%d are used", p.used)
	}
}

func TestForHowLongAConnectionIsKept(t *testing.T) {
	short, long := NewPool(Settings{Idle: 1500 * time.Millisecond}), NewPool(Settings{})
	for value, want := range map[string]time.Duration{
		"": keptIdle, "timeout=5": 4 * time.Second, "max=3, Timeout=\"5\"": 4 * time.Second, "timeout=1": 0, "timeout=0": 0,
		"timeout=1000": keptIdle, "timeout=x": keptIdle, "max=1": keptIdle,
	} {
		header := []messages.Field{{Name: "Date", Value: "timeout=1"}, {Name: "Keep-Alive", Value: value}}
		if got := long.KeepFor(header); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
		if got := short.KeepFor(header); got != min(want, 1500*time.Millisecond) {
			t.Errorf("%q: %s of 1.5 s", value, got)
		}
	}
}
