package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// What the double cuts its messages into.
const gosshPiece = 4096

// A JSON object that fills its last piece is complete all the same.
func TestGosshExactAnswers(t *testing.T) {
	t.Parallel()
	r := gosshOpen(t, tunnelServer(t), gosshScript{opening: gosshOpening / 10})
	body := func(n int) string { return strings.Repeat("z", n) }
	size := func(n int) int {
		t.Helper()
		before := len(r.c.requested(fmt.Sprintf("/z?n=%d", n)))
		if err := r.get(fmt.Sprintf("/z?n=%d", n), nil, body(n)); err != nil {
			t.Fatal(err)
		}
		if before+1 != len(r.c.requested(fmt.Sprintf("/z?n=%d", n))) {
			t.Fatal("a small request came as bytes")
		}
		r.c.mu.Lock()
		defer r.c.mu.Unlock()
		return r.c.said[len(r.c.said)-1]
	}
	over := size(1000) - 1000
	for _, pieces := range []int{1, 2, 3} {
		for off := -1; off <= 1; off++ {
			n := pieces*gosshPiece - over + off
			n -= len(fmt.Sprint(n)) - 4 // digits of Content-Length
			if got := size(n); got != pieces*gosshPiece+off {
				t.Errorf("an answer has %d bytes, not %d", got, pieces*gosshPiece+off)
			}
		}
	}
	r.check(t)
}

// gosshMixed is a service that sends the text of which a peer says the name in
// a line, and otherwise answers one HTTP request with as many z as it asks for.
func gosshMixed(t *testing.T, texts map[string][]byte) string {
	t.Helper()
	return target(t, func(conn *net.TCPConn) {
		in := bufio.NewReader(conn)
		if first, _ := in.Peek(4); string(first) == "raw:" {
			line, _ := in.ReadString('\n')
			_, _ = conn.Write(texts[strings.TrimSpace(line[4:])])
			_, _ = io.Copy(io.Discard, in)
			return
		}
		request, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		n, _ := strconv.Atoi(request.URL.Query().Get("n"))
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", n, strings.Repeat("z", n))
	}).String()
}

// gosshDisguises are pieces of data that look like messages of their own.
func gosshDisguises() map[string][]byte {
	fill := func(s string, filler byte) []byte {
		return append([]byte(s), bytes.Repeat([]byte{filler}, gosshPiece-len(s))...)
	}
	return map[string][]byte{
		"braces":               fill("{", '{'),
		"objects":              fill("{}", ' '),
		"no type":              fill(`{"id":"0123456789ab"}`, ' '),
		"another's answer":     fill(`{"type":"http_response","id":"0123456789ab","status":200,"headers":{},"body":"x"}`, ' '),
		"another's close":      fill(`{"type":"tcp_close","connId":"0123456789ab"}`, ' '),
		"an unfinished answer": fill(`{"type":"http_response","id":"0123456789ab","status":200,"headers":{},"body":"`, 'x'),
		"an unfinished string": fill(`{"type":"`, 'x'),
		"a header":             fill("\x00\x00\x00\x0c0123456789ab", 'x'),
		"a long header":        fill("\x00\x00\x10\x00", 'x'),
		"an empty header":      fill("\x00\x00\x00\x00", 'x'),
		"zeros":                fill("", 0),
	}
}

// Pieces of data that look like JSON or like a frame's header are still data,
// whatever else comes between the frames.
func TestGosshDisguisedData(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	for _, pieces := range []int{1, 8} { // that a frame is cut into
		t.Run(fmt.Sprint(pieces), func(t *testing.T) {
			t.Parallel()
			const header = 16
			texts := map[string][]byte{}
			for name, disguise := range gosshDisguises() {
				frame := append([]byte(nil), disguise[:gosshPiece-header]...) // its payload
				for range pieces - 1 {
					frame = append(frame, disguise...)
				}
				texts[name] = bytes.Repeat(frame, 480/pieces)
			}
			r := gosshOpen(t, s, gosshScript{
				service: gosshMixed(t, texts), buffer: pieces*gosshPiece - header, full: true, opening: gosshOpening / 10,
			})
			for name, text := range texts {
				want := sha256.Sum256(text)
				var running sync.WaitGroup
				for range 2 {
					running.Go(func() {
						conn := r.dial(t)
						defer conn.Close()
						_, _ = io.WriteString(conn, "raw:"+name+"\n")
						got, n, err := tunnelSum(io.LimitReader(conn, int64(len(text))))
						if err != nil || got != want {
							t.Errorf("%s: %d of %d bytes come, %v, right: %v", name, n, len(text), err, got == want)
						}
					})
				}
				running.Go(func() {
					for i := range 6 {
						n := []int{10, 5000, 40_000}[i%3]
						if err := r.get(fmt.Sprintf("/z?n=%d", n), nil, strings.Repeat("z", n)); err != nil {
							t.Errorf("%s, beside it: %v", name, err)
						}
					}
				})
				running.Wait()
			}
			r.check(t)
		})
	}
}
