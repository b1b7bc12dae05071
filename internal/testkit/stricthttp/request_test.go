package stricthttp

import (
	"bufio"
	"strings"
	"testing"
)

// The parser itself takes what it should, and nothing else.
func TestRead(t *testing.T) {
	t.Parallel()
	const post = "POST /a?b HTTP/1.1\r\nHost: h\r\n"
	for raw, body := range map[string]string{
		"GET / HTTP/1.1\r\nHost: h\r\nA: b c\r\nA:  \r\n\r\n":                                 "!",
		"GET / HTTP/1.1\r\nHost: h\r\nA: b c\r\nEmpty: \r\n\r\n":                              "",
		post + "Content-Length: 3\r\n\r\nabc":                                                 "abc",
		post + "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n":             "abc",
		post + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n": "!",
		post + "Transfer-Encoding: xchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n":                     "!",
		post + "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n":                  "!",
		post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc":                            "!",
		post + "Content-Length : 3\r\n\r\nabc":                                                "!",
		post + "Content-Length: +3\r\n\r\nabc":                                                "!",
		post + "A: b\r\n c\r\n\r\n":                                                           "!", post + "A: b\rc\r\n\r\n": "!", post + "A: b\x00c\r\n\r\n": "!", post + "A: b\n\r\n": "!",
		"GET / HTTP/1.0\r\nHost: h\r\n\r\n": "!", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n": "!", "GET / HTTP/1.1\r\n\r\n": "!",
	} {
		r, err := Read(bufio.NewReader(strings.NewReader(raw)))
		if (err != nil) != (body == "!") || err == nil && r.Body != body {
			t.Errorf("%q: %q, %v", raw, r.Body, err)
		}
	}
}
