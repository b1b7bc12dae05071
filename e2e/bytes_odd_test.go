package e2e

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// repeats is a service that gives the same bytes as the answer to each request of a
// connection, and goes on.
func repeats(t *testing.T, answer string) string {
	t.Helper()
	return target(t, func(conn *net.TCPConn) {
		_ = conn.SetDeadline(time.Now().Add(2 * patience))
		for in := bufio.NewReader(conn); ; {
			request, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, request.Body)
			if _, err := io.WriteString(conn, answer); err != nil {
				return
			}
		}
	}).String()
}

// What a service sends beyond its answer is nobody's answer, and what it has framed in
// two ways is one answer, or none: whoever asks next gets their own.
func TestBytesOddAnswers(t *testing.T) {
	t.Parallel()
	const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
	const sized = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
	for name, c := range map[string]struct {
		method, answer, body string
		must                 bool // the answer passes
		status               int
	}{
		"more behind the length":    {"GET", sized + "\r\nok" + poison, "ok", true, 200},
		"more behind the chunks":    {"GET", chunked + "\r\n2\r\nok\r\n0\r\n\r\n" + poison, "ok", true, 200},
		"more behind 204":           {"GET", "HTTP/1.1 204 No Content\r\n\r\n" + poison, "", true, 204},
		"a body of 204":             {"GET", "HTTP/1.1 204 No Content\r\nContent-Length: 53\r\n\r\n" + poison, "", false, 204},
		"chunks of 204":             {"GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", false, 204},
		"a body of 304":             {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 53\r\n\r\n" + poison, "", true, 304},
		"a body of HEAD":            {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 53\r\n\r\n" + poison, "", true, 200},
		"HEAD with chunks":          {"HEAD", chunked + "\r\n", "", true, 200},
		"100 that nobody asked for": {"GET", "HTTP/1.1 100 Continue\r\n\r\n" + sized + "\r\nok", "ok", true, 200},
		"102 before it":             {"GET", "HTTP/1.1 102 Processing\r\n\r\n" + sized + "\r\nok", "ok", true, 200},
		"equal lengths":             {"GET", sized + "Content-Length: 2\r\n\r\nok", "ok", false, 200},
		"equal lengths in a line":   {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", "ok", false, 200},
		"length and chunks":         {"GET", chunked + "Content-Length: 60\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok", false, 200},
		"chunks of HTTP/1.0":        {"GET", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok", false, 200},
		"a chunk's extension":       {"GET", chunked + "\r\n2;a=\"b\"\r\nok\r\n0\r\n\r\n", "ok", true, 200},
		"a chunk's length in zeros": {"GET", chunked + "\r\n0000002\r\nok\r\n000\r\n\r\n", "ok", true, 200},
		"folded":                    {"GET", sized + "X: a\r\n b\r\n\r\nok", "ok", false, 200},
		"blank before the colon":    {"GET", "HTTP/1.1 200 OK\r\nContent-Length : 53\r\nContent-Length: 2\r\n\r\nok" + poison, "ok", false, 200},
		"bare CR in a value":        {"GET", sized + "X: a\rSet-Cookie: x=y\r\n\r\nok", "ok", false, 200},
		"NUL in a value":            {"GET", sized + "X: a\x00b\r\n\r\nok", "ok", false, 200},
		"lines that end with LF":    {"GET", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "ok", false, 200},
		"no phrase":                 {"GET", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", "ok", true, 200},
		"a name that is none":       {"GET", sized + "X(y): z\r\n\r\nok", "ok", false, 200},
		"a phrase with an own line": {"GET", "HTTP/1.1 200 O\rK\r\nContent-Length: 2\r\n\r\nok", "ok", false, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newBytesRigTo(t, repeats(t, c.answer), "")
			for i := range 3 {
				reply := r.ask(t, c.method, "/", nil)
				passed := reply.status == c.status && reply.body == c.body
				if !passed && (c.must || reply.status != 502) {
					t.Errorf("answer %d is %d %q", i, reply.status, reply.body)
				}
				if reply.header.Get("Set-Cookie") != "" {
					t.Errorf("answer %d has a header of the value's: %v", i, reply.header)
				}
			}
			wire := r.wire(t)
			wire.say(t, c.method+" / HTTP/1.1", "Host: "+r.c.host, "Connection: close")
			raw, _ := io.ReadAll(wire.in)
			if strings.Contains(string(raw), "poison") || strings.ContainsAny(strings.ReplaceAll(string(raw), "\r\n", ""), "\r\n\x00") && !strings.Contains(string(raw), " 502 ") {
				t.Errorf("on the wire is %q", raw)
			}
		})
	}
}

// A client of HTTP/1.0 gets no interim answers.
func TestBytesNoInterimForHTTP10(t *testing.T) {
	t.Parallel()
	r := newBytesRigTo(t, repeats(t, "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"+okAnswer), "")
	wire := r.wire(t)
	wire.say(t, "GET / HTTP/1.0", "Host: "+r.c.host)
	if reply := wire.hear(t, "GET"); reply.status != 200 || reply.body != "ok" {
		t.Errorf("the answer is %d %q", reply.status, reply.body)
	}
}

// Nothing is made up for an answer, no type and no other name of the server.
func TestBytesBareAnswer(t *testing.T) {
	t.Parallel()
	r := newBytesRigTo(t, repeats(t, "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html><body>x"), "")
	reply := r.get(t, "/")
	reply.header.Del("Date")
	if len(reply.header) != 1 || reply.header.Get("Content-Length") != "13" {
		t.Errorf("the answer has %v", reply.header)
	}
}

// A head that comes byte by byte comes in time or not at all.
func TestBytesSlowHead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ first, every string }{
		"fields":          {"HTTP/1.1 200 OK\r\n", "X: y\r\n"},
		"bytes":           {"HTTP/1.1 200 OK\r\n", "X"},
		"interim answers": {"", "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := rawService(t, func(conn *net.TCPConn, _ string) {
				_, _ = io.WriteString(conn, c.first)
				tick := time.NewTicker(50 * time.Millisecond)
				defer tick.Stop()
				for range tick.C {
					if _, err := io.WriteString(conn, c.every); err != nil {
						return
					}
				}
			})
			r := newBytesRigTo(t, service, "", "TUNNEL_HTTP_TIMEOUT=1s")
			began := time.Now()
			reply, err := tunnelAsk(r.client, r.s, "GET", r.c.host, "/", nil, nil)
			if took := time.Since(began); err == nil && reply.status != 504 && reply.status != 502 || took > patience/2 {
				t.Errorf("after %v: %d, %v", took, reply.status, err)
			}
		})
	}
}

// A body that its outside client has cut is never whole for the service: it sees a
// reset, whatever the framing.
func TestBytesCutUploads(t *testing.T) {
	t.Parallel()
	came, ended := make(chan struct{}, 1), make(chan error, 1)
	r := newBytesRigTo(t, rawService(t, func(conn *net.TCPConn, _ string) {
		came <- struct{}{}
		body, err := io.ReadAll(conn)
		if err == nil || strings.Contains(string(body), "0\r\n\r\n") {
			err = errors.New("it looks whole: " + string(body))
		}
		ended <- err
	}), "")
	for name, lines := range map[string][]string{
		"length": {"Content-Length: 100", "", "begun"},
		"chunks": {"Transfer-Encoding: chunked", "", "5", "begun", ""},
		"half":   {"Transfer-Encoding: chunked", "", "5", "begun", ""}, // and half a chunk
	} {
		for _, way := range []string{"close", "reset", "end of the sending side"} {
			wire := r.wire(t)
			_, _ = io.WriteString(wire, strings.Join(append([]string{"POST / HTTP/1.1", "Host: " + r.c.host}, lines...), "\r\n"))
			if !waitClosed(came, patience) {
				t.Fatalf("%s, %s: the request does not come", name, way)
			}
			if name == "half" {
				_, _ = io.WriteString(wire, "50\r\nhalf of it")
			}
			switch way {
			case "reset":
				_ = wire.SetLinger(0)
				wire.Close()
			case "close":
				wire.Close()
			default:
				wire.CloseWrite()
			}
			select {
			case err := <-ended:
				if !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("%s, %s: %v", name, way, err)
				}
			case <-time.After(patience):
				t.Fatalf("%s, %s: the service's connection does not end", name, way)
			}
		}
	}
}
