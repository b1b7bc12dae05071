package messages

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// The messages that clients are known to read, to the letter.
func TestMessagesOfTheProxy(t *testing.T) {
	for _, c := range []struct {
		got  []byte
		want string
	}{
		{EncodeReady(Ready{TunnelURL: "https://s.example.com", RawPort: 10042}), `{"type":"tunnel_ready","tunnelUrl":"https://s.example.com","rawPort":10042,"rawHost":"","credentials":false}`},
		{EncodeReady(Ready{TunnelURL: "u", RawPort: 1, RawHost: "raw.example", Credentials: true}), `{"type":"tunnel_ready","tunnelUrl":"u","rawPort":1,"rawHost":"raw.example","credentials":true}`},
		{EncodeReady(Ready{TunnelURL: "u"}), `{"type":"tunnel_ready","tunnelUrl":"u","rawPort":0,"rawHost":"","credentials":false}`},
		{EncodeReady(Ready{TunnelURL: "u", RawPort: 65535, Credit: true}), `{"type":"tunnel_ready","tunnelUrl":"u","rawPort":65535,"rawHost":"","credentials":false,"window":262144}`},
		{EncodeReady(Ready{TunnelURL: "u", Credit: true, Bytes: true}), `{"type":"tunnel_ready","tunnelUrl":"u","rawPort":0,"rawHost":"","credentials":false,"window":262144,"http":"bytes"}`},
		{EncodeOpen("0123456789ab", "[2001:db8::1]:5", ""), `{"type":"tcp_open","connId":"0123456789ab","remoteAddr":"[2001:db8::1]:5"}`},
		{EncodeOpen("0123456789ab", "192.0.2.1:5", ProtocolHTTP), `{"type":"tcp_open","connId":"0123456789ab","remoteAddr":"192.0.2.1:5","protocol":"http/1.1"}`},
		{EncodeClose("c", CloseEOF), `{"type":"tcp_close","connId":"c","reason":"eof"}`},
		{EncodeClose("\"\n\xff", CloseUnknown), `{"type":"tcp_close","connId":"\"\n` + "\uFFFD" + `","reason":"unknown"}`}, // an id of the client's
		{EncodeCredit("c", 131072), `{"type":"tcp_credit","connId":"c","bytes":131072}`},
		{EncodeRequest(Request{ID: "i", Method: "GET", Path: "/?a=1&b=<2>"}), `{"type":"http_request","id":"i","method":"GET","path":"/?a=1&b=<2>","headers":{},"body":""}`},
		{EncodeRequest(Request{ID: "i", Headers: []Field{{"A", "1"}}, Body: []byte{0xff}}),
			`{"type":"http_request","id":"i","method":"","path":"","headers":{"A":"1"},"body":"/w==","bodyEncoding":"base64"}`},
	} {
		if string(c.got) != c.want {
			t.Errorf("%s\nwant %s", c.got, c.want)
		}
		if !json.Valid(c.got) {
			t.Errorf("%s is not JSON", c.got)
		}
	}
}

// Every byte and every kind of character, at every place of the eight that are
// looked at together.
func TestEveryByteIsEncoded(t *testing.T) {
	for shift := range 9 {
		for c := range 256 {
			text := strings.Repeat("x", shift) + string([]byte{byte(c)}) + "yyyyyyyyy"
			checkEncoding(t, Request{Path: text, Body: []byte(text)})
		}
		for _, r := range []rune{0x7f, 0x80, 0x7ff, 0x800, 0x2028, 0x2029, 0xfffd, 0xffff, 0x10000, 0x10ffff} {
			text := strings.Repeat("x", shift) + string(r) + "y"
			checkEncoding(t, Request{Path: text, Body: []byte(text)})
		}
	}
	checkEncoding(t, Request{Headers: []Field{{"A", "1"}, {"B", "\x00\""}, {"C\xff", "\xff\xfe\xfd"}, {"", ""}}})
}

// Ten MiB, the most that a body may have, in one allocation where its size can
// be told, and right in every case.
func TestLongBodiesAreEncoded(t *testing.T) {
	const long, shorter = 10 << 20, 256 << 10 // the race detector makes each byte dear
	for name, unit := range map[string]string{
		"plain": "x", "lines": "0123456789012345678901234567890123456789\r\n", "quotes": `"`, "controls": "\x01", "not UTF-8": "\xfe\xff",
		"script": "\u20ac", "pairs": "\U0001F600",
	} {
		size := shorter
		if name == "plain" {
			size = long
		}
		body := bytes.Repeat([]byte(unit), size/len(unit))
		r := Request{ID: "i", Method: "POST", Path: "/", Body: body}
		if size == long {
			if out := EncodeRequest(r); !bytes.Contains(out, body) {
				t.Errorf("%s: the body is not in the message", name)
			}
		} else {
			checkEncoding(t, r)
		}
		if name == "quotes" || name == "controls" {
			continue
		}
		// Of several runs, because others in the process allocate too.
		if n := testing.AllocsPerRun(10, func() { EncodeRequest(r) }); n > 1 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestIDsAreHexAndDiffer(t *testing.T) {
	for n, form := range map[int]string{IDBytes: `^[0-9a-f]{12}$`, SubdomainBytes: `^[0-9a-f]{16}$`} {
		re := regexp.MustCompile(form)
		seen := map[string]bool{}
		for range 10_000 {
			id := NewID(n)
			if !re.MatchString(id) || seen[id] {
				t.Fatalf("%q is no id, or came before", id)
			}
			seen[id] = true
			if IsSubdomain(id) != (n == SubdomainBytes) {
				t.Fatalf("%q: IsSubdomain is %t", id, IsSubdomain(id))
			}
		}
	}
}

func TestIsSubdomain(t *testing.T) {
	for s, want := range map[string]bool{
		"0123456789abcdef": true, "0000000000000000": true, "ffffffffffffffff": true,
		"": false, "0123456789abcde": false, "0123456789abcdef0": false, "0123456789ABCDEF": false, "0123456789abcdeg": false,
		"0123456789abcde.": false, "0123456789abcd/.": false, "0123456789abcde\x00": false, "0123456789abcd\u00e9": false, "/:`@0123456789ab": false,
	} {
		if IsSubdomain(s) != want {
			t.Errorf("%q: %t", s, !want)
		}
	}
}

func TestDataHeader(t *testing.T) {
	b := bytes.Repeat([]byte{0xee}, DataHeader+3)
	PutDataHeader(b, "0123456789ab")
	if binary.BigEndian.Uint32(b) != 12 || string(b[4:DataHeader]) != "0123456789ab" || string(b[DataHeader:]) != "\xee\xee\xee" {
		t.Errorf("the header is %q", b)
	}
	if b[0] == '{' {
		t.Error("a data frame begins like JSON")
	}
	if n := 4 + len(NewID(IDBytes)); n != DataHeader {
		t.Errorf("a header has %d bytes, and room for %d", n, DataHeader)
	}
}

// What a body will take up is told before it is encoded, to the byte.
func TestSizeOfARequestIsToldBefore(t *testing.T) {
	for _, body := range []string{"", "plain", strings.Repeat("\x00", 1000), "\"\\\n\r\t\x1f\x7f", "\u20ac \u2028", "\xff\xfe", strings.Repeat("\xff", 999)} {
		for _, path := range []string{"/", "/" + strings.Repeat("p", 5000)} {
			r := Request{ID: "0123456789ab", Method: "DELETE", Path: path, Headers: []Field{{"Accept", "text/html"}, {"X", ""}}, Body: []byte(body)}
			if out := EncodeRequest(r); len(out) > r.Size() || len(out) < r.Size()-128 || cap(out) > r.Size()+r.Size()/4 {
				t.Errorf("%.20q: %d bytes in %d, and %d were told", body, len(out), cap(out), r.Size())
			}
		}
	}
}
