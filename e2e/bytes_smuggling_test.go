package e2e

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// A smugglingRow is what an outside client writes. Behind it comes a request for
// /second. Whatever the service gets besides, or with another body, was smuggled.
type smugglingRow struct {
	name string
	raw  string // HOST is the tunnel's
	body string // of the request, if the service gets it
	// passes is set when the service has to get it, none when it must get nothing, and
	// last when what follows must not be read; else it is the server's choice.
	passes, none, last bool
}

const (
	smuggledPost = "POST /first HTTP/1.1\r\nHost: HOST\r\n"
	smuggledHead = "GET /first HTTP/1.1\r\nHost: HOST\r\n"
	smuggledTE   = "Transfer-Encoding: chunked\r\n"
	smuggledBody = "3\r\nabc\r\n0\r\n\r\n"
)

var smugglingRows = []smugglingRow{
	{name: "both lengths, length first", raw: smuggledPost + "Content-Length: 3\r\n" + smuggledTE + "\r\n" + smuggledBody, body: "abc", last: true},
	{name: "both lengths, chunked first", raw: smuggledPost + smuggledTE + "Content-Length: 100\r\n\r\n" + smuggledBody, body: "abc", last: true},
	{name: "both lengths, empty", raw: smuggledPost + "Content-Length: 44\r\n" + smuggledTE + "\r\n0\r\n\r\n", last: true},
	{name: "two lengths", raw: smuggledPost + "Content-Length: 3\r\nContent-Length: 60\r\n\r\nabc", none: true},
	{name: "two lengths in a line", raw: smuggledPost + "Content-Length: 3, 60\r\n\r\nabc", none: true},
	{name: "length with a plus", raw: smuggledPost + "Content-Length: +3\r\n\r\nabc", none: true},
	{name: "length in hex", raw: smuggledPost + "Content-Length: 0x3\r\n\r\nabc", none: true},
	{name: "length with letters", raw: smuggledPost + "Content-Length: 3abc\r\n\r\nabc", none: true},
	{name: "negative length", raw: smuggledPost + "Content-Length: -1\r\n\r\nabc", none: true},
	{name: "huge length", raw: smuggledPost + "Content-Length: 18446744073709551619\r\n\r\nabc", none: true},
	{name: "blank before the colon of the length", raw: smuggledPost + "Content-Length : 3\r\n\r\nabc", none: true},
	{name: "blank before the colon of the coding", raw: smuggledPost + "Transfer-Encoding : chunked\r\n\r\n" + smuggledBody, none: true},
	{name: "tab before the colon", raw: smuggledPost + "Content-Length: 3\r\nTransfer-Encoding\t: chunked\r\n\r\nabc", none: true},
	{name: "xchunked", raw: smuggledPost + "Transfer-Encoding: xchunked\r\n\r\n" + smuggledBody, none: true},
	{name: "xchunked and a length", raw: smuggledPost + "Content-Length: 3\r\nTransfer-Encoding: xchunked\r\n\r\nabc", none: true},
	{name: "chunked, identity", raw: smuggledPost + "Transfer-Encoding: chunked, identity\r\n\r\n" + smuggledBody, none: true},
	{name: "identity", raw: smuggledPost + "Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc", none: true},
	{name: "chunked twice", raw: smuggledPost + smuggledTE + smuggledTE + "\r\n" + smuggledBody, body: "abc"},
	{name: "gzip, chunked", raw: smuggledPost + "Transfer-Encoding: gzip, chunked\r\n\r\n" + smuggledBody, body: "abc"},
	{name: "vertical tab before chunked", raw: smuggledPost + "Transfer-Encoding: \vchunked\r\n\r\n" + smuggledBody, none: true},
	{name: "coding folded", raw: smuggledPost + "Content-Length: 3\r\nTransfer-Encoding:\r\n chunked\r\n\r\nabc", body: "abc"},
	{name: "coding with an underscore", raw: smuggledPost + "Content-Length: 3\r\nTransfer_Encoding: chunked\r\n\r\nabc", body: "abc"},
	{name: "chunked of HTTP/1.0", raw: "POST /first HTTP/1.0\r\nHost: HOST\r\n" + smuggledTE + "\r\n" + smuggledBody},
	{name: "bare CR in a value", raw: smuggledHead + "A: b\rGET /smuggled HTTP/1.1\r\n\r\n"},
	{name: "bare CR before LF", raw: smuggledHead + "A: b\r\r\n\r\n"},
	{name: "bare LF in a value", raw: smuggledHead + "A: b\nX: y\r\n\r\n"},
	{name: "NUL in a value", raw: smuggledHead + "A: b\x00c\r\n\r\n", none: true},
	{name: "NUL in a name", raw: smuggledHead + "A\x00: c\r\n\r\n", none: true},
	{name: "NUL in the path", raw: "GET /first\x00 HTTP/1.1\r\nHost: HOST\r\n\r\n", none: true},
	{name: "folded", raw: smuggledHead + "A: b\r\n c\r\n\r\n"},
	{name: "folded first", raw: "GET /first HTTP/1.1\r\n folded: x\r\nHost: HOST\r\n\r\n", none: true},
	{name: "no colon", raw: smuggledHead + "GET /smuggled HTTP/1.1\r\n\r\n", none: true},
	{name: "empty name", raw: smuggledHead + ": x\r\n\r\n", none: true},
	{name: "two hosts", raw: smuggledHead + "Host: other\r\n\r\n", none: true},
	{name: "a blank in the path", raw: "GET /first HTTP/1.1 x HTTP/1.1\r\nHost: HOST\r\n\r\n", none: true},
	{name: "line ends in the path", raw: "GET /first%0d%0aGET%20/ HTTP/1.1\r\nHost: HOST\r\n\r\n", passes: true},
	{name: "bytes in the path", raw: "GET /first\xff\"<> HTTP/1.1\r\nHost: HOST\r\n\r\n"},
	{name: "an empty line first", raw: "\r\n" + smuggledHead + "\r\n"},
	{name: "a body of a GET", raw: smuggledHead + "Content-Length: 3\r\n\r\nabc", body: "abc", passes: true},
	{name: "a body of a DELETE", raw: "DELETE /first HTTP/1.1\r\nHost: HOST\r\n" + smuggledTE + "\r\n" + smuggledBody, body: "abc", passes: true},
	{name: "an extension", raw: smuggledPost + smuggledTE + "\r\n3;a=b\r\nabc\r\n0;c\r\n\r\n", body: "abc", passes: true},
	{name: "an extension with quotes", raw: smuggledPost + smuggledTE + "\r\n3;a=\"b;c\"\r\nabc\r\n0\r\n\r\n", body: "abc"},
	{name: "an extension with a bare LF", raw: smuggledPost + smuggledTE + "\r\n3;a\nabc\r\n0\r\n\r\n", body: "abc"},
	{name: "an extension with a bare CR", raw: smuggledPost + smuggledTE + "\r\n3;a\rb\r\nabc\r\n0\r\n\r\n", body: "abc"},
	{name: "a long extension", raw: smuggledPost + smuggledTE + "\r\n3;" + strings.Repeat("a", 100<<10) + "\r\nabc\r\n0\r\n\r\n", none: true},
	{name: "chunk lines that end with LF", raw: smuggledPost + smuggledTE + "\r\n3\nabc\n0\n\n", body: "abc"},
	{name: "a blank behind a chunk's length", raw: smuggledPost + smuggledTE + "\r\n3 \r\nabc\r\n0\r\n\r\n", body: "abc"},
	{name: "0x in a chunk's length", raw: smuggledPost + smuggledTE + "\r\n0x3\r\nabc\r\n0\r\n\r\n", none: true},
	{name: "a negative chunk", raw: smuggledPost + smuggledTE + "\r\n-3\r\nabc\r\n0\r\n\r\n", none: true},
	{name: "a huge chunk", raw: smuggledPost + smuggledTE + "\r\n10000000000000003\r\nabc\r\n0\r\n\r\n", none: true},
	{name: "a chunk longer than it says", raw: smuggledPost + smuggledTE + "\r\n2\r\nabc\r\n0\r\n\r\n", none: true},
	{name: "an empty chunk's length", raw: smuggledPost + smuggledTE + "\r\n\r\nabc\r\n0\r\n\r\n", none: true},
	{name: "trailers that frame", raw: smuggledPost + smuggledTE + "\r\n3\r\nabc\r\n0\r\nContent-Length: 44\r\nTransfer-Encoding: x\r\n\r\n", body: "abc"},
	{name: "a request behind a bad trailer", raw: smuggledPost + smuggledTE + "\r\n3\r\nabc\r\n0\r\nbad\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n", none: true},
	{name: "a trailer without a colon", raw: smuggledPost + smuggledTE + "\r\n3\r\nabc\r\n0\r\nGET /x HTTP/1.1\r\n\r\n", none: true},
}

// Whatever outside clients write, the service's socket gets exactly one well-formed
// request with the body that the rules say, or none that it could take for whole.
func TestBytesSmuggling(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	for _, row := range smugglingRows {
		t.Run(row.name, func(t *testing.T) {
			got := make(chan strictRequest, 8)
			b := bytesOpen(t, s, strictService(t, got, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst"))
			wire := tunnelWireTo(t, s)
			raw := strings.ReplaceAll(row.raw+"GET /second HTTP/1.1\r\nHost: HOST\r\n\r\n", "HOST", b.host)
			go func() { _, _ = io.WriteString(wire, raw) }()
			answers := readQuiet(wire)
			b.ws.Close() // ends every connection of the service
			<-b.ended
			for _, conn := range b.all() {
				if !waitClosed(conn.done, patience) {
					t.Fatal("a connection does not end")
				}
			}
			judgeSmuggling(t, row, got, answers)
		})
	}
}

// readQuiet reads until a connection ends, or for a moment nothing comes.
func readQuiet(wire *tunnelWire) string {
	var all strings.Builder
	block := make([]byte, 4096)
	for quiet := patience / 20; ; quiet = 300 * time.Millisecond {
		_ = wire.SetReadDeadline(time.Now().Add(quiet))
		n, err := wire.in.Read(block)
		all.Write(block[:n])
		if err != nil {
			return all.String()
		}
	}
}

func judgeSmuggling(t *testing.T, row smugglingRow, got <-chan strictRequest, answers string) {
	t.Helper()
	first, second := 0, 0
	for len(got) > 0 {
		r := <-got
		switch {
		case r.err != nil && errors.Is(r.err, io.ErrUnexpectedEOF), r.err != nil && errors.Is(r.err, io.EOF):
			// Cut: a service can't take it for whole.
		case r.err != nil:
			t.Errorf("the service gets what is no request: %v", r.err)
		case strings.Contains(r.line, " /first") && r.body == row.body && !row.none:
			first++
		case r.line == "GET /second HTTP/1.1\r\n" && r.body == "" && !row.none && !row.last:
			second++
		default:
			t.Errorf("the service gets %q with the body %q", r.line, r.body)
		}
	}
	if first > 1 || second > first || row.passes && first+second < 2 {
		t.Errorf("the service gets %d and %d requests, the outside %q", first, second, answers)
	}
}
