package fields

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHeaderValuesAsText(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"", ""}, {"plain", "plain"}, {"gr\u00fc\u00dfe", "gr\u00fc\u00dfe"}, {"gr\xfc\xdfe", "gr\u00fc\u00dfe"},
		{"\xc3\xa9\xe9", "\u00c3\u00a9\u00e9"}, {"\xff\x80", "\u00ff\u0080"}, {"\uFFFD", "\uFFFD"},
	} {
		if got := Text(c.in); got != c.out {
			t.Errorf("%q is read as %q", c.in, got)
		}
	}
}

// What a tunnel is told is where the request came to, whatever form its target
// has.
func TestRequestTarget(t *testing.T) {
	for _, c := range []struct{ uri, want string }{
		{"/", "/"}, {"/a%2Fb//../c?d=%zz#e", "/a%2Fb//../c?d=%zz#e"}, {"//a", "//a"}, {"*", "*"},
		{"/\xff", "/%FF"}, {"/\xc3\xa9\xc3?\xe2\x82\xac\xe2\x82", "/\u00e9%C3?\u20ac%E2%82"}, {"/\uFFFD\x80", "/\uFFFD%80"}, {"/\u00e9?\u20ac", "/\u00e9?\u20ac"},
		{"http://s.t.example", "/"}, {"http://s.t.example/a?b", "/a?b"}, {"http://s.t.example?b", "/?b"},
	} {
		r := httptest.NewRequest("GET", "http://s.t.example/", nil)
		if strings.HasPrefix(c.uri, "http:") {
			r = httptest.NewRequest("GET", c.uri, nil)
		}
		r.RequestURI = c.uri
		if got := Target(r); got != c.want {
			t.Errorf("%q is %q, want %q", c.uri, got, c.want)
		}
	}
}
