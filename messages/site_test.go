package messages

import (
	"net/netip"
	"testing"
)

func TestSite(t *testing.T) {
	for source, want := range map[string]string{
		"2001:db8:1:2::/64": "2001:db8:1::/48",
		"2001:db8::1/128":   "2001:db8::/48",
		"2001:db8:1::/48":   "",
		"2001:db8::/32":     "",
		"192.0.2.1/32":      "",
	} {
		site, ok := Site(netip.MustParsePrefix(source))
		if ok != (want != "") || ok && (site.String() != want || !IsSite(site)) {
			t.Errorf("%s is of %s, %v", source, site, ok)
		}
	}
	if IsSite(netip.MustParsePrefix("2001:db8:1:2::/64")) || IsSite(netip.MustParsePrefix("192.0.2.1/32")) || IsSite(netip.Prefix{}) {
		t.Error("what is no /48 is a site")
	}
	if site, ok := Site(netip.Prefix{}); ok {
		t.Errorf("no prefix is of %s", site)
	}
	if SiteFactor != 4 {
		t.Errorf("the protocol grants four times the bound, not %d", SiteFactor)
	}
}
