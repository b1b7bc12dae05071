package netpolicy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// endpoint is what a fakeNet has at an address.
type endpoint struct {
	after time.Duration
	conn  *net.TCPConn
	err   error // both nil: it never answers
	stays bool  // its connection comes even after the attempt was cancelled
}

// fakeNet stands in for the network, in a bubble of synctest. It notes when
// each attempt began.
type fakeNet struct {
	ends  map[netip.AddrPort]endpoint
	start time.Time
	mu    sync.Mutex
	begun []string // guarded by mu until Dial has returned
}

func (n *fakeNet) connect(ctx context.Context, ap netip.AddrPort) (*net.TCPConn, error) {
	n.mu.Lock()
	n.begun = append(n.begun, fmt.Sprintf("%s+%dms", ap.Addr(), time.Since(n.start).Milliseconds()))
	n.mu.Unlock()
	e := n.ends[ap]
	if e.conn == nil && e.err == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if e.stays {
		<-time.After(e.after)
		return e.conn, e.err
	}
	select {
	case <-time.After(e.after):
		return e.conn, e.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// tcpPair is a connection over loopback; far is its other end.
func tcpPair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	c := newCanary(t)
	near, err := net.DialTCP("tcp4", nil, c.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	far, err = c.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

func addrPorts(list ...string) []netip.AddrPort {
	var aps []netip.AddrPort
	for _, a := range parseAddrs(list...) {
		aps = append(aps, netip.AddrPortFrom(a, 22))
	}
	return aps
}

func TestDialRaces(t *testing.T) {
	const a, b, c, six, seven = "192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::6", "2001:db8::7"
	refused := endpoint{err: syscall.ECONNREFUSED}
	dead := endpoint{}
	near, _ := tcpPair(t)
	good := endpoint{conn: near}
	slow := endpoint{conn: near, after: 300 * time.Millisecond}
	for _, tt := range []struct {
		name  string
		addrs []string
		ends  map[string]endpoint
		begun string
		took  time.Duration
		fails bool
	}{
		{"the first connects", []string{a, b}, map[string]endpoint{a: good, b: good}, "192.0.2.1+0ms", 0, false},
		{"the first is dead", []string{a, b}, map[string]endpoint{a: dead, b: good}, "192.0.2.1+0ms 192.0.2.2+250ms", 250 * time.Millisecond, false},
		{"the first is refused", []string{a, b}, map[string]endpoint{a: refused, b: good}, "192.0.2.1+0ms 192.0.2.2+0ms", 0, false},
		{"a slow one still wins", []string{a, b}, map[string]endpoint{a: slow, b: dead}, "192.0.2.1+0ms 192.0.2.2+250ms", 300 * time.Millisecond, false},
		{"a failure resets the delay", []string{a, b, c}, map[string]endpoint{a: {after: 100 * time.Millisecond, err: syscall.ECONNREFUSED}, b: dead, c: good},
			"192.0.2.1+0ms 192.0.2.2+100ms 192.0.2.3+350ms", 350 * time.Millisecond, false},
		{"families take turns", []string{six, seven, a, b}, map[string]endpoint{six: dead, seven: dead, a: dead, b: good},
			"2001:db8::6+0ms 192.0.2.1+250ms 2001:db8::7+500ms 192.0.2.2+750ms", 750 * time.Millisecond, false},
		{"the resolver's first family leads", []string{a, six}, map[string]endpoint{a: dead, six: good}, "192.0.2.1+0ms 2001:db8::6+250ms", 250 * time.Millisecond, false},
		{"all are refused", []string{a, b}, map[string]endpoint{a: refused, b: refused}, "192.0.2.1+0ms 192.0.2.2+0ms", 0, true},
		{"all are dead", []string{a, b}, map[string]endpoint{a: dead, b: dead}, "192.0.2.1+0ms 192.0.2.2+250ms", 10 * time.Second, true},
		{"none", nil, nil, "", 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &fakeNet{ends: map[netip.AddrPort]endpoint{}, start: time.Now()}
				for s, e := range tt.ends {
					n.ends[addrPorts(s)[0]] = e
				}
				p := New(Options{})
				p.connect = n.connect
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				conn, err := p.Dial(ctx, addrPorts(tt.addrs...))
				if took := time.Since(n.start); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if got := strings.Join(n.begun, " "); got != tt.begun {
					t.Errorf("attempts %s, want %s", got, tt.begun)
				}
				if tt.fails {
					if _, ok := errors.AsType[*UnreachableError](err); !ok || conn != nil {
						t.Errorf("got %v, %v", conn, err)
					}
				} else if conn != near || err != nil {
					t.Errorf("got %v, %v", conn, err)
				}
			})
		})
	}
}

// Two connect at the same time, or one connects although it was told to stop:
// the loser is closed before Dial returns.
func TestDialClosesTheLosers(t *testing.T) {
	win, _ := tcpPair(t)
	lose, far := tcpPair(t)
	synctest.Test(t, func(t *testing.T) {
		addrs := addrPorts("192.0.2.1", "192.0.2.2")
		n := &fakeNet{start: time.Now(), ends: map[netip.AddrPort]endpoint{
			addrs[0]: {conn: lose, after: time.Second, stays: true},
			addrs[1]: {conn: win, after: 0},
		}}
		p := New(Options{})
		p.connect = n.connect
		conn, err := p.Dial(t.Context(), addrs)
		if conn != win || err != nil {
			t.Errorf("got %v, %v", conn, err)
		}
	})
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the loser is still open: %v", err)
	}
	if _, err := win.Write([]byte("x")); err != nil {
		t.Errorf("the winner is not: %v", err)
	}
}

func TestDialIsBounded(t *testing.T) {
	var addrs []netip.AddrPort
	for i := range 200 {
		addrs = append(addrs, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 22))
	}
	p := New(Options{})
	var tried atomic.Int32
	p.connect = func(context.Context, netip.AddrPort) (*net.TCPConn, error) {
		tried.Add(1)
		return nil, syscall.ECONNREFUSED
	}
	_, err := p.Dial(context.Background(), addrs)
	if u, ok := errors.AsType[*UnreachableError](err); !ok || len(u.Attempts) != maxAttempts || tried.Load() != maxAttempts {
		t.Errorf("%d attempts, %v", tried.Load(), err)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNet{start: time.Now()}
		p := New(Options{})
		p.connect = n.connect
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		_, err := p.Dial(ctx, addrPorts("192.0.2.1", "192.0.2.2"))
		if _, ok := errors.AsType[*UnreachableError](err); !ok || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(n.start); took != 100*time.Millisecond || len(n.begun) != 1 {
			t.Errorf("took %v for %v", took, n.begun)
		}
	})
}

func TestDialEndsWhenOneIsBlockedByNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		addrs := addrPorts("192.0.2.1", "192.0.2.2", "192.0.2.3")
		blocked := &BlockedError{Addr: addrs[1], Reason: ReasonOwnPort}
		n := &fakeNet{start: time.Now(), ends: map[netip.AddrPort]endpoint{addrs[1]: {err: blocked}}}
		p := New(Options{})
		p.connect = n.connect
		_, err := p.Dial(t.Context(), addrs)
		if !errors.Is(err, blocked) || len(n.begun) != 2 {
			t.Errorf("got %v after %v", err, n.begun)
		}
	})
}

func TestDialSurvivesAPanic(t *testing.T) {
	p := New(Options{})
	p.connect = func(context.Context, netip.AddrPort) (*net.TCPConn, error) { panic("a bug") }
	_, err := p.Dial(context.Background(), addrPorts("192.0.2.1"))
	if u, ok := errors.AsType[*UnreachableError](err); !ok || !strings.Contains(u.Attempts[0].Error(), "a bug") {
		t.Errorf("got %v", err)
	}
}

// From here on with real sockets.

func TestDialConnects(t *testing.T) {
	c := newCanary(t)
	closed, _ := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	dead := closed.Addr().(*net.TCPAddr).AddrPort()
	closed.Close()
	p := New(Options{})
	ctx, cancel := context.WithCancel(context.Background())
	for _, first := range []netip.AddrPort{c.addr(), dead, netip.AddrPortFrom(netip.MustParseAddr("::ffff:127.0.0.1"), c.port)} {
		conn, err := p.Dial(ctx, []netip.AddrPort{first, c.addr()})
		if err != nil {
			t.Fatal(err)
		}
		far, err := c.Accept()
		if err != nil {
			t.Fatal(err)
		}
		cancel() // must not end what is connected
		if _, err := far.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		conn.Close()
		far.Close()
		ctx, cancel = context.WithCancel(context.Background())
	}
	cancel()
	_, err := p.Dial(context.Background(), []netip.AddrPort{dead})
	if u, ok := errors.AsType[*UnreachableError](err); !ok || u.Error() != "cannot reach target: connection refused" {
		t.Errorf("got %v", err)
	}
}

// Dial takes no address on trust.
func TestDialJudgesAgain(t *testing.T) {
	c := newCanary(t)
	p := New(Options{DefaultBlock: true})
	for _, addrs := range [][]netip.AddrPort{{c.addr()}, {netip.MustParseAddrPort("8.8.8.8:53"), c.addr()}} {
		if _, err := p.Dial(context.Background(), addrs); reasonOf(err) != ReasonRange {
			t.Errorf("%v: got %v", addrs, err)
		}
	}
	if n := c.visitors(t); n != 0 {
		t.Errorf("the canary had %d visitors", n)
	}
}

// The process begins to listen on the port while the target is under way: at
// the third judgement, which is the one right before connect(2), or only after
// it, when the address that it was connected from gives it away.
func TestDialNoticesNewOwnPorts(t *testing.T) {
	for _, tt := range []struct {
		name     string
		from     int32
		visitors int
	}{
		{"before the first attempt", 2, 0},
		{"before connect", 3, 0},
		{"after connect", 4, 1},
	} {
		c := newCanary(t)
		var asked atomic.Int32
		p := New(Options{OwnPort: func(port uint16) bool { return port == c.port && asked.Add(1) >= tt.from }})
		addrs, err := p.Resolve(context.Background(), Target{Host: "127.0.0.1", Port: c.port, Addr: netip.MustParseAddr("127.0.0.1")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = p.Dial(context.Background(), addrs); reasonOf(err) != ReasonOwnPort {
			t.Errorf("%s: got %v", tt.name, err)
		}
		if n := c.visitors(t); n != tt.visitors {
			t.Errorf("%s: %d visitors, want %d", tt.name, n, tt.visitors)
		}
	}
}

func TestControlAcceptsNoOtherAddress(t *testing.T) {
	p := New(Options{})
	want := netip.MustParseAddrPort("192.0.2.1:22")
	for address, ok := range map[string]bool{
		"192.0.2.1:22": true, "[::ffff:192.0.2.1]:22": true,
		"192.0.2.2:22": false, "192.0.2.1:23": false, "example.com:22": false, "": false,
	} {
		if err := p.control(want, address); (err == nil) != ok {
			t.Errorf("%q: got %v", address, err)
		}
	}
}

func TestUnreachableErrorFitsACloseReason(t *testing.T) {
	for _, tt := range []struct {
		attempts []error
		want     string
	}{
		{nil, "connection failed"},
		{[]error{errors.New(strings.Repeat("x", 500))}, "connection failed"},
		{[]error{syscall.ENETUNREACH, syscall.ECONNREFUSED}, "connection refused"},
		{[]error{syscall.ENETUNREACH, context.DeadlineExceeded}, "timed out"},
		{[]error{&net.DNSError{IsTimeout: true}}, "timed out"},
		{[]error{syscall.ENETUNREACH}, "network unreachable"},
		{[]error{syscall.EHOSTUNREACH}, "no route to host"},
		{[]error{context.Canceled}, "cancelled"},
	} {
		got := (&UnreachableError{Attempts: tt.attempts}).Error()
		if got != "cannot reach target: "+tt.want || len(got) > 123 {
			t.Errorf("%v: %q, want %q", tt.attempts, got, tt.want)
		}
	}
}

func TestInterleave(t *testing.T) {
	got := interleave(addrPorts("192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"))
	want := addrPorts("192.0.2.1", "2001:db8::1", "192.0.2.2", "192.0.2.3")
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
