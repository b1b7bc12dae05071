package http1

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"

	"wsproxy/internal/testkit/stricthttp"
)

func TestRequestHead(t *testing.T) {
	b, err := AppendRequestLine(nil, "GET", "/a?b=c", "example.com:8080")
	if err != nil {
		t.Fatal(err)
	}
	b, err = AppendField(b, "Accept", " a, b\t")
	if err != nil {
		t.Fatal(err)
	}
	if want := "GET /a?b=c HTTP/1.1\r\nHost: example.com:8080\r\nAccept: a, b\r\n"; string(b) != want {
		t.Errorf("it is %q", b)
	}
}

func TestWhatMayNotBeWritten(t *testing.T) {
	for _, c := range [][3]string{
		{"", "/", "h"}, {"GE T", "/", "h"}, {"GET\r\n", "/", "h"}, {"G\x00", "/", "h"},
		{"GET", "", "h"}, {"GET", "/ HTTP/1.1\r\nA: b", "h"}, {"GET", "/\x7f", "h"}, {"GET", "/\n", "h"}, {"GET", "/a b", "h"},
		{"GET", "/", "h\r\n"}, {"GET", "/", "h o"}, {"GET", "/", "h\x00"},
	} {
		if b, err := AppendRequestLine(nil, c[0], c[1], c[2]); err != ErrMalformed || len(b) > 0 {
			t.Errorf("%q is written as %q", c, b)
		}
	}
	for _, c := range [][2]string{{"", "a"}, {"A ", "a"}, {"A:", "a"}, {"A\r\n", "a"}, {"A", "a\r\nB: c"}, {"A", "a\rb"}, {"A", "\x00"}, {"A", "a\n b"}} {
		if b, err := AppendField(nil, c[0], c[1]); err != ErrMalformed || len(b) > 0 {
			t.Errorf("%q is written as %q", c, b)
		}
	}
}

func TestChunks(t *testing.T) {
	for _, n := range []int{1, 9, 15, 16, 255, 256, 4095, 4096, 30_000, 65_535} {
		data := bytes.Repeat([]byte("d"), n)
		room := make([]byte, ChunkHead+n+ChunkTail)
		copy(room[ChunkHead:], data)
		from, to := PutChunk(room, n)
		head := "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
		r, err := stricthttp.Read(bufio.NewReader(strings.NewReader(head + string(room[from:to]) + LastChunk + "\r\n")))
		if err != nil || r.Body != string(data) {
			t.Errorf("%d bytes: %d come, %v", n, len(r.Body), err)
		}
	}
}

// Whatever the parts are, a strict parser reads exactly them, or nothing is written.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/a?b", "h:80", "Name", "value", []byte("body"))
	f.Add("GET", "/\r\nA: b\r\n\r\n", "h", "Content-Length", "5", []byte{})
	f.Add("POST", "*", "[::1]", "Transfer-Encoding", "chunked\r", []byte("0\r\n\r\n"))
	f.Add("G T", "/ü", "h", "Na me", "a\x00", []byte("\n"))
	f.Fuzz(func(t *testing.T, method, target, host, name, value string, body []byte) {
		head, err := AppendRequestLine(nil, method, target, host)
		if err != nil {
			return
		}
		if strings.EqualFold(name, "Host") || strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "Transfer-Encoding") {
			name = "X-" + name // those are not what this is about
		}
		if head, err = AppendField(head, name, value); err != nil {
			return
		}
		if len(body) > 60_000 {
			body = body[:60_000]
		}
		head = append(head, "Transfer-Encoding: chunked\r\n\r\n"...)
		if len(body) > 0 {
			room := make([]byte, ChunkHead+len(body)+ChunkTail)
			copy(room[ChunkHead:], body)
			from, to := PutChunk(room, len(body))
			head = append(head, room[from:to]...)
		}
		in := bufio.NewReader(bytes.NewReader(append(head, LastChunk+"\r\n"...)))
		r, err := stricthttp.Read(in)
		if err != nil {
			t.Fatalf("%q can't be read: %v", head, err)
		}
		if r.Line != method+" "+target+" HTTP/1.1\r\n" || len(r.Fields) != 3 || r.Fields[0] != "Host: "+host ||
			r.Fields[1] != name+": "+strings.Trim(value, " \t") || r.Body != string(body) {
			t.Errorf("%q is read as %q", head, r)
		}
		if _, err := stricthttp.Read(in); err != io.EOF {
			t.Errorf("%q holds more than a request: %v", head, err)
		}
	})
}
