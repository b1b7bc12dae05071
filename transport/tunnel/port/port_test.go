package port

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

func TestMain(m *testing.M) { testkit.VerifyMain(m) }

type taken struct {
	conn  *net.TCPConn
	peer  string
	count netip.Prefix
}

// accept accepts on loopback until the test ends, with so many places.
func accept(t *testing.T, proxies Proxies, places int) (address string, takes <-chan taken) {
	t.Helper()
	l, err := Listen(netip.MustParseAddr("127.0.0.1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	stop, ended, got := make(chan struct{}), make(chan struct{}), make(chan taken, 10)
	place := make(chan struct{}, places)
	go func() {
		defer close(ended)
		_ = AcceptAll(l, proxies, place, stop, func(conn *net.TCPConn, peer net.Addr, count netip.Prefix) {
			got <- taken{conn, peer.String(), count}
		})
	}()
	t.Cleanup(func() {
		close(stop)
		l.Close()
		<-ended
		for len(got) > 0 {
			(<-got).conn.Close()
		}
	})
	return l.Addr().String(), got
}

func dial(t *testing.T, address, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// Whom a proxy names is the peer. One that sends nothing holds up nobody.
func TestProxiesNameThePeer(t *testing.T) {
	refused := make(chan messages.Reason, 1)
	trusted := Proxies{
		From:    func(peer netip.Addr) bool { return peer.Unmap() == netip.MustParseAddr("127.0.0.1") },
		Refused: func(reason messages.Reason, _ netip.Addr) { refused <- reason },
	}
	address, takes := accept(t, trusted, 3)
	dial(t, address, "") // keeps its place
	dial(t, address, "PROXY TCP6 2001:db8::9 2001:db8::1 12345 80\r\nhello")
	got := testkit.Receive(t, takes)
	if got.peer != "[2001:db8::9]:12345" || got.count.String() != "2001:db8::/64" {
		t.Errorf("taken as %s, counted as %s", got.peer, got.count)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(got.conn, b); err != nil || string(b) != "hello" {
		t.Errorf("behind the header comes %q, %v", b, err)
	}
	got.conn.Close()

	for range 3 { // two places are taken, by what was taken and by the silent one: a refused one gives its own back
		conn := dial(t, address, "SSH-2.0-x\r\n")
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("without a header: %v", err)
		}
		if reason := testkit.Receive(t, refused); reason != messages.ReasonProxyHeader {
			t.Errorf("refused for %s", reason)
		}
	}
	local := dial(t, address, "PROXY UNKNOWN\r\n")
	if got = testkit.Receive(t, takes); got.peer != local.LocalAddr().String() {
		t.Errorf("the proxy's own connection comes from %s", got.peer)
	}
	got.conn.Close()
}

// Others, and all where there are no proxies, are taken as they are.
func TestPeersAreTakenAsTheyAre(t *testing.T) {
	for name, proxies := range map[string]Proxies{"none": {}, "others": {From: func(netip.Addr) bool { return false }}} {
		t.Run(name, func(t *testing.T) {
			address, takes := accept(t, proxies, 1)
			conn := dial(t, address, "PROXY UNKNOWN\r\n")
			got := testkit.Receive(t, takes)
			defer got.conn.Close()
			b := make([]byte, 15)
			if _, err := io.ReadFull(got.conn, b); err != nil || string(b) != "PROXY UNKNOWN\r\n" || got.peer != conn.LocalAddr().String() || got.count.String() != "127.0.0.1/32" {
				t.Errorf("it is %s, counted as %s, and says %q, %v", got.peer, got.count, b, err)
			}
		})
	}
}
