package transport

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
)

// fieldLines returns n fields as short as may be.
func fieldLines(n int) string { return strings.Repeat("a:\n", n) }

func TestHeaderScan(t *testing.T) {
	for name, c := range map[string]struct {
		text              string
		fields            int
		end, length, code bool
	}{
		"a plain request":           {"GET / HTTP/1.1\r\nHost: a\r\nAccept: *\r\n\r\n", 2, true, false, false},
		"not whole":                 {"GET / HTTP/1.1\r\nHost: a\r\nAccept: *\r\n", 2, false, false, false},
		"bare line feeds":           {"GET / HTTP/1.1\nHost: a\n\n", 1, true, false, false},
		"empty lines before it":     {"\r\n\r\n\nGET / HTTP/1.1\r\nA: b\r\n\r\n", 1, true, false, false},
		"continuations":             {"GET / HTTP/1.1\r\nA: b\r\n c\r\n\td\r\n \r\nE: f\r\n\r\n", 2, true, false, false},
		"a carriage return between": {"GET / HTTP/1.1\r\nA: b\r\n\rc\r\n\r\n", 1, true, false, false},
		"both lengths":              {"POST / HTTP/1.1\r\nCONTENT-LENGTH: 5\r\ntransfer-Encoding: chunked\r\n\r\n", 2, true, true, true},
		"one length":                {"POST / HTTP/1.1\r\nContent-Length:5\r\n\r\n", 1, true, true, false},
		"names that begin alike":    {"POST / HTTP/1.1\r\nContent-Length-X: 5\r\nTransfer-Encodin: a\r\nX-Content-Length: 5\r\nCookie: content-length: 5\r\n\r\n", 4, true, false, false},
		"a name on two lines":       {"POST / HTTP/1.1\r\nContent-\r\nLength: 5\r\n\r\n", 2, true, false, false},
		"a body behind":             {"POST / HTTP/1.1\r\nA: b\r\n\r\nContent-Length: 5\r\n", 1, true, false, false},
	} {
		for piece := 1; piece <= len(c.text); piece++ {
			var s headerScan
			end := false
			for p := range piecesOf([]byte(c.text), piece) {
				if end = s.read(p); end {
					break
				}
			}
			if end != c.end || s.fields != c.fields || s.hasLength != c.length || s.hasCoding != c.code {
				t.Errorf("%s, by %d: %+v, its end is seen: %v", name, piece, s, end)
			}
		}
	}
}

// Of a header whose beginning is not known, an empty line is the end.
func TestHeaderScanJoins(t *testing.T) {
	var s headerScan
	s.join()
	if s.read([]byte("st: a\r\nB: c\r\n")) || s.fields != 1 || !s.read([]byte("\r\n")) {
		t.Errorf("%+v", s)
	}
}

func piecesOf(p []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(p) > 0 {
			m := min(n, len(p))
			if !yield(p[:m]) {
				return
			}
			p = p[m:]
		}
	}
}

// What net/http makes of a header, the scan makes of it, too.
func FuzzHeaderScan(f *testing.F) {
	for _, text := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET", "\nGET / HTTP/1.0\nA: b\n c\n\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n \r\nA: \r\r\n\r\nabcde", "GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", "GET / HTTP/1.1\r\n" + fieldLines(300) + "\n",
	} {
		f.Add([]byte(text), uint8(1))
		f.Add([]byte(text), uint8(200))
	}
	f.Fuzz(func(t *testing.T, text []byte, piece uint8) {
		var s headerScan
		size, end := 0, false
		for p := range piecesOf(text, max(int(piece), 1)) {
			before := s.size
			end = s.read(p)
			if size += s.size - before; end {
				break
			}
		}
		if s.size != size || size > len(text) || !end && size != len(text) {
			t.Fatalf("%d bytes of %d, end %v", size, len(text), end)
		}
		in := bufio.NewReader(bytes.NewReader(text))
		request, err := http.ReadRequest(in)
		if err != nil {
			return // whatever it is: the connection ends
		}
		if !end {
			t.Fatalf("net/http has read a header, of which the end was not seen")
		}
		fields := 0
		for _, values := range request.Header {
			fields += len(values)
		}
		if fields > s.fields {
			t.Fatalf("%d fields, of which %d were seen", fields, s.fields)
		}
		if len(request.TransferEncoding) > 0 && !s.hasCoding {
			t.Fatal("the coding was not seen")
		}
		if request.ContentLength > 0 && !s.hasLength {
			t.Fatal("the length was not seen")
		}
		// The scan ends where net/http does.
		if rest := text[size:]; request.Body == http.NoBody && in.Buffered() < 4096 && size <= 4096 && len(text) <= 4096 && in.Buffered() != len(rest) {
			t.Fatalf("%d bytes behind the header, net/http has %d", len(rest), in.Buffered())
		}
	})
}
