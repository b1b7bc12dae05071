package netpolicy

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const (
	open     = Reason("")
	noSpace  = Reason("there is no address there")
	anyBlock = Reason("whatever")
)

// defaultRanges says again, apart from the code, what is blocked, and what
// becomes of the addresses next to it.
var defaultRanges = []struct {
	prefix        string
	before, after Reason
}{
	{"0.0.0.0/8", noSpace, open},
	{"10.0.0.0/8", open, open},
	{"100.64.0.0/10", open, open},
	{"127.0.0.0/8", open, open},
	{"168.63.129.16/32", open, open},
	{"169.254.0.0/16", open, open},
	{"172.16.0.0/12", open, open},
	{"192.0.0.0/24", open, open},
	{"192.0.2.0/24", open, open},
	{"192.88.99.0/24", open, open},
	{"192.168.0.0/16", open, open},
	{"198.18.0.0/15", open, open},
	{"198.51.100.0/24", open, open},
	{"203.0.113.0/24", open, open},
	{"224.0.0.0/4", open, anyBlock},
	{"240.0.0.0/4", anyBlock, noSpace},
	{"255.255.255.255/32", anyBlock, noSpace},
	{"::/128", noSpace, anyBlock},
	{"::1/128", anyBlock, anyBlock},
	{"::/96", noSpace, ReasonIPv6},
	{"100::/64", ReasonIPv6, ReasonIPv6},
	{"2001:1::/126", ReasonEmbedded, open}, // before it is Teredo's last, whose server is 255.255.255.255
	{"2001:2::/48", open, open},
	{"2001:10::/28", open, anyBlock},
	{"2001:20::/28", anyBlock, open},
	{"2001:db8::/32", open, open},
	{"3fff::/20", open, open},
	{"5f00::/16", ReasonIPv6, ReasonIPv6},
	{"fc00::/7", ReasonIPv6, ReasonIPv6},
	{"fe80::/10", ReasonIPv6, anyBlock},
	{"fec0::/10", anyBlock, anyBlock},
	{"ff00::/8", anyBlock, noSpace},
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func TestDefaultBlockAtItsEdges(t *testing.T) {
	p := New(Options{DefaultBlock: true})
	check := func(prefix, where string, addr netip.Addr, want Reason) {
		t.Helper()
		err := p.Judge(netip.AddrPortFrom(addr, 443))
		got := reasonOf(err)
		if want == noSpace {
			if addr.IsValid() {
				t.Errorf("%s: %s there is %s after all", prefix, where, addr)
			}
			return
		}
		if want == anyBlock && got != open {
			return
		}
		if got != want {
			t.Errorf("%s: %s it, %s: got %q, want %q (%v)", prefix, where, addr, got, want, err)
		}
	}
	var named []netip.Prefix
	for _, r := range defaultRanges {
		prefix := netip.MustParsePrefix(r.prefix)
		named = append(named, prefix)
		first, last := prefix.Addr(), lastAddr(prefix)
		check(r.prefix, "first of", first, ReasonRange)
		check(r.prefix, "last of", last, ReasonRange)
		check(r.prefix, "before", first.Prev(), r.before)
		check(r.prefix, "after", last.Next(), r.after)
		if first.Is4() {
			check(r.prefix, "first, mapped, of", netip.AddrFrom16(first.As16()), ReasonRange)
			check(r.prefix, "last, mapped, of", netip.AddrFrom16(last.As16()), ReasonRange)
		}
	}
	compare := func(a, b netip.Prefix) int { return strings.Compare(a.String(), b.String()) }
	have := DefaultBlocked()
	slices.SortFunc(have, compare)
	slices.SortFunc(named, compare)
	if !slices.Equal(have, named) {
		t.Errorf("the ranges blocked are\n%v\nthose tested\n%v", have, named)
	}
}

func TestOnlyGlobalUnicastOfIPv6(t *testing.T) {
	p := New(Options{DefaultBlock: true})
	for addr, want := range map[string]Reason{
		"1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": ReasonIPv6,
		"2000::":               open,
		"2606:4700:4700::1111": open,
		"3ffe::1":              open,
		"3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": open,
		"4000::":             ReasonIPv6,
		"64:ff9b::8.8.8.8":   ReasonIPv6,
		"64:ff9b:1::8.8.8.8": ReasonIPv6,
		"::ffff:8.8.8.8":     open,
		"8.8.8.8":            open,
	} {
		if got := reasonOf(p.Judge(netip.AddrPortFrom(netip.MustParseAddr(addr), 53))); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
}

// Every way of embedding, with every kind of list.
func TestEmbeddedAddresses(t *testing.T) {
	detours := map[string]string{ // carrying 10.0.0.1
		"compatible":     "::10.0.0.1",
		"translated":     "::ffff:0:10.0.0.1",
		"nat64":          "64:ff9b::10.0.0.1",
		"nat64 local 48": "64:ff9b:1:a00:0:100::",
		"nat64 local 56": "64:ff9b:1:a:0:1::",
		"nat64 local 64": "64:ff9b:1:0:a:0:100:0",
		"nat64 local 96": "64:ff9b:1::10.0.0.1",
		"nat64 suffix":   "64:ff9b:1:a00:0:100:1234:5678",
		"teredo client":  "2001:0:4136:e378:8000:63bf:f5ff:fffe",
		"teredo server":  "2001:0:a00:1:8000:63bf:f7f7:f7f7",
		"6to4":           "2002:a00:1::1",
		"isatap":         "2606:4700::5efe:10.0.0.1",
		"isatap global":  "2606:4700::200:5efe:10.0.0.1",
	}
	judge := func(o Options, addr string) Reason {
		return reasonOf(New(o).Judge(netip.AddrPortFrom(netip.MustParseAddr(addr), 22)))
	}
	ten := prefixes(t, "10.0.0.0/8")
	for name, addr := range detours {
		if judge(Options{DefaultBlock: true}, addr) == open {
			t.Errorf("%s, %s: open by default", name, addr)
		}
		if got := judge(Options{Blocked: ten}, addr); got != ReasonEmbedded {
			t.Errorf("%s, %s: %q with a list of 10.0.0.0/8 alone", name, addr, got)
		}
		if got := judge(Options{}, addr); got != open {
			t.Errorf("%s, %s: %q with nothing blocked", name, addr, got)
		}
		if got := judge(Options{Blocked: ten, Allowed: ten}, addr); got != ReasonEmbedded {
			t.Errorf("%s, %s: %q, opened by allowing what it carries", name, addr, got)
		}
		if got := judge(Options{DefaultBlock: true, Allowed: prefixes(t, addr+"/128")}, addr); got != open {
			t.Errorf("%s, %s: %q although just this address is allowed", name, addr, got)
		}
		if got := judge(Options{DefaultBlock: true, Allowed: prefixes(t, "::/0")}, addr); got != ReasonEmbedded {
			t.Errorf("%s, %s: %q, opened by allowing IPv6", name, addr, got)
		}
	}
	// Mapped is no detour, it is the address.
	if got := judge(Options{DefaultBlock: true, Allowed: ten}, "::ffff:10.0.0.1"); got != open {
		t.Errorf("mapped: %q although allowed", got)
	}
	if got := judge(Options{DefaultBlock: true, Allowed: prefixes(t, "::ffff:10.0.0.0/104")}, "10.0.0.1"); got != open {
		t.Errorf("10.0.0.1: %q although allowed in its mapped form", got)
	}
}

// A range opens an embedded address exactly if it is long enough to name it.
func TestAllowedThroughNAT64(t *testing.T) {
	for _, tt := range []struct {
		allowed, addr string
		want          Reason
	}{
		{"64:ff9b::/96", "64:ff9b::8.8.8.8", open},
		{"64:ff9b::/96", "64:ff9b::10.0.0.1", ReasonEmbedded},
		{"64:ff9b::/96", "64:ff9b::127.0.0.1", ReasonEmbedded},
		{"64:ff9b::/32", "64:ff9b::8.8.8.8", open},
		{"64:ff9b::a00:0/104", "64:ff9b::10.0.0.1", open},
		{"64:ff9b::a00:0/104", "64:ff9b::11.0.0.1", ReasonIPv6},
		{"64:ff9b::/96, 64:ff9b::a00:0/104", "64:ff9b::10.0.0.1", open},
		{"64:ff9b::/96, 64:ff9b::a00:0/104", "64:ff9b::192.168.0.1", ReasonEmbedded},
		// The range's length tells which of the layouts is meant.
		{"64:ff9b:1::/96", "64:ff9b:1::8.8.8.8", open},
		{"64:ff9b:1::/96", "64:ff9b:1::10.0.0.1", ReasonEmbedded},
		{"2002::/16", "2002:808:808::1", open},
		{"2002::/16", "2002:a00:1::1", ReasonEmbedded},
		{"2002:a00::/24", "2002:a00:1::1", open},
	} {
		p := New(Options{DefaultBlock: true, Allowed: prefixes(t, tt.allowed)})
		if got := reasonOf(p.Judge(netip.AddrPortFrom(netip.MustParseAddr(tt.addr), 22))); got != tt.want {
			t.Errorf("%s with %s allowed: %q, want %q", tt.addr, tt.allowed, got, tt.want)
		}
	}
}

func TestListsTogether(t *testing.T) {
	for _, tt := range []struct {
		name, blocked, allowed, ports string
		def                           bool
		addr                          string
		want                          Reason
	}{
		{"default", "", "", "", true, "10.0.0.1:22", ReasonRange},
		{"allowed", "", "10.0.0.0/8", "", true, "10.0.0.1:22", open},
		{"allowed, mapped", "", "10.0.0.0/8", "", true, "[::ffff:10.0.0.1]:22", open},
		{"another is not", "", "10.0.0.0/8", "", true, "172.16.0.1:22", ReasonRange},
		{"allowed IPv6 outside 2000::/3", "", "fd00::/8", "", true, "[fd00::1]:22", open},
		{"everything allowed", "", "0.0.0.0/0", "", true, "127.0.0.1:22", open},
		{"IPv6 allowed is not IPv4", "", "::/0", "", true, "127.0.0.1:22", ReasonRange},
		{"replaced", "8.8.8.0/24", "", "", false, "10.0.0.1:22", open},
		{"replaced, the rule for IPv6 too", "8.8.8.0/24", "", "", false, "[fd00::1]:22", open},
		{"replaced, on it", "8.8.8.0/24", "", "", false, "8.8.8.8:22", ReasonRange},
		{"replaced, on it, mapped", "8.8.8.0/24", "", "", false, "[::ffff:8.8.8.8]:22", ReasonRange},
		{"replaced, mapped on it", "::ffff:8.8.8.0/120", "", "", false, "8.8.8.8:22", ReasonRange},
		{"replaced, on it, through NAT64", "8.8.8.0/24", "", "", false, "[64:ff9b::8.8.8.8]:22", ReasonEmbedded},
		{"added", "8.8.8.0/24", "", "", true, "8.8.8.8:22", ReasonRange},
		{"ports", "", "", "22,8000-8999", true, "8.8.8.8:22", open},
		{"ports, another", "", "", "22,8000-8999", true, "8.8.8.8:23", ReasonPort},
		{"ports, allowed address", "", "10.0.0.0/8", "22", true, "10.0.0.1:23", ReasonPort},
		{"port 0", "", "", "", false, "8.8.8.8:0", ReasonPort},
		{"zone", "", "fe80::/10", "", true, "[fe80::1%eth0]:22", ReasonZone},
		{"zone, nothing blocked", "", "", "", false, "[2606:4700::1%eth0]:22", ReasonZone},
	} {
		ports, err := ParsePorts(tt.ports)
		if err != nil {
			t.Fatal(err)
		}
		p := New(Options{Blocked: prefixes(t, tt.blocked), DefaultBlock: tt.def, Allowed: prefixes(t, tt.allowed), Ports: ports})
		err = p.Judge(netip.MustParseAddrPort(tt.addr))
		if got := reasonOf(err); got != tt.want {
			t.Errorf("%s: %s: %q, want %q", tt.name, tt.addr, got, tt.want)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("%s: %q is more than a line", tt.name, err)
		}
	}
	if got := reasonOf(New(Options{}).Judge(netip.AddrPort{})); got != ReasonInvalid {
		t.Errorf("no address: %q", got)
	}
}

func TestOwnListeningPorts(t *testing.T) {
	p := New(Options{
		Allowed: prefixes(t, "0.0.0.0/0, ::/0"),
		OwnPort: func(port uint16) bool { return port == 8080 || port == 10042 },
		OwnAddrs: func() ([]netip.Addr, error) {
			return parseAddrs("192.0.2.7", "::ffff:192.0.2.8", "2001:db8::7", "fe80::7%eth0"), nil
		},
	})
	for _, host := range []string{"192.0.2.7", "192.0.2.8", "::ffff:192.0.2.7", "2001:db8::7", "fe80::7", "127.0.0.1", "127.1.2.3", "::1", "0.0.0.0", "::", "64:ff9b::192.0.2.7", "2002:c000:207::1", "::192.0.2.7"} {
		addr := netip.MustParseAddr(host)
		for port, want := range map[uint16]Reason{8080: ReasonOwnPort, 10042: ReasonOwnPort, 8081: open} {
			if got := reasonOf(p.Judge(netip.AddrPortFrom(addr, port))); got != want {
				t.Errorf("%s port %d: %q, want %q", host, port, got, want)
			}
		}
	}
	for _, host := range []string{"192.0.2.9", "2001:db8::8", "64:ff9b:1::8.8.8.8"} {
		if err := p.Judge(netip.AddrPortFrom(netip.MustParseAddr(host), 8080)); err != nil {
			t.Errorf("%s is somebody else's: %v", host, err)
		}
	}
}

func TestOwnAddressesAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		addrs, fail, asked := parseAddrs("192.0.2.7"), error(nil), 0
		p := New(Options{
			OwnPort:  func(uint16) bool { return true },
			OwnAddrs: func() ([]netip.Addr, error) { asked++; return addrs, fail },
		})
		judge := func(addr string) Reason { return reasonOf(p.Judge(netip.AddrPortFrom(netip.MustParseAddr(addr), 1))) }

		fail = errors.New("too many open files")
		if got := judge("8.8.8.8"); got != ReasonOwnPort {
			t.Errorf("%q while the addresses were never to be had", got)
		}
		fail = nil
		if got := judge("192.0.2.7"); got != ReasonOwnPort {
			t.Errorf("%q for an own address", got)
		}
		if got := judge("192.0.2.8"); got != open {
			t.Errorf("%q for another", got)
		}
		if asked != 2 {
			t.Errorf("asked %d times, want 2", asked)
		}
		addrs = parseAddrs("192.0.2.8")
		<-time.After(ownAddrsFor) // by the bubble's clock
		if got := judge("192.0.2.8"); got != ReasonOwnPort {
			t.Errorf("%q for a new address", got)
		}
		if got := judge("192.0.2.7"); got != open {
			t.Errorf("%q for one that is gone", got)
		}
		fail = errors.New("too many open files")
		<-time.After(ownAddrsFor)
		if got := judge("192.0.2.8"); got != ReasonOwnPort {
			t.Errorf("%q while the addresses are not to be had", got)
		}
	})
}

// One slow look at the interfaces holds nobody up who has an older list.
func TestOwnAddressesAreFetchedByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold, calls := make(chan struct{}), 0
		o := newOwnAddrs(func() ([]netip.Addr, error) {
			calls++
			if calls > 1 {
				<-hold
			}
			return parseAddrs("192.0.2.7"), nil
		})
		own := netip.MustParseAddr("192.0.2.7")
		o.contains(own)
		<-time.After(ownAddrsFor)
		var wg sync.WaitGroup
		wg.Go(func() { o.contains(own) })
		synctest.Wait()
		for range 10 {
			if !o.contains(own) {
				t.Error("forgot itself")
			}
		}
		close(hold)
		wg.Wait()
		if calls != 2 {
			t.Errorf("fetched %d times, want 2", calls)
		}
	})
}

func TestOwnAddressesOfThisMachine(t *testing.T) {
	addrs, err := interfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return plain(a).IsLoopback() }) {
		t.Errorf("%v has no loopback address", addrs)
	}
}

func TestJudgeDoesNotAllocate(t *testing.T) {
	p := New(Options{DefaultBlock: true, OwnPort: func(port uint16) bool { return port == 443 }})
	for _, s := range []string{"8.8.8.8:22", "[2606:4700::1]:443", "[2002:808:808::1]:22"} {
		ap := netip.MustParseAddrPort(s)
		if n := testing.AllocsPerRun(100, func() { _ = p.Judge(ap) }); n != 0 {
			t.Errorf("%s: %v allocations", s, n)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	p := New(Options{DefaultBlock: true, OwnPort: func(port uint16) bool { return port == 8080 }})
	for _, s := range []string{"8.8.8.8:22", "[::ffff:8.8.8.8]:22", "[2606:4700::1]:22", "[2002:808:808::1]:22", "8.8.8.8:8080", "10.0.0.1:22"} {
		ap := netip.MustParseAddrPort(s)
		b.Run(strings.ReplaceAll(s, ":", "_"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = p.Judge(ap)
			}
		})
	}
}

func BenchmarkParseTarget(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = ParseTarget("ssh.example.com", "22")
	}
}
