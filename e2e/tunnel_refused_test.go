package e2e

import (
	"io"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tunnelZeros is a body of zeros, which a client writes before it reads.
func tunnelZeros(n int64) io.Reader { return io.LimitReader(zeros{}, n) }

// An upload that is refused before it was read is read all the same, for a
// while: who writes it all and reads then sees why, and no reset.
func TestTunnelRefusalLostToTheUpload(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "TUNNEL_MAX_BODY=64KiB", "MAX_TUNNEL_HTTP_PER_IP=1")
	c, held := tunnelHeld(t, s, "")
	upload := func(t *testing.T, host, framing string, body io.Reader, want int) {
		t.Helper()
		wire := tunnelWireTo(t, s)
		wire.say(t, "POST /upload HTTP/1.1", "Host: "+host, framing)
		if n, err := io.Copy(wire, body); err != nil {
			t.Fatalf("%d: writing ends after %d bytes: %v", want, n, err)
		}
		reply := wire.hear(t, "POST")
		if reply.status != want || len(reply.body) < 10 {
			t.Errorf("answered %d %q, want %d", reply.status, reply.body, want)
		}
		if rest, err := io.ReadAll(wire.in); len(rest) > 0 || err != nil {
			t.Errorf("%d: then come %q, %v", want, rest, err)
		}
	}
	const size = 12_000_000
	upload(t, c.host, "Content-Length: 12000000", tunnelZeros(size), 413)
	upload(t, "0123456789abcdef."+tunnelDomain, "Content-Length: 12000000", tunnelZeros(size), 404)
	upload(t, c.host, "Transfer-Encoding: chunked", io.MultiReader(
		strings.NewReader("b71b00\r\n"), tunnelZeros(size), strings.NewReader("\r\n0\r\n\r\n")), 413)
	waiting := tunnelStart(t, tunnelHTTP(t), s, c.host, "/wait", nil, nil)
	m := tunnelTake(t, held)
	upload(t, c.host, "Content-Length: 60000\r\nConnection: close", tunnelZeros(60_000), 429)
	c.answer(m, 200, "waited")
	if reply := waiting.get(t); reply.status != 200 {
		t.Errorf("who waited got %d", reply.status)
	}
}

// A refusal comes at once and whole, though the upload goes on; and the upload
// may go on for some seconds, however slowly.
func TestTunnelRefusalWaitsForTheUpload(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "TUNNEL_MAX_BODY=64KiB")
	c := tunnelOpen(t, s, tunnelScript{})
	for host, want := range map[string]int{c.host: 413, "0123456789abcdef." + tunnelDomain: 404} {
		wire := tunnelWireTo(t, s)
		wire.say(t, "POST /upload HTTP/1.1", "Host: "+host, "Content-Length: 1000000")
		began := time.Now()
		if reply := wire.hear(t, "POST"); reply.status != want || len(reply.body) < 10 {
			t.Errorf("answered %d %q, want %d", reply.status, reply.body, want)
		}
		if took := elapsed(began); took > slack {
			t.Errorf("%d: answered after %v", want, took)
		}
		for time.Since(began) < 3*time.Second {
			if _, err := wire.Write(make([]byte, 5000)); err != nil {
				t.Fatalf("%d: sending is possible for %v: %v", want, time.Since(began), err)
			}
			<-time.After(50 * time.Millisecond)
		}
		// It is no upload without end.
		_ = wire.SetDeadline(time.Now().Add(patience))
		_, _ = io.Copy(io.Discard, wire.in)
		if took := time.Since(began); took < lingers-time.Second || elapsed(began) > lingers+slack {
			t.Errorf("%d: the connection ends after %v, want %v", want, took, lingers)
		}
	}
}

// Nor does one hold up the end of the server.
func TestTunnelRefusedUploadHoldsUpTheEnd(t *testing.T) {
	t.Parallel()
	const timeout = 500 * time.Millisecond
	s := tunnelServer(t, "TUNNEL_MAX_BODY=64KiB", "SHUTDOWN_TIMEOUT="+timeout.String())
	c := tunnelOpen(t, s, tunnelScript{})
	var uploads []*tunnelWire
	for _, head := range []string{
		"POST / HTTP/1.1\r\nHost: " + c.host + "\r\nContent-Length: 100000000",
		"POST / HTTP/1.1\r\nHost: 0123456789abcdef." + tunnelDomain + "\r\nTransfer-Encoding: chunked",
		"POST /relay HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000",
	} {
		wire := tunnelWireTo(t, s)
		wire.say(t, head)
		uploads = append(uploads, wire)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // new ones come all the time, and go on
		defer close(stopped)
		for {
			for _, wire := range uploads {
				_, _ = io.WriteString(wire, "1\r\nx\r\n")
			}
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	for _, wire := range uploads {
		wire.hear(t, "HEAD") // the header of the answer is all that matters
	}
	signalled := time.Now()
	s.signal(syscall.SIGTERM)
	if code := s.wait(timeout + lingers + slack); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := elapsed(signalled); took > timeout+lingers {
		t.Errorf("it took %v to end", took)
	}
	close(stop)
	<-stopped
}

// One large answer, longer than a message may be, is one 502: its tunnel lives,
// and so does all else that goes through it.
func TestTunnelLongAnswerEndsTheTunnel(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "TUNNEL_MAX_BODY=64KiB", "METRICS_ADDR=127.0.0.1:0")
	body := strings.Repeat("x", 3<<20)
	for _, query := range []string{"", "flow=credit", "control=binary"} {
		c := tunnelOpen(t, s, tunnelScript{query: query, http: func(c *tunnelClient, m tunnelMessage) {
			kind := 1
			if c.binary {
				kind = 2
			}
			id, text := `"id":"`+m.ID+`"`, `"type":"http_response"`
			status, long := `"status":200`, `"body":"`+body+`"`
			switch m.Path {
			case "/first":
				_ = c.write(kind, []byte("{"+strings.Join([]string{text, id, status, long}, ",")+"}"))
			case "/last":
				_ = c.write(kind, []byte("{"+strings.Join([]string{long, `"headers":{"id":"x","type":"y"}`, status, id, text}, ",")+"}"))
			case "/between":
				_ = c.write(kind, []byte("{"+strings.Join([]string{id, `"headers":{"X":"` + body + `"}`, text, status}, ", ")+"}"))
			default:
				c.answer(m, 200, m.Path)
			}
		}, raw: tunnelEcho})
		conn := tunnelDial(t, c.port)
		for _, path := range []string{"/first", "/last", "/between"} {
			if reply := tunnelGet(t, tunnelHTTP(t), s, c.host, path); reply.status != 502 {
				t.Errorf("%q %s: %d %.100q", query, path, reply.status, reply.body)
			}
			if reply := tunnelGet(t, tunnelHTTP(t), s, c.host, "/small"); reply.body != "/small" {
				t.Errorf("%q: after %s: %d %.100q", query, path, reply.status, reply.body)
			}
			if _, err := tunnelPing(conn); err != nil {
				t.Errorf("%q: a connection of the tunnel after %s: %v", query, path, err)
			}
		}
		c.bye(t)
	}
}
