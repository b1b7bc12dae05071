package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A tunnel whose service isn't there answers 502 with a text that says so.
func TestBytesNoService(t *testing.T) {
	t.Parallel()
	r := newBytesRigTo(t, closedPort(t).String(), "", "METRICS_ADDR=127.0.0.1:0")
	for _, method := range []string{"GET", "POST"} {
		reply := r.ask(t, method, "/", strings.NewReader("body"))
		if reply.status != 502 || !strings.Contains(reply.body, "refused") && !strings.Contains(reply.body, "no service") {
			t.Errorf("%s: %d %q", method, reply.status, reply.body)
		}
	}
	if n := r.s.refusals(t, "http", "service_refused"); n != 2 {
		t.Errorf("counted %d times", n)
	}
}

// A service that never answers is 504 after the time-out, and its connection is reset.
func TestBytesNoAnswer(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 2)
	r := newBytesRigTo(t, rawService(t, func(conn *net.TCPConn, _ string) {
		_, err := io.Copy(io.Discard, conn)
		ended <- err
	}), "", "TUNNEL_HTTP_TIMEOUT=1s")
	for _, method := range []string{"GET", "POST"} {
		began := time.Now()
		reply := r.ask(t, method, "/", strings.NewReader("body"))
		if took := time.Since(began); reply.status != 504 || took < 900*time.Millisecond || took > patience/2 {
			t.Errorf("%s: %d after %v", method, reply.status, took)
		}
		if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: the service's connection ends with %v", method, err)
		}
	}
	for _, conn := range r.c.all() {
		if reason := conn.reason(t); reason != "reset" {
			t.Errorf("tcp_close says %q", reason)
		}
	}
}

// An answer may pause as long as it likes, once its head is there.
func TestBytesAnswerPauses(t *testing.T) {
	t.Parallel()
	r := newBytesRigTo(t, rawService(t, func(conn *net.TCPConn, _ string) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegin")
		<-time.After(2500 * time.Millisecond) // longer than the time-out
		_, _ = io.WriteString(conn, "--end")
	}), "", "TUNNEL_HTTP_TIMEOUT=1s")
	if reply := r.get(t, "/"); reply.status != 200 || reply.body != "begin--end" {
		t.Errorf("%d %q", reply.status, reply.body)
	}
}

// A body from outside of which nothing more comes is 408.
func TestBytesBodyStops(t *testing.T) {
	t.Parallel()
	r := newBytesRig(t, bytesEcho(), "TUNNEL_HTTP_TIMEOUT=1s")
	wire := r.wire(t)
	_, _ = io.WriteString(wire, "PUT / HTTP/1.1\r\nHost: "+r.c.host+"\r\nContent-Length: 10\r\n\r\n")
	if reply := wire.hear(t, "PUT"); reply.status != 408 {
		t.Errorf("the answer is %d %q", reply.status, reply.body)
	}
}

// An answer that its connection's end has cut is never whole outside, whatever its
// framing; one that lasts until the end is whole only after an orderly one.
func TestBytesCutAnswers(t *testing.T) {
	t.Parallel()
	const until = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nthe body"
	for name, c := range map[string]struct {
		answer string
		reset  bool
		whole  bool
	}{
		"length, cut":          {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthe body", false, false},
		"length, reset":        {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthe body", true, false},
		"length, no body":      {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", false, false},
		"chunks, cut":          {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nthe body\r\n", false, false},
		"chunks, half a chunk": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nthe body", false, false},
		"chunks, no trailer":   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nthe body\r\n0\r\n", false, false},
		"chunks, reset":        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nthe body\r\n", true, false},
		"until the reset":      {until, true, false},
		"until the end":        {until, false, true},
		"HTTP/1.0":             {"HTTP/1.0 200 OK\r\n\r\nthe body", false, true},
		"HTTP/1.0, reset":      {"HTTP/1.0 200 OK\r\n\r\nthe body", true, false},
		"length, whole":        {"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nthe body", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newBytesRigTo(t, saysAndEnds(t, c.answer, c.reset), "")
			for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
				wire := r.wire(t)
				wire.say(t, "GET / "+version, "Host: "+r.c.host)
				response, err := http.ReadResponse(wire.in, nil)
				if err != nil {
					if c.whole {
						t.Errorf("%s: no answer: %v", version, err)
					}
					continue
				}
				body, err := io.ReadAll(response.Body)
				if response.StatusCode == 502 && c.reset && !c.whole {
					continue // its end has overtaken its head
				}
				if response.StatusCode != 200 || c.whole != (err == nil) || c.whole && string(body) != "the body" {
					t.Errorf("%s: %d %q, %v", version, response.StatusCode, body, err)
				}
			}
		})
	}
}

// What is no answer of HTTP, or none that may pass, is 502.
func TestBytesBadAnswers(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n"
	for name, answer := range map[string]string{
		"nothing":            "",
		"half a line":        "HTTP/1.1 200",
		"half a head":        head,
		"no HTTP":            "SSH-2.0-OpenSSH_9.9\r\n",
		"HTTP/2":             "HTTP/2 200 OK\r\nContent-Length: 6\r\n\r\nleaked",
		"no status":          "HTTP/1.1 OK\r\nContent-Length: 6\r\n\r\nleaked",
		"a low status":       "HTTP/1.1 099 Low\r\nContent-Length: 6\r\n\r\nleaked",
		"a high status":      "HTTP/1.1 600 High\r\nContent-Length: 6\r\n\r\nleaked",
		"two lengths":        head + "Content-Length: 7\r\n\r\nleaked",
		"a bad length":       "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nleaked",
		"unknown coding":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\nleaked",
		"coding and length":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 6\r\n\r\nleaked",
		"a head without end": head + "X: " + strings.Repeat("x", 70<<10) + "\r\n\r\nleaked",
		"too many headers":   head + strings.Repeat("X: y\r\n", 201) + "\r\nleaked",
		"interims for ever":  strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("x", 1000)+"\r\n\r\n", 200),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newBytesRigTo(t, saysAndEnds(t, answer, false), "")
			if reply := r.get(t, "/"); reply.status != 502 || strings.Contains(reply.body, "leaked") {
				t.Errorf("%d %.100q", reply.status, reply.body)
			}
		})
	}
}

// A service may answer before the body has come, and close: the outside that sends
// on sees the answer, whole.
func TestBytesEarlyAnswer(t *testing.T) {
	t.Parallel()
	for name, connection := range map[string]string{"closes": "close", "stays": "keep-alive"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := rawService(t, func(conn *net.TCPConn, _ string) {
				_, _ = fmt.Fprintf(conn, "HTTP/1.1 413 Too Large\r\nConnection: %s\r\nContent-Length: 8\r\n\r\ntoo long", connection)
				if connection == "close" {
					conn.CloseWrite()
				}
				_, _ = io.CopyN(io.Discard, conn, 1<<20) // and then it reads no more
			})
			r := newBytesRigTo(t, service, "")
			for range 3 {
				reply := r.ask(t, "POST", "/", struct{ io.Reader }{io.LimitReader(tunnelNoise(1), 4<<20)})
				if reply.status != 413 || reply.body != "too long" {
					t.Errorf("the answer is %d %q", reply.status, reply.body)
				}
			}
			wire := r.wire(t) // one that says how much it will send
			wire.say(t, "POST / HTTP/1.1", "Host: "+r.c.host, fmt.Sprint("Content-Length: ", 1<<20))
			_, _ = io.CopyN(struct{ io.Writer }{wire}, tunnelNoise(1), 1<<20)
			if reply := wire.hear(t, "POST"); reply.status != 413 || reply.body != "too long" {
				t.Errorf("the answer is %d %q", reply.status, reply.body)
			}
		})
	}
}

// What was begun once is never done twice: a request that may not be repeated goes to
// the service once, though its connection ends without an answer.
func TestBytesNothingIsDoneTwice(t *testing.T) {
	t.Parallel()
	var posts, gets atomic.Int32
	r := newBytesRigTo(t, rawService(t, func(conn *net.TCPConn, head string) {
		if strings.HasPrefix(head, "POST") {
			posts.Add(1)
			return
		}
		gets.Add(1)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}), "")
	for range 10 {
		r.get(t, "/") // leaves a connection that ends while it is idle
		if reply := r.ask(t, "POST", "/", strings.NewReader("x")); reply.status != 502 {
			t.Errorf("a POST without an answer is %d", reply.status)
		}
	}
	if posts.Load() != 10 || gets.Load() != 10 {
		t.Errorf("the service has got %d POSTs and %d GETs", posts.Load(), gets.Load())
	}
}

// An outside client that goes leaves nothing: the service's connection is reset, and
// the slot is free.
func TestBytesOutsideGoes(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	r := newBytesRigTo(t, rawService(t, func(conn *net.TCPConn, head string) {
		if strings.HasPrefix(head, "GET /answers") {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nbegin")
		}
		_, err := io.Copy(io.Discard, conn)
		ended <- err
	}), "", "MAX_TUNNEL_HTTP=2")
	for i := range 6 {
		path := []string{"/answers", "/never"}[i%2]
		wire := r.wire(t)
		wire.say(t, "GET "+path+" HTTP/1.1", "Host: "+r.c.host)
		eventually(t, patience, "a connection", func() bool { return r.c.opened() == i+1 })
		if path == "/answers" {
			if _, err := wire.in.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		wire.Close()
		select {
		case err := <-ended:
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s: the service's connection ends with %v", path, err)
			}
		case <-time.After(patience):
			t.Fatalf("%s: the service's connection does not end", path)
		}
	}
}

// An outside client that goes while an answer pauses is forgotten, also if the beginning
// of another request waits behind its first: it would hold a slot for ever.
func TestBytesClientGoesBehindAnotherRequest(t *testing.T) {
	t.Parallel()
	for name, behind := range map[string]string{"nothing": "", "a byte": "G", "a request": "GET /2 HTTP/1.1\r\nHost: x\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan error, 1)
			r := newBytesRigTo(t, rawService(t, func(conn *net.TCPConn, _ string) {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin")
				_, err := io.Copy(io.Discard, conn)
				ended <- err
			}), "")
			wire := r.wire(t)
			_, _ = io.WriteString(wire, "GET / HTTP/1.1\r\nHost: "+r.c.host+"\r\n\r\n")
			response, err := http.ReadResponse(wire.in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(response.Body, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(wire, behind)
			time.AfterFunc(time.Second, func() { // what is behind is read by then
				_ = wire.SetLinger(0)
				wire.Close()
			})
			select {
			case err := <-ended:
				if !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("the service's connection ends with %v", err)
				}
			case <-time.After(patience):
				t.Error("the request goes on")
			}
		})
	}
}

// A service that has begun to answer may leave the rest of the body unread for as long
// as it likes.
func TestBytesUnreadBodyBehindAnAnswer(t *testing.T) {
	t.Parallel()
	r := newBytesRigTo(t, rawService(t, func(conn *net.TCPConn, _ string) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegin")
		<-time.After(2500 * time.Millisecond) // longer than the time-out
		_, _ = io.WriteString(conn, "--end")
		_, _ = io.Copy(io.Discard, conn)
	}), "", "TUNNEL_HTTP_TIMEOUT=1s")
	reply := r.ask(t, "POST", "/", struct{ io.Reader }{io.LimitReader(tunnelNoise(1), 64<<20)})
	if reply.status != 200 || reply.body != "begin--end" {
		t.Errorf("%d %q", reply.status, reply.body)
	}
}
