package outside

import (
	"net/http"
	"net/netip"
	"testing"
)

func TestPeer(t *testing.T) {
	for _, c := range []struct{ remote, source, want string }{
		{"192.0.2.1:80", "192.0.2.1", "192.0.2.1:80"},
		{"[::ffff:192.0.2.1]:80", "192.0.2.1", "192.0.2.1:80"},
		{"[2001:db8::1]:80", "2001:db8::1", "[2001:db8::1]:80"},
		{"127.0.0.1:80", "192.0.2.1", "192.0.2.1:0"},
		{"@", "2001:db8::1", "[2001:db8::1]:0"},
	} {
		if got := Peer(&http.Request{RemoteAddr: c.remote}, netip.MustParseAddr(c.source)); got != c.want {
			t.Errorf("%s of %s: %s, want %s", c.source, c.remote, got, c.want)
		}
	}
}
