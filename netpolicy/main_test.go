package netpolicy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeResolver answers from a table and counts how often it was asked.
type fakeResolver struct {
	asked  atomic.Int32
	answer func(nth int, host string) ([]netip.Addr, error)
}

func (r *fakeResolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if network != "ip" {
		return nil, errors.New("asked for one family only")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return r.answer(int(r.asked.Add(1)), host)
}

// answering returns a resolver that always gives the same addresses.
func answering(addrs ...string) *fakeResolver {
	return &fakeResolver{answer: func(int, string) ([]netip.Addr, error) { return parseAddrs(addrs...), nil }}
}

func parseAddrs(list ...string) []netip.Addr {
	var addrs []netip.Addr
	for _, s := range list {
		addrs = append(addrs, netip.MustParseAddr(s))
	}
	return addrs
}

func prefixes(t testing.TB, s string) []netip.Prefix {
	t.Helper()
	if s == "" {
		return nil
	}
	list, err := ParsePrefixes(s)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// canary listens on loopback. visitors closes it and returns how many
// connections anybody but visitors itself made.
type canary struct {
	*net.TCPListener
	port uint16
}

func newCanary(t *testing.T) *canary {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &canary{TCPListener: l, port: uint16(l.Addr().(*net.TCPAddr).Port)}
}

func (c *canary) addr() netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), c.port)
}

// visitors relies on the backlog being a queue: whoever came before the
// connection that it makes itself is accepted before it.
func (c *canary) visitors(t *testing.T) int {
	t.Helper()
	mine, err := net.Dial("tcp4", c.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	for n := 0; ; n++ {
		conn, err := c.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if conn.RemoteAddr().String() == mine.LocalAddr().String() {
			return n
		}
	}
}

// reasonOf returns why err blocks, or "" if it doesn't.
func reasonOf(err error) Reason {
	if b, ok := errors.AsType[*BlockedError](err); ok {
		return b.Reason
	}
	return ""
}
