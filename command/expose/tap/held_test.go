package tap

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// openGate admits one value.
type openGate string

func (g openGate) Admit(_ context.Context, authorization string) bool {
	return authorization == string(g)
}
func (openGate) Challenge() string { return `Basic realm="x"` }

// client speaks to a rig as the proxy does.
func (r *rig) client() *http.Client {
	t := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("tcp", r.proxies.Addr().String())
	}, DisableCompression: true}
	r.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: patience}
}

func (r *rig) do(method, body string, fields ...string) (*http.Response, string) {
	r.t.Helper()
	req, err := http.NewRequest(method, "http://x/path", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	client := r.client()
	answer, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer, string(b)
}

// A service that is down is a page with what to do, and the next request tries again.
func TestServiceDown(t *testing.T) {
	l := listen(t)
	at := l.Addr().String()
	_ = l.Close()
	rig := newRig(t, addressOf(at), nil)
	answer, body := rig.do("GET", "", "Accept", "text/html,*/*")
	if answer.StatusCode != 502 || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") || !strings.Contains(body, "nothing listens at "+at) {
		t.Errorf("%d %v %q", answer.StatusCode, answer.Header, body)
	}
	answer, body = rig.do("POST", "data", "Accept", "*/*")
	if answer.StatusCode != 502 || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/plain") || !strings.Contains(body, "start it") {
		t.Errorf("%d %v %q", answer.StatusCode, answer.Header, body)
	}
	answer, body = rig.do("HEAD", "")
	if answer.StatusCode != 502 || body != "" {
		t.Errorf("%d %q", answer.StatusCode, body)
	}
	for _, e := range rig.seen.wait(t, 3) {
		if !e.Own || e.Status != 502 || e.Path != "/path" || e.Cut {
			t.Errorf("taken for %+v", e)
		}
	}
	back, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	go func() {
		c, err := back.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		readHead(bufio.NewReader(c))
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nback")
	}()
	if answer, body = rig.do("GET", ""); body != "back" {
		t.Errorf("%d %q", answer.StatusCode, body)
	}
}

// A service that takes a request and says nothing is a 502 with a guess.
func TestServiceSilent(t *testing.T) {
	service := scripted(t, func(c *net.TCPConn, r *bufio.Reader) { readHead(r) })
	rig := newRig(t, service, nil)
	if answer, body := rig.do("GET", ""); answer.StatusCode != 502 || !strings.Contains(body, "without an answer") {
		t.Errorf("%d %q", answer.StatusCode, body)
	}
}

// A request passes the gate without what has opened it, and no other reaches the service.
func TestGate(t *testing.T) {
	heads := make(chan string, 10)
	service := scripted(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			head := readHead(r)
			if head == "" {
				return
			}
			heads <- head
			if strings.Contains(head, "Content-Length: 4\r\n") {
				_, _ = r.Discard(4)
			}
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	rig := newRig(t, service, func(tap *Tap) { tap.Gate = openGate("Basic right") })
	proxy := rig.dial()
	r := bufio.NewReader(proxy)
	ask := func(request string) (*http.Response, string) {
		t.Helper()
		// In two pieces, the first of which has no whole head.
		fmt.Fprint(proxy, request[:9])
		fmt.Fprint(proxy, request[9:])
		answer, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(answer.Body)
		return answer, string(b)
	}
	if answer, _ := ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n"); answer.StatusCode != 401 || answer.Header.Get("WWW-Authenticate") != `Basic realm="x"` {
		t.Errorf("%d %v", answer.StatusCode, answer.Header)
	}
	if _, body := ask("POST / HTTP/1.1\r\nHost: x\r\nauthorization: Basic right\r\nContent-Length: 4\r\n\r\nbody"); body != "ok" {
		t.Errorf("%q", body)
	}
	if head := <-heads; head != "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n" {
		t.Errorf("%q came to the service", head)
	}
	if answer, _ := ask("GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic wrong\r\n\r\n"); answer.StatusCode != 401 {
		t.Errorf("%d", answer.StatusCode)
	}
	// With a body the connection ends behind the answer.
	if answer, _ := ask("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody"); answer.StatusCode != 401 || !answer.Close {
		t.Errorf("%d, closes: %v", answer.StatusCode, answer.Close)
	}
	select {
	case head := <-heads:
		t.Errorf("%q came to the service", head)
	default:
	}
	rig.seen.wait(t, 4)
}

// What could be read in two ways never passes a gate.
func TestGateIsStrict(t *testing.T) {
	service := scripted(t, func(c *net.TCPConn, r *bufio.Reader) {
		for head := readHead(r); head != ""; head = readHead(r) {
			if strings.Contains(head, "/secret") {
				t.Errorf("%q came to the service", head)
			}
		}
	})
	rig := newRig(t, service, func(tap *Tap) { tap.Gate = openGate("Basic right") })
	const ok = "Host: x\r\nAuthorization: Basic right\r\n"
	for _, request := range []string{
		"GET / HTTP/1.1\n" + ok + "\r\n\r\nGET /secret HTTP/1.1\r\n\r\n",
		"GET /secret HTTP/1.1\r\nHost: x\r\nAuthorization: Basic right\r\nAuthorization: Basic wrong\r\n\r\n",
		"POST /secret HTTP/1.1\r\n" + ok + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
		"POST /secret HTTP/1.1\r\n" + ok + "Content-Length: 4\r\nContent-Length: 4\r\n\r\n",
		"POST /secret HTTP/1.1\r\n" + ok + "Transfer-Encoding : chunked\r\n\r\n",
		"POST /secret HTTP/1.1\r\n" + ok + "Transfer-Encoding: identity\r\n\r\n",
		"POST / HTTP/1.1\r\n" + ok + "Transfer-Encoding: chunked\r\n\r\n0\n\nGET /secret HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\n" + ok + "\r\nGET /secret HTTP/1.1\r\n" + ok + "\r\n",
		"GET /secret HTTP/1.1\r\n" + ok + "X: a\rb\r\n\r\n",
		"GET /secret HTTP/1.1\r\n" + ok + " folded\r\n\r\n",
		"EHLO /secret\r\n\r\n",
	} {
		proxy := rig.dial()
		fmt.Fprint(proxy, request)
		if b, whole := readAll(t, proxy); whole {
			t.Errorf("%q ended in order with %q", request, b)
		}
	}
}

// A refusal of the Host says which flag helps.
func TestHostHint(t *testing.T) {
	for answer, tool := range map[string]string{
		"Blocked request. This host (\"x\") is not allowed.\nTo allow this host, add \"x\" to `server.allowedHosts` in vite.config.js.": "Vite refuses",
		"Blocked request. This host (\"x\") is not allowed.\nadd it to allowedHosts in angular.json":                                    "Angular",
		"Invalid Host header": "webpack-dev-server",
		"<style>" + strings.Repeat("x", 8000) + "</style><h1>Blocked hosts: x</h1>": "Rails",
	} {
		service := scripted(t, func(c *net.TCPConn, r *bufio.Reader) {
			for readHead(r) != "" {
				fmt.Fprintf(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
			}
		})
		rig := newRig(t, service, nil)
		for range 2 {
			if _, body := rig.do("GET", ""); body != answer {
				t.Errorf("%q", body)
			}
		}
		seen := rig.seen.wait(t, 2)
		if hint := seen[0].Hint; !strings.Contains(hint, tool) || !strings.Contains(hint, "--host-header") {
			t.Errorf("%q: the hint is %q", answer, hint)
		}
		if seen[1].Hint != "" {
			t.Error("the hint came twice")
		}
	}
}
