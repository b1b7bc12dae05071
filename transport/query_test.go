package transport

import (
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"

	"wsproxy/transport/relay"
)

// queryCases are what clients ask for. They seed the fuzzing too.
var queryCases = []struct {
	query  string
	target string // "" if it is refused
	id     string // of Cloudflare Access
}{
	{"host=example.com&port=22", "example.com:22", ""},
	{"host=EXAMPLE.com.&port=22", "example.com:22", ""},
	{"host=192.0.2.1&port=1", "192.0.2.1:1", ""},
	{"host=2001:db8::1&port=65535", "[2001:db8::1]:65535", ""},
	{"host=%5B2001:db8::1%5D&port=22", "[2001:db8::1]:22", ""},
	{"host=example.com&port=22&token=x&unknown=y", "example.com:22", ""},
	{"host=a.example&host=b.example&port=22", "a.example:22", ""},
	{"cf_domain=&host=example.com&port=22", "example.com:22", ""},
	{"cf_domain=ssh.example.com&cf_id=i&cf_secret=s", "ssh.example.com:443", "i"},
	{"cf_domain=ssh.example.com&cf_id=" + strings.Repeat("i", 512) + "&cf_secret=s", "ssh.example.com:443", strings.Repeat("i", 512)},
	// The known client always sends host and port.
	{"cf_domain=ssh.example.com&cf_id=i&cf_secret=s&host=other.example&port=22", "ssh.example.com:443", "i"},
	{"host=127.1&port=0&cf_domain=ssh.example.com&cf_id=i&cf_secret=s", "ssh.example.com:443", "i"},
	{"cf_domain=ssh.example.com&cf_id=i&cf_secret=s&port=", "ssh.example.com:443", "i"},
	{"", "", ""},
	{"host=example.com", "", ""},
	{"port=22", "", ""},
	{"host=&port=22", "", ""},
	{"host=example.com&port=0", "", ""},
	{"host=example.com&port=65536", "", ""},
	{"host=example.com&port=022", "", ""},
	{"host=example.com&port=%2B22", "", ""},
	{"host=127.1&port=22", "", ""},
	{"host=2130706433&port=22", "", ""},
	{"host=0x7f.1&port=22", "", ""},
	{"host=fe80::1%25eth0&port=22", "", ""},
	{"host=a%00b&port=22", "", ""},
	{"host=a%0d%0ab&port=22", "", ""},
	{"host=a/b&port=22", "", ""},
	{"host=user@example.com&port=22", "", ""},
	{"host=example.com;port=22", "", ""},
	{"host=%zz&port=22", "", ""},
	{"cf_domain=ssh.example.com", "", ""},
	{"cf_domain=ssh.example.com&cf_id=i", "", ""},
	{"cf_domain=ssh.example.com&cf_secret=s", "", ""},
	{"cf_id=i&cf_secret=s", "", ""},
	{"cf_domain=192.0.2.1&cf_id=i&cf_secret=s", "", ""},
	{"cf_domain=ssh.example.com:8443&cf_id=i&cf_secret=s", "", ""},
	{"cf_domain=ssh.example.com/path&cf_id=i&cf_secret=s", "", ""},
	{"cf_domain=ssh.example.com&cf_id=i%0d%0aX:y&cf_secret=s", "", ""},
	{"cf_domain=ssh.example.com&cf_id=i&cf_secret=s%00", "", ""},
	{"cf_domain=ssh.example.com&cf_id=" + strings.Repeat("i", 513) + "&cf_secret=s", "", ""},
	{"cf_domain=ssh.example.com&cf_id=i&host=example.com&port=22", "", ""},
	{"cf_secret=s&host=example.com&port=22", "", ""},
}

func TestRelayQueryIsReadOneWay(t *testing.T) {
	for _, c := range queryCases {
		query, _ := url.ParseQuery(c.query)
		target, access, err := parseRelay(query)
		if c.target == "" {
			if err == nil {
				t.Errorf("%q leads to %v", c.query, target)
			}
			continue
		}
		if err != nil || target.String() != c.target {
			t.Errorf("%q leads to %v, %v, want %s", c.query, target, err, c.target)
		}
		if got := access != nil; got != (c.id != "") || got && (access.ID != c.id || access.Secret != "s") {
			t.Errorf("%q gives the service token %+v", c.query, access)
		}
	}
}

// FuzzRelayQuery looks for a query that leads somewhere without being plain
// about it, or whose refusal repeats what was asked.
func FuzzRelayQuery(f *testing.F) {
	for _, c := range queryCases {
		f.Add(c.query)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		query, _ := url.ParseQuery(raw)
		target, access, err := parseRelay(query)
		if err != nil {
			if text := err.Error(); len(text) > 200 || !isPlain(text) {
				t.Fatalf("the refusal is %q", text)
			}
			if secret := query.Get("cf_secret"); len(secret) > 12 && strings.Contains(err.Error(), secret) {
				t.Fatal("the refusal repeats the secret")
			}
			return
		}
		if target.Port == 0 || target.Host == "" || !isPlain(target.String()) || strings.ContainsAny(target.Host, " /@%?#[]") {
			t.Fatalf("%q leads to %q", raw, target)
		}
		if access == nil {
			if query.Get("cf_domain")+query.Get("cf_id")+query.Get("cf_secret") != "" {
				t.Fatalf("%q leads to %v without its service token", raw, target)
			}
			return
		}
		if target.Literal() || target.Port != relay.AccessPort || !strings.EqualFold(target.Host, strings.TrimSuffix(query.Get("cf_domain"), ".")) {
			t.Fatalf("%q leads to %v by Access", raw, target)
		}
		for _, v := range []string{access.ID, access.Secret} {
			if v == "" || len(v) > maxAccessValue || !httpguts.ValidHeaderFieldValue(v) || strings.ContainsAny(v, "\r\n\x00") {
				t.Fatalf("%q makes the header value %q", raw, v)
			}
		}
	})
}

// isPlain reports whether s is printable ASCII, fit for a log and a terminal.
func isPlain(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}
