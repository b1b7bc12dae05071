package listen

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// A peer whose connections linger beyond the bound has its own cut: what others are sent
// arrives, however slowly they read.
func TestLingeringPeersHarmNobodyElse(t *testing.T) {
	t.Parallel()
	r := secureRoad(t)
	r.t = t
	defer r.Close()
	const most = 3
	if r.lingering.most != mostLinger {
		t.Errorf("%d may linger", r.lingering.most)
	}
	r.lingering.most = most
	r.options.ProxyFrom = func(netip.Addr) bool { return true }
	dial := r.dial
	data := make([]byte, 192<<10)
	// lingers has an answer sent to a peer that has not read it.
	lingers := func(peer string) net.Conn {
		t.Helper()
		r.dial = func() (net.Conn, error) {
			client, err := dial()
			if err == nil {
				_ = r.bare(client).(*net.TCPConn).SetReadBuffer(4096)
				_, err = fmt.Fprintf(r.bare(client), "PROXY TCP4 %s 192.0.2.99 1 443\r\n", peer)
			}
			return client, err
		}
		client, edge := r.connect()
		if _, err := edge.Conn.Write(data); err != nil {
			t.Fatal(err)
		}
		edge.Conn.Close()
		return client
	}
	isLingering := func(peer string) (n int) {
		r.lingering.mu.Lock()
		defer r.lingering.mu.Unlock()
		for s := range r.lingering.all {
			if s.peer.Addr().String() == peer {
				n++
			}
		}
		return n
	}
	for n := range most {
		lingers("192.0.2.1")
		testkit.Eventually(t, "it lingers", func() bool { return isLingering("192.0.2.1") == n+1 })
	}
	slow := lingers("192.0.2.2")
	testkit.Eventually(t, "one of those that has most gives way", func() bool {
		return isLingering("192.0.2.2") == 1 && isLingering("192.0.2.1") == most-1
	})
	if got, err := io.ReadAll(slow); err != nil || len(got) != len(data) {
		t.Errorf("somebody else has %d of %d bytes, %v", len(got), len(data), err)
	}
}

// Where descriptors are few, fewer may linger.
func TestMostLinger(t *testing.T) {
	for few, want := range map[int]int{0: mostLinger, 113: 113, 4096: mostLinger} {
		if got := New(nil, Options{MostLinger: few}).lingering.most; got != want {
			t.Errorf("of %d: %d", few, got)
		}
	}
}

// Whoever has all that was sent to it keeps no descriptors. Looking for that at the pace of
// [messages.Linger] had hundreds linger when many connections gave way.
func TestPeersThatHaveAllDoNotLinger(t *testing.T) {
	t.Parallel()
	r := secureRoad(t)
	r.t = t
	defer r.Close()
	seen := &recorder{r.Listener.Listener, make(chan net.Conn, 1)}
	r.Listener.Listener = seen
	quickest := time.Hour
	for range 8 {
		_, edge := r.connect()
		socket := testkit.Receive(t, seen.accepted)
		say(edge.Conn, "bye")
		began := time.Now()
		edge.Conn.Close()
		testkit.Eventually(t, "the socket is closed", func() bool { return socket.SetReadDeadline(time.Time{}) != nil })
		quickest = min(quickest, time.Since(began))
	}
	if quickest >= messages.Linger/looks {
		t.Errorf("the quickest took %v", quickest)
	}
}

// A recorder tells what was accepted.
type recorder struct {
	net.Listener
	accepted chan net.Conn
}

func (r *recorder) Accept() (net.Conn, error) {
	conn, err := r.Listener.Accept()
	if err == nil {
		r.accepted <- conn
	}
	return conn, err
}

// Of the peer that has most the one gives way that was acknowledged nothing for longest.
func TestWhichLingererGivesWay(t *testing.T) {
	l := lingerers{most: 4, all: make(map[*splice]struct{})}
	of := func(peer string, progress int64) *splice {
		s := &splice{peer: sourceOf(netip.MustParseAddr(peer))}
		s.progress.Store(progress)
		return s
	}
	oldest, most, site := of("192.0.2.1", 1), of("192.0.2.2", 5), of("2001:db8::1", 3)
	for _, s := range []*splice{oldest, most, of("192.0.2.2", 6), site} {
		if victim := l.enter(s); victim != nil {
			t.Fatal("one gives way while there is room")
		}
	}
	for _, step := range []struct{ enters, want *splice }{
		{of("192.0.2.3", 9), most},        // of the peer that has most
		{of("192.0.2.4", 10), oldest},     // all have one
		{of("2001:db8:0:9::1", 11), site}, // a network counts as one
	} {
		if victim := l.enter(step.enters); victim != step.want {
			t.Errorf("%v gives way, want %v", victim.peer, step.want.peer)
		}
		if n := l.count(); n != l.most {
			t.Errorf("%d linger", n)
		}
	}
	l.leave(most) // has given way
	if n := l.count(); n != l.most {
		t.Errorf("%d linger", n)
	}
}
