package tap

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// Every kind of answer passes byte for byte, and is known.
func TestPassing(t *testing.T) {
	const get = "GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
	big := strings.Repeat("x", 300_000)
	for name, test := range map[string]struct {
		request, answer string
		status          int
		in, out         int64
	}{
		"length":           {get, "HTTP/1.1 200 OK\r\ncontent-length:  5 \r\n\r\nhello", 200, 0, 5},
		"empty":            {get, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, 0, 0},
		"large":            {get, "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + big, 200, 0, 300_000},
		"bare line feeds":  {get, "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", 200, 0, 5},
		"folded":           {get, "HTTP/1.1 200 OK\r\nX: a\r\n b: c\r\nContent-Length: 5\r\n\r\nhello", 200, 0, 5},
		"no reason":        {get, "HTTP/1.1 404\r\nContent-Length: 2\r\n\r\nno", 404, 0, 2},
		"chunked":          {get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n0A\r\n0123456789\r\n0\r\nT: v\r\n\r\n", 200, 0, 13},
		"chunked over all": {get, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 200, 0, 1},
		"interim":          {get, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", 200, 0, 1},
		"no content":       {get, "HTTP/1.1 204 No Content\r\n\r\n", 204, 0, 0},
		"not modified":     {get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n", 304, 0, 0},
		"head":             {"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, 0, 0},
		"post":             {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\nbody\r\n\r", "HTTP/1.1 201 C\r\nContent-Length: 0\r\n\r\n", 201, 7, 0},
		"post in chunks":   {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", "HTTP/1.1 201 C\r\nContent-Length: 0\r\n\r\n", 201, 4, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan string, 2)
			service := scripted(t, func(c *net.TCPConn, r *bufio.Reader) {
				for range 2 {
					b := make([]byte, len(test.request))
					if _, err := io.ReadFull(r, b); err != nil {
						return
					}
					got <- string(b)
					// In pieces, so that what is cut apart is put together.
					for answer := test.answer; answer != ""; {
						n := min(len(answer), max(7, len(answer)/2))
						_, _ = c.Write([]byte(answer[:n]))
						answer = answer[n:]
					}
				}
			})
			rig := newRig(t, service, nil)
			proxy := rig.dial()
			for i := range 2 { // the connection is used again
				fmt.Fprint(proxy, test.request)
				b := make([]byte, len(test.answer))
				if _, err := io.ReadFull(proxy, b); err != nil || string(b) != test.answer {
					t.Fatalf("%v, %q came", err, b)
				}
				if request := <-got; request != test.request {
					t.Fatalf("%q came to the service", request)
				}
				e := rig.seen.wait(t, i+1)[i]
				method, path, _ := strings.Cut(test.request, " ")
				path, _, _ = strings.Cut(path, " ")
				if e.Method != method || e.Path != path || e.Status != test.status || e.In != test.in || e.Out != test.out || e.Cut || !e.Ended {
					t.Errorf("it was taken for %+v", e)
				}
				if e.FirstByte <= 0 || e.Duration < e.FirstByte {
					t.Errorf("its times are %v and %v", e.FirstByte, e.Duration)
				}
			}
			_ = proxy.CloseWrite()
			if rest, ok := readAll(t, proxy); rest != "" || !ok {
				t.Errorf("the end of an idle connection: %q, in order: %v", rest, ok)
			}
		})
	}
}

// A body until the end of its connection is whole after a FIN alone.
func TestUntilClose(t *testing.T) {
	for _, reset := range []bool{false, true} {
		service := scripted(t, func(c *net.TCPConn, r *bufio.Reader) {
			readHead(r)
			fmt.Fprint(c, "HTTP/1.0 200 OK\r\n\r\nhello")
			if reset {
				readHead(r) // until the proxy has all
				_ = c.SetLinger(0)
			}
		})
		rig := newRig(t, service, nil)
		proxy := rig.dial()
		fmt.Fprint(proxy, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		const answer = "HTTP/1.0 200 OK\r\n\r\nhello"
		b := make([]byte, len(answer))
		if _, err := io.ReadFull(proxy, b); err != nil || string(b) != answer {
			t.Fatalf("%v, %q", err, b)
		}
		if reset {
			fmt.Fprint(proxy, "\r\n")
		}
		if _, ok := readAll(t, proxy); ok == reset {
			t.Errorf("reset %v: the end was in order: %v", reset, ok)
		}
		if e := rig.seen.wait(t, 1)[0]; e.Cut != reset || e.Out != 5 {
			t.Errorf("reset %v: taken for %+v", reset, e)
		}
	}
}

// What a service leaves unfinished is known as cut, and ends as the service has ended
// it, behind all that it has sent.
func TestCutAnswers(t *testing.T) {
	for name, answer := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"head":    "HTTP/1.1 200 OK\r\nContent-Le",
	} {
		for _, reset := range []bool{false, true} {
			service := scripted(t, func(c *net.TCPConn, r *bufio.Reader) {
				readHead(r)
				fmt.Fprint(c, answer)
				if reset {
					readHead(r) // until the proxy has all
					_ = c.SetLinger(0)
				}
			})
			rig := newRig(t, service, nil)
			proxy := rig.dial()
			fmt.Fprint(proxy, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			b := make([]byte, len(answer))
			if _, err := io.ReadFull(proxy, b); err != nil || string(b) != answer {
				t.Fatalf("%s: %v, %q", name, err, b)
			}
			if reset {
				fmt.Fprint(proxy, "\r\n")
			}
			if _, ok := readAll(t, proxy); ok == reset {
				t.Errorf("%s, reset %v: it ended in order: %v", name, reset, ok)
			}
			if e := rig.seen.wait(t, 1)[0]; !e.Cut {
				t.Errorf("%s: taken for %+v", name, e)
			}
		}
	}
}

// A reset of the proxy's side closes the service's connection at once.
func TestResetByProxy(t *testing.T) {
	ended := make(chan error, 1)
	service := scripted(t, func(c *net.TCPConn, r *bufio.Reader) {
		readHead(r)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
		_, err := r.ReadByte()
		ended <- err
	})
	rig := newRig(t, service, nil)
	proxy := rig.dial()
	fmt.Fprint(proxy, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := io.ReadFull(proxy, make([]byte, 20)); err != nil {
		t.Fatal(err)
	}
	_ = tcpStream{proxy}.Reset()
	if err := <-ended; err == nil || err == io.EOF {
		t.Errorf("the service's connection ended with %v", err)
	}
	if e := rig.seen.wait(t, 1)[0]; !e.Cut || e.Status != 200 {
		t.Errorf("taken for %+v", e)
	}
}

// An upgraded connection passes what it likes, and ends one side at a time.
func TestUpgrade(t *testing.T) {
	service := scripted(t, func(c *net.TCPConn, r *bufio.Reader) {
		readHead(r)
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nfirst ")
		_, _ = io.Copy(c, r) // until the proxy's FIN
		fmt.Fprint(c, "last")
	})
	rig := newRig(t, service, nil)
	proxy := rig.dial()
	fmt.Fprint(proxy, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	r := bufio.NewReader(proxy)
	if head := readHead(r); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Fatalf("%q", head)
	}
	fmt.Fprint(proxy, "GET \x00 no HTTP ")
	_ = proxy.CloseWrite()
	if rest, ok := readAll(t, r); rest != "first GET \x00 no HTTP last" || !ok {
		t.Errorf("%q, in order: %v", rest, ok)
	}
	e := rig.seen.wait(t, 1)[0]
	if !e.Upgraded || e.Status != 101 || e.In != 14 || e.Out != 24 || e.Cut {
		t.Errorf("taken for %+v", e)
	}
}

// What is no HTTP passes all the same, and is said once.
func TestGarbagePasses(t *testing.T) {
	service := scripted(t, func(c *net.TCPConn, r *bufio.Reader) {
		b, _ := io.ReadAll(r)
		fmt.Fprintf(c, "<%s>", b)
	})
	rig := newRig(t, service, nil)
	proxy := rig.dial()
	fmt.Fprint(proxy, "EHLO x\r\n\r\nGET / HTTP/1.1\r\n\r\n")
	_ = proxy.CloseWrite()
	if b, ok := readAll(t, proxy); b != "<EHLO x\r\n\r\nGET / HTTP/1.1\r\n\r\n>" || !ok {
		t.Errorf("%q, in order: %v", b, ok)
	}
	<-rig.notices
	select {
	case again := <-rig.notices:
		t.Errorf("said again: %s", again)
	default:
	}
}

// An early answer passes, and what still comes of the body is taken.
func TestEarlyAnswer(t *testing.T) {
	service := scripted(t, func(c *net.TCPConn, r *bufio.Reader) {
		readHead(r)
		fmt.Fprint(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
		_ = c.CloseWrite()
		_, _ = io.CopyN(io.Discard, r, 1<<20)
	})
	rig := newRig(t, service, nil)
	proxy := rig.dial()
	fmt.Fprint(proxy, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
	answer := make([]byte, 70)
	n, err := io.ReadAtLeast(proxy, answer, 60)
	if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 413 ") {
		t.Fatalf("%v, %q", err, answer[:n])
	}
	if e := rig.seen.wait(t, 1)[0]; e.Status != 413 || e.Cut {
		t.Errorf("taken for %+v", e)
	}
}

// A reset is noticed while the service takes nothing, too.
func TestResetWhileServiceStalls(t *testing.T) {
	ended, reset := make(chan error, 1), make(chan struct{})
	service := scripted(t, func(c *net.TCPConn, r *bufio.Reader) {
		<-reset
		// It is only looked whether there is an end, nothing is taken.
		_ = c.SetReadBuffer(1)
		for {
			if _, err := c.Write([]byte("x")); err != nil {
				ended <- err
				return
			}
		}
	})
	rig := newRig(t, service, nil)
	proxy := rig.dial()
	fmt.Fprint(proxy, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
	_ = proxy.SetWriteDeadline(time.Now().Add(time.Second))
	for chunk := make([]byte, 1<<20); ; {
		if _, err := proxy.Write(chunk); err != nil {
			break
		}
	}
	_ = tcpStream{proxy}.Reset()
	if e := rig.seen.wait(t, 1)[0]; !e.Cut {
		t.Errorf("taken for %+v", e)
	}
	close(reset)
	<-ended
}

// When the user asks for the end a connection on which nothing is under way ends in
// order, and another one is cut.
func TestQuit(t *testing.T) {
	asked := make(chan struct{}, 2)
	service := scripted(t, func(c *net.TCPConn, r *bufio.Reader) {
		for head := readHead(r); head != ""; head = readHead(r) {
			if strings.HasPrefix(head, "GET /idle") {
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
			asked <- struct{}{}
		}
	})
	rig := newRig(t, service, nil)
	ctx, cancel := context.WithCancel(t.Context())
	serve := func(path string) *net.TCPConn {
		front := listen(t)
		proxy := dial(t, front.Addr().String())
		c, err := front.Accept()
		if err != nil {
			t.Fatal(err)
		}
		rig.served.Go(func() { rig.tap.Serve(ctx, tcpStream{c.(*net.TCPConn)}) })
		fmt.Fprintf(proxy, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		<-asked
		return proxy
	}
	idle, busy := serve("/idle"), serve("/busy")
	rig.seen.wait(t, 1)
	cancel()
	if b, whole := readAll(t, idle); !whole || !strings.HasPrefix(b, "HTTP/1.1 200") {
		t.Errorf("%q, in order: %v", b, whole)
	}
	if _, whole := readAll(t, busy); whole {
		t.Error("a request that was under way has ended in order")
	}
}
