package transport

import (
	"math/big"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"wsproxy/messages"
)

var (
	naiveNumber = regexp.MustCompile(`^[0-9]+$`)
	naiveID     = regexp.MustCompile(`^[0-9A-Za-z_-]+$`)
)

// FuzzTakeUpRequest: whatever a client asks to take up, and from where, is read as a
// naive reader does, and nothing but what is in the alphabet of base64url becomes part
// of an actor's name.
func FuzzTakeUpRequest(f *testing.F) {
	for _, c := range []struct{ query, token string }{
		{"bytes=0&attempt=1", "abc.def"}, {"messages=9007199254740991&attempt=2", "A-_9.x"},
		{"bytes=9007199254740992", "."}, {"bytes=9223372036854775808&attempt=18446744073709551616", "a."},
		{"bytes=-1&attempt=+1", ".b"}, {"bytes=007&attempt=1_0", "a/b.c"}, {"bytes=1e3&attempt=0x1", "a\x00.c"},
		{"bytes=%20" + "1&attempt=", "\u00e4.c"}, {"bytes=1&bytes=2&attempt=1;messages=3", "$.c"},
		{"bytes=" + strings.Repeat("0", 99) + "5&attempt=%zz", "a.b.c"}, {"bytes=\u0661", strings.Repeat("a", 200) + ".x"},
	} {
		f.Add(c.query, c.token)
	}
	most := new(big.Int).SetUint64(messages.MaxPosition)
	f.Fuzz(func(t *testing.T, raw, token string) {
		query, _ := url.ParseQuery(raw)
		for _, name := range []string{messages.UnitBytes, messages.UnitMessages, "attempt"} {
			text := query.Get(name)
			want, ok := new(big.Int), false
			if naiveNumber.MatchString(text) && len(text) < 1000 {
				_, ok = want.SetString(text, 10)
			}
			if ok = ok && want.Cmp(most) <= 0; !ok {
				want.SetInt64(0)
			}
			if got, readable := readPosition(text); len(text) < 1000 && (got != want.Uint64() || readable != ok) {
				t.Errorf("%s=%q is read as %d, %v, want %v, %v", name, text, got, readable, want, ok)
			}
		}
		id, _, _ := strings.Cut(token, ".")
		if got := isTokenID(id); got != naiveID.MatchString(id) {
			t.Errorf("%q is the id of a token: %v", id, got)
		}
	})
}
