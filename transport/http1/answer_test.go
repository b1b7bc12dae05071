package http1

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"wsproxy/messages"
)

func TestHeadEnd(t *testing.T) {
	for _, head := range []string{"HTTP/1.1 200 OK\r\nA: b\r\n\r\n", "HTTP/1.1 200 OK\nA: b\n\n", "HTTP/1.1 200 OK\nA: b\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"} {
		for n := range len(head) {
			for from := range n + 1 {
				if end := HeadEnd([]byte(head[:n]), from); end != -1 {
					t.Errorf("%q ends at %d", head[:n], end)
				}
				if end := HeadEnd([]byte(head+"\r\n\r\nmore\n\n"), n); end != len(head) {
					t.Errorf("%q, looked at up to %d, ends at %d", head, n, end)
				}
			}
		}
	}
}

func TestAnswers(t *testing.T) {
	const line = "HTTP/1.1 200 OK\r\n"
	for head, want := range map[string]Answer{
		line:                           {Status: 200, Length: UntilClose},
		line + "Content-Length: 5\r\n": {Status: 200, Length: 5, Keep: true},
		line + "Content-Length: 5\r\nConnection: Close\r\n":                           {Status: 200, Length: 5},
		line + "Content-Length: 5\r\nConnection: keep-alive, close\r\n":               {Status: 200, Length: 5},
		line + "Content-Length: 5\r\nContent-Length: 5, 5\r\n":                        {Status: 200, Length: 5, Keep: true},
		line + "Transfer-Encoding: Chunked\r\n":                                       {Status: 200, Length: Chunked, Keep: true},
		line + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n":                  {Status: 200, Length: Chunked},
		"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n":                                    {Status: 200, Length: 5},
		"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n":          {Status: 200, Length: 5, Keep: true},
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n": {Status: 200, Length: Chunked},
		"HTTP/1.1 204\r\nContent-Length: 5\r\n":                                       {Status: 204, Keep: true},
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n":                          {Status: 304, Keep: true},
		"HTTP/1.1 103 Early Hints\r\nLink: a\r\n":                                     {Status: 103, Keep: true},
		"HTTP/1.1 599 \r\nContent-Length: 0\r\n":                                      {Status: 599, Keep: true},
		"HTTP/1.1 200 OK\nContent-Length: 5\n":                                        {Status: 200, Length: 5, Keep: true},
		line + "Content-Length : 5\r\n":                                               {Status: 200, Length: 5, Keep: true},
	} {
		a, err := ParseAnswer([]byte(head+"\r\n"), "GET")
		if err != nil || a.Status != want.Status || a.Length != want.Length || a.Keep != want.Keep {
			t.Errorf("%q is read as %+v, %v", head, a, err)
		}
	}
	if a, err := ParseAnswer([]byte(line+"Content-Length: 5\r\n\r\n"), "HEAD"); err != nil || a.Length != 0 || !a.Keep {
		t.Errorf("the answer to HEAD is read as %+v, %v", a, err)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	const line = "HTTP/1.1 200 OK\r\n"
	for _, head := range []string{
		"", "HTTP/2 200 OK\r\n", "HTTP/1.1\r\n", "HTTP/1.1 2000 OK\r\n", "HTTP/1.1 20 OK\r\n", "HTTP/1.1 -20 OK\r\n", "HTTP/1.1 099 OK\r\n", "http/1.1 200 OK\r\n", " HTTP/1.1 200\r\n", "HTTP/1.1  200\r\n",
		line + "Content-Length: 5\r\nContent-Length: 6\r\n", line + "Content-Length: 5, 6\r\n", line + "Content-Length: -5\r\n", line + "Content-Length: +5\r\n",
		line + "Content-Length: 5\r\n 6\r\n", line + "Content-Length:\r\n", line + "Content-Length: 9223372036854775808\r\n", line + "Content-Length: 0x5\r\n", line + "Content-Length: 5\rX\r\n",
		line + "Transfer-Encoding: gzip, chunked\r\n", line + "Transfer-Encoding: chunked, chunked\r\n", line + "Transfer-Encoding: xchunked\r\n", line + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
		line + "Transfer-Encoding: chunked\rX\r\n", line + "no field\r\n", line + " a: b\r\n",
		line + strings.Repeat("A: b\r\n", messages.MaxAnswerFields+1),
	} {
		if a, err := ParseAnswer([]byte(head+"\r\n"), "GET"); err == nil {
			t.Errorf("%.60q is read as %+v", head, a)
		}
	}
}

func TestFields(t *testing.T) {
	a, err := ParseAnswer([]byte("HTTP/1.1 200 OK\r\nset-cookie: a=b\r\nX: 1 \r\n\t2\r\n   \r\nSet-Cookie:c=d\r\nY:\r\nbad name: x\r\n: y\r\n\r\n"), "GET")
	want := []messages.Field{{Name: "Set-Cookie", Value: "a=b"}, {Name: "X", Value: "1 2"}, {Name: "Set-Cookie", Value: "c=d"}, {Name: "Y"}, {Name: "bad name", Value: "x"}, {Value: "y"}}
	if err != nil || !slices.Equal(a.Fields, want) {
		t.Errorf("they are %q, %v", a.Fields, err)
	}
}

// What is read as an answer net/http reads in the same way, if it takes it at all.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\n\r\n", "HTTP/1.0 404 \r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", "HTTP/1.1 101 X\r\nUpgrade: a\r\nConnection: Upgrade\r\n\r\n",
		"HTTP/1.1 200 OK\nContent-Length: 5, 5\nA: b\n c\n\n", "HTTP/1.1 304 X\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
	} {
		f.Add([]byte(seed), "GET")
		f.Add([]byte(seed), "HEAD")
	}
	f.Fuzz(func(t *testing.T, b []byte, method string) {
		if method != "HEAD" {
			method = "GET"
		}
		end := HeadEnd(b, 0)
		if end < 0 {
			return
		}
		head := b[:end]
		a, err := ParseAnswer(head, method)
		if err != nil {
			return
		}
		if bytes.Contains(head, []byte(" :")) || bytes.Contains(head, []byte("\t:")) {
			return // net/http does not remove those blanks, as a proxy must (RFC 9112, section 5.1)
		}
		theirs, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), &http.Request{Method: method})
		if err != nil {
			return // it is stricter about some names and lines, of which nothing passes
		}
		if theirs.StatusCode != a.Status {
			t.Errorf("%q has the status %d, for net/http %d", head, a.Status, theirs.StatusCode)
		}
		length := theirs.ContentLength
		switch {
		case !a.hasBody(method):
			length = 0
		case len(theirs.TransferEncoding) > 0:
			length = Chunked
		case length < 0:
			length = UntilClose
		}
		if strings.HasPrefix(string(head), "HTTP/1.0") && a.Length == Chunked {
			return // net/http takes no notice of the coding then
		}
		if length != a.Length {
			t.Errorf("%q has the length %d, for net/http %d", head, a.Length, length)
		}
		if theirs.Close && a.Keep {
			t.Errorf("%q keeps its connection, for net/http it does not", head)
		}
	})
}

func chunksOf(t *testing.T, body string, piece int) (data string, rest string, c Chunks, err error) {
	t.Helper()
	for at := 0; at < len(body) && !c.Done(); {
		in := []byte(body[at:min(len(body), at+piece)])
		at += len(in)
		for len(in) > 0 && !c.Done() {
			var d []byte
			if d, in, err = c.Next(in); err != nil {
				return data, "", c, err
			}
			data += string(d)
		}
		rest = string(in) + body[at:]
	}
	return data, rest, c, nil
}

func TestBodiesInChunks(t *testing.T) {
	for body, want := range map[string]string{
		"0\r\n\r\n": "", "3\r\nabc\r\n0\r\n\r\n": "abc", "3\r\nabc\r\nA\r\n0123456789\r\n000\r\nT: a\r\n\r\n": "abc0123456789",
		"3;a=b\r\nabc\r\n0;c\r\n\r\n": "abc", "3 \r\nabc\r\n0\r\n\r\n": "abc", "1\r\n\r\r\n0\r\n\r\n": "\r",
	} {
		for _, piece := range []int{1, 2, 3, 5, 1000} {
			data, rest, c, err := chunksOf(t, body+"next", piece)
			if data != want || rest != "next" || !c.Done() || err != nil {
				t.Errorf("%q in pieces of %d is read as %q, %q is left, done: %t, %v", body, piece, data, rest, c.Done(), err)
			}
		}
	}
	_, _, c, _ := chunksOf(t, "0\r\nA: b\r\nc: d\r\n\r\n", 4)
	if trailer, err := c.Trailer(); err != nil || !slices.Equal(trailer, []messages.Field{{Name: "A", Value: "b"}, {Name: "C", Value: "d"}}) {
		t.Errorf("the trailer is %q, %v", trailer, err)
	}
}

func TestBodiesInBadChunks(t *testing.T) {
	for _, body := range []string{
		"\r\n", "x\r\n", "-1\r\n", "+1\r\n", "0x1\r\n", " 1\r\na\r\n", "1\na\r\n", "1\r\nab\r\n", "1\r\na\n0\r\n\r\n", "1\r\na0\r\n\r\n", "1\r\r\na\r\n", "g\r\n",
		"1000000000000000\r\n", "0\r\nA: b\n\r\n", "0\r\nA: b\rc\r\n\r\n", strings.Repeat("1", 1025), "1;" + strings.Repeat("a", 1025) + "\r\n", "0\r\n" + strings.Repeat("A: b\r\n", 12_000),
		"0\r\nA: " + strings.Repeat("b", 70_000),
	} {
		if data, _, c, err := chunksOf(t, body, 1000); err == nil {
			t.Errorf("%.40q is read as %q, done: %t", body, data, c.Done())
		}
	}
	_, _, c, err := chunksOf(t, "0\r\n"+strings.Repeat("A: b\r\n", messages.MaxAnswerFields+1)+"\r\n", 1000)
	if _, tooMany := c.Trailer(); err != nil || !errors.Is(tooMany, ErrFields) {
		t.Errorf("so many fields are read: %v, %v", err, tooMany)
	}
}

// What is read as a body in chunks is the same however it comes in pieces, and has
// the data that its sizes tell.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("3\r\nabc\r\n0\r\n\r\n"), 1)
	f.Add([]byte("3;x\r\nabc\r\na \r\n0123456789\r\n0\r\nT: a\r\n\r\nnext"), 7)
	f.Fuzz(func(t *testing.T, body []byte, piece int) {
		piece = max(piece, 1)
		data, rest, c, err := chunksOf(t, string(body), len(body)+1)
		data2, rest2, c2, err2 := chunksOf(t, string(body), piece)
		if (err == nil) != (err2 == nil) || c.Done() != c2.Done() || err == nil && (data != data2 || rest != rest2) {
			t.Fatalf("%q in pieces of %d is read as %q, %q, %v; else as %q, %q, %v", body, piece, data2, rest2, err2, data, rest, err)
		}
		if err != nil || !c.Done() {
			return
		}
		sum := 0
		for left := string(body); ; {
			line, after, _ := strings.Cut(left, "\r\n")
			digits, _, _ := strings.Cut(line, ";")
			n, err := strconv.ParseUint(strings.TrimRight(digits, " \t"), 16, 60)
			if err != nil {
				t.Fatalf("%q is taken for a size: %v", line, err)
			}
			if n == 0 {
				break
			}
			sum += int(n)
			left = after[n+2:]
		}
		if sum != len(data) {
			t.Errorf("%q is read as %d bytes, its sizes tell %d", body, len(data), sum)
		}
	})
}
