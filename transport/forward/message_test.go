package forward

import "testing"

func TestHeaderValuesAsText(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"", ""}, {"plain", "plain"}, {"gr\u00fc\u00dfe", "gr\u00fc\u00dfe"}, {"gr\xfc\xdfe", "gr\u00fc\u00dfe"},
		{"\xc3\xa9\xe9", "\u00c3\u00a9\u00e9"}, {"\xff\x80", "\u00ff\u0080"}, {"\uFFFD", "\uFFFD"},
	} {
		if got := decodeText(c.in); got != c.out {
			t.Errorf("%q is read as %q", c.in, got)
		}
	}
}
