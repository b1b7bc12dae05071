package netpolicy

import (
	"net/netip"
	"testing"
)

// Lists can change while addresses are judged. Own ports stay own.
func TestReplaceLists(t *testing.T) {
	p := New(Options{DefaultBlock: true, OwnPort: func(port uint16) bool { return port == 7 }})
	private, public, own := netip.MustParseAddrPort("10.0.0.1:22"), netip.MustParseAddrPort("8.8.8.8:22"), netip.MustParseAddrPort("127.0.0.1:7")
	ports, err := ParsePorts("443")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		o               Options
		private, public bool // are reached
	}{
		{Options{DefaultBlock: true}, false, true},
		{Options{}, true, true},
		{Options{DefaultBlock: true, Allowed: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, true, true},
		{Options{Blocked: []netip.Prefix{netip.MustParsePrefix("8.8.8.0/24")}}, true, false},
		{Options{Ports: ports}, false, false},
	} {
		p.Replace(test.o)
		if got := p.Judge(private) == nil; got != test.private {
			t.Errorf("%+v: %v is reached: %v", test.o, private, got)
		}
		if got := p.Judge(public) == nil; got != test.public {
			t.Errorf("%+v: %v is reached: %v", test.o, public, got)
		}
		if p.Judge(own) == nil {
			t.Errorf("%+v: an own port is reached", test.o)
		}
	}
}

// Copies of a Sources trust whom it trusts now.
func TestReplaceTrusted(t *testing.T) {
	s := NewSources(nil)
	held, proxy := s, netip.MustParseAddr("10.0.0.1")
	if held.Trusted(proxy) || (Sources{}).Trusted(proxy) {
		t.Error("it is trusted before anybody said so")
	}
	s.Replace(NewSources([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}))
	if !held.Trusted(proxy) {
		t.Error("it is not trusted")
	}
	s.Replace(NewSources(nil))
	if held.Trusted(proxy) {
		t.Error("it is trusted still")
	}
}
