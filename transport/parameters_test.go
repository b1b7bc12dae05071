package transport

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"

	"wsproxy/messages"
)

// parameterCases are what clients ask for, by the default of the server's
// control. They seed the fuzzing too.
var parameterCases = []struct {
	query, fallback string
	want            parameters
	no              messages.Reason
}{
	{"", "text", parameters{control: "text"}, ""},
	{"", "gossh", parameters{control: "gossh"}, ""},
	{"control=binary&flow=credit", "gossh", parameters{control: "binary", credit: true}, ""},
	{"control=&flow=&http=&raw=", "binary", parameters{control: "binary"}, ""},
	{"raw=off", "text", parameters{control: "text", noRaw: true}, ""},
	{"raw=off&control=gossh", "text", parameters{control: "gossh", noRaw: true}, ""},
	{"http=bytes&flow=credit", "text", parameters{control: "text", credit: true, bytes: true}, ""},
	{"http=bytes&flow=credit&control=binary&raw=off", "gossh", parameters{control: "binary", credit: true, bytes: true, noRaw: true}, ""},
	{"http=bytes&flow=credit&host=localhost:5173", "text", parameters{control: "text", credit: true, bytes: true, host: "localhost:5173"}, ""},
	{"http=bytes&flow=credit&host=%5B::1%5D", "text", parameters{control: "text", credit: true, bytes: true, host: "[::1]"}, ""},
	{"name=my-app-2", "text", parameters{control: "text", name: "my-app-2"}, ""},
	{"name=" + strings.Repeat("a", 64), "text", parameters{control: "text", name: strings.Repeat("a", 64)}, ""},
	// Without http=bytes nobody asks for host: it may be anything, as ever.
	{"host=a%0d%0ab", "text", parameters{control: "text"}, ""},

	{"control=bad", "text", parameters{}, messages.ReasonBadControl},
	{"control=TEXT", "text", parameters{}, messages.ReasonBadControl},
	{"flow=credits", "text", parameters{}, messages.ReasonBadControl},
	{"http=messages", "text", parameters{}, messages.ReasonBadControl},
	{"http=Bytes&flow=credit", "text", parameters{}, messages.ReasonBadControl},
	{"raw=on", "text", parameters{}, messages.ReasonBadControl},
	{"http=bytes", "text", parameters{}, messages.ReasonBadControl},
	{"http=bytes&flow=credit&control=gossh", "text", parameters{}, messages.ReasonBadControl},
	{"http=bytes&flow=credit", "gossh", parameters{}, messages.ReasonBadControl},
	{"http=bytes&flow=credit&host=a%0d%0ab", "text", parameters{}, messages.ReasonBadHost},
	{"name=", "text", parameters{}, messages.ReasonBadName},
	{"name=" + strings.Repeat("a", 65), "text", parameters{}, messages.ReasonBadName},
	{"name=App", "text", parameters{}, messages.ReasonBadName},
	{"name=a.b", "text", parameters{}, messages.ReasonBadName},
	{"name=a%00", "text", parameters{}, messages.ReasonBadName},
	{"name=%C3%A4", "text", parameters{}, messages.ReasonBadName},
}

func TestTunnelParametersAreReadOneWay(t *testing.T) {
	for _, c := range parameterCases {
		query, _ := url.ParseQuery(c.query)
		got, no := parseTunnel(query, c.fallback)
		if got != c.want {
			t.Errorf("%q asks for %+v, want %+v", c.query, got, c.want)
		}
		switch {
		case c.no == "" && no != nil:
			t.Errorf("%q is refused: %s", c.query, no.sentence)
		case c.no != "" && (no == nil || no.reason != c.no || no.status != http.StatusBadRequest):
			t.Errorf("%q is answered %+v, want %s", c.query, no, c.no)
		}
	}
}

// Names lead where the protocol says, as another implementation has computed it.
func TestSubdomainOfAName(t *testing.T) {
	tunnels := &Tunnels{NameSecret: "0123456789abcdef0123456789abcdef"}
	for _, c := range []struct{ user, name, want string }{
		{"user_1", "app", "18e46098a075227b"},
		{"user_2", "app", "661d7ee6eb4dc62a"},
		{"user_1", "app-2", "22e878d1ccee303e"},
		{"", "app", ""},
		{"user_1", "", ""},
	} {
		if got := tunnels.subdomainOf(c.user, c.name); got != c.want || got != "" && !messages.IsSubdomain(got) {
			t.Errorf("%s of %s leads to %q, want %q", c.name, c.user, got, c.want)
		}
	}
	if got := (&Tunnels{}).subdomainOf("user_1", "app"); got != "" {
		t.Errorf("without a secret it leads to %q", got)
	}
}

func TestHostHeader(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5173": true, "App.Example.com:80": true, "my_app": true, "127.0.0.1:3000": true,
		"[::1]": true, "[2001:db8::1]:8080": true, "example.com.": true,
		"": false, ":80": false, "localhost:": false, "localhost:0": false, "localhost:65536": false, "localhost:http": false,
		"::1": false, "2001:db8::1:80": false, "[127.0.0.1]": false, "[::1": false, "[::1]80": false, "[fe80::1%25eth0]": false,
		"a b": false, "a,b": false, "a/b": false, "user@host": false, "http://host": false, "a\r\nb": false, "ä.example": false, "a..b": false,
	} {
		if got := isHostHeader(host); got != want {
			t.Errorf("%q is a host: %v", host, got)
		}
	}
}

// What is let through goes into a request's head as it is.
func FuzzTunnelParameters(f *testing.F) {
	for _, c := range parameterCases {
		f.Add(c.query, c.fallback == "gossh")
	}
	f.Fuzz(func(t *testing.T, raw string, gossh bool) {
		query, _ := url.ParseQuery(raw)
		fallback := "text"
		if gossh {
			fallback = "gossh"
		}
		p, no := parseTunnel(query, fallback)
		if no != nil {
			if p != (parameters{}) || !isPlain(no.sentence) || len(no.sentence) > 200 {
				t.Fatalf("%q is refused by %q, and asks for %+v", raw, no.sentence, p)
			}
			return
		}
		if p.bytes && (!p.credit || p.control == "gossh") || p.host != "" && !p.bytes || len(p.name) > 64 {
			t.Fatalf("%q asks for %+v", raw, p)
		}
		if p.host != "" && (!httpguts.ValidHostHeader(p.host) || !httpguts.ValidHeaderFieldValue(p.host) || !isPlain(p.host)) {
			t.Fatalf("%q makes the Host %q", raw, p.host)
		}
	})
}
