package tap

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"

	"wsproxy/internal/testkit"
)

// A service that takes little at a time gets all of an upload, once, and so does the watch:
// what a write that doesn't wait has left is written behind it.
func TestUploadToASlowService(t *testing.T) {
	body := testkit.Pattern(4 << 20)
	service := scripted(t, func(c *net.TCPConn, r *bufio.Reader) {
		_ = c.SetReadBuffer(64 << 10)
		readHead(r)
		got := make([]byte, 0, len(body))
		for piece := make([]byte, 8<<10); len(got) < len(body); {
			n, err := r.Read(piece)
			if err != nil {
				return
			}
			got = append(got, piece[:n]...)
		}
		answer := "wrong"
		if bytes.Equal(got, body) {
			answer = "right"
		}
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", answer)
	})
	r := newRig(t, service, nil)
	proxy := r.dial()
	fmt.Fprintf(proxy, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(body))
	if _, err := proxy.Write(body); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, len("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright"))
	if _, err := io.ReadFull(proxy, answer); err != nil || !bytes.HasSuffix(answer, []byte("right")) {
		t.Errorf("it is answered with %q, %v", answer, err)
	}
	if e := r.seen.wait(t, 1)[0]; e.In != int64(len(body)) || e.Cut {
		t.Errorf("it was taken for %+v", e)
	}
	_ = proxy.Close()
}
