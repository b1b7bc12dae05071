package e2e

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// Once the answer has begun, the body may pause as long as it likes, too: both may be
// a conversation.
func TestBytesBodyPauses(t *testing.T) {
	t.Parallel()
	r := newBytesRig(t, bytesEcho(), "TUNNEL_HTTP_TIMEOUT=1s")
	body, words := io.Pipe()
	go func() { _, _ = io.WriteString(words, "begin") }()
	response := r.must(t, r.request("POST", "/", body))
	begin := make([]byte, 5)
	if _, err := io.ReadFull(response.Body, begin); err != nil {
		t.Fatal(err)
	}
	<-time.After(2500 * time.Millisecond) // longer than the time-out
	go func() {
		_, _ = io.WriteString(words, "--end")
		words.Close()
	}()
	if end, err := io.ReadAll(response.Body); err != nil || string(end) != "--end" {
		t.Errorf("behind the pause comes %q, %v", end, err)
	}
}

// Who asks whether its body is wanted, and gets an answer, is not told to send the
// body beside it, and gets that answer whole though no body comes.
func TestBytesContinueAnswered(t *testing.T) {
	t.Parallel()
	const head, tail = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\nConnection: close\r\n\r\n", "no"
	r := newBytesRigTo(t, rawService(t, func(conn *net.TCPConn, request string) {
		_, _ = io.WriteString(conn, head+tail)
		if strings.Contains(request, "/slow") {
			<-time.After(2500 * time.Millisecond) // longer than the time-out
		}
		_, _ = io.WriteString(conn, tail)
	}), "", "TUNNEL_HTTP_TIMEOUT=1s")
	ask := func(path string) {
		wire := r.wire(t)
		defer wire.Close()
		wire.say(t, "POST "+path+" HTTP/1.1", "Host: "+r.c.host, "Content-Length: 4", "Expect: 100-continue")
		if reply := wire.hear(t, "POST"); reply.status != 401 || reply.body != "nono" {
			t.Errorf("the answer for %s is %d %q", path, reply.status, reply.body)
		}
	}
	for range 100 {
		ask("/")
	}
	ask("/slow")
}

// A body that stops is always told, though net/http takes its end for that of the
// outside client.
func TestBytesBodiesStop(t *testing.T) {
	t.Parallel()
	r := newBytesRigTo(t, stalledService(t), "",
		"TUNNEL_HTTP_TIMEOUT=2s", "MAX_TUNNEL_HTTP=0", "MAX_TUNNEL_HTTP_PER_IP=0", "MAX_HTTP_CONNS_PER_IP=0")
	var wires []*tunnelWire
	for range 300 {
		wire := r.wire(t)
		_, _ = fmt.Fprintf(wire, "PUT / HTTP/1.1\r\nHost: %s\r\nContent-Length: 10\r\n\r\nbegin", r.c.host)
		wires = append(wires, wire)
	}
	for _, wire := range wires {
		if reply := wire.hear(t, "PUT"); reply.status != 408 {
			t.Errorf("the answer is %d %q", reply.status, reply.body)
		}
	}
}

// An answer with more fields than pass is told as that, and as nothing else.
func TestBytesTooManyFields(t *testing.T) {
	t.Parallel()
	for _, header := range []string{strings.Repeat("X: y\r\n", 201), "X: " + strings.Repeat("y", 66<<10) + "\r\n"} {
		r := newBytesRigTo(t, saysAndEnds(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"+header+"\r\n", false), "")
		if reply := r.get(t, "/"); reply.status != 502 || !strings.Contains(reply.body, "more headers") {
			t.Errorf("the answer is %d %q", reply.status, reply.body)
		}
	}
}
