package gossh

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/forward"
	"wsproxy/transport/tunnel"
)

var (
	_ tunnel.Dialect  = (*Dialect)(nil)
	_ forward.Dialect = (*Dialect)(nil)
)

func TestRequestsThatGoAsBytes(t *testing.T) {
	request := func(method, target string, headers ...string) *http.Request {
		r := httptest.NewRequest(method, target, nil)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Add(headers[i], headers[i+1])
		}
		return r
	}
	q := &requests{large: map[string]struct{}{"GET /large": {}}}
	for _, c := range []struct {
		what  string
		r     *http.Request
		body  string
		bytes bool
	}{
		{"a plain request", request("GET", "/"), "", false},
		{"a text", request("POST", "/"), "gr\u00fc\u00dfe", false},
		{"a body that is no text", request("POST", "/"), "\xff", true},
		{"a long text", request("POST", "/"), strings.Repeat("a", maxMessage), true},
		{"an upgrade", request("GET", "/", "Connection", "keep-alive, Upgrade", "Upgrade", "websocket"), "", true},
		{"Upgrade without Connection", request("GET", "/", "Upgrade", "websocket"), "", false},
		{"events", request("GET", "/", "Accept", "text/event-stream"), "", true},
		{"what was too large", request("GET", "/large?again"), "", true},
		{"another method", request("POST", "/large"), "", false},
		{"another path", request("GET", "/larger"), "", false},
	} {
		if got := q.AsBytes(c.r, []byte(c.body)); got != c.bytes {
			t.Errorf("%s: as bytes %t", c.what, got)
		}
		if q.credentials = true; !q.AsBytes(c.r, []byte(c.body)) {
			t.Errorf("%s: with credentials it is sent as a message", c.what)
		}
		q.credentials = false
	}
}

func TestRequestsThatGoInline(t *testing.T) {
	q := &requests{large: map[string]struct{}{}}
	if !q.TakesInline(maxMessage) || q.TakesInline(maxMessage+1) {
		t.Error("not what the client reads as one message")
	}
	if q.credentials = true; q.TakesInline(10) {
		t.Error("cookies of an answer would be lost")
	}
	q.credentials = false
	if !q.AskAgain(httptest.NewRequest("GET", "/a", nil), nil) || q.TakesInline(10) {
		t.Error("what was too large once is sent without being looked at")
	}
}

func TestAnswersThatAreAskedForAgain(t *testing.T) {
	cut := strings.Repeat("a", maxAnswer)
	for _, c := range []struct {
		what         string
		answer       *messages.Response
		again, large bool
	}{
		{"too long for a message", nil, true, true},
		{"longer than what it reads", &messages.Response{Headers: []messages.Field{{Name: "content-length", Value: "10485761"}}}, true, true},
		{"cut off", &messages.Response{Body: []byte(cut)}, true, true},
		{"cut off, in base64", &messages.Response{Body: []byte(base64.StdEncoding.EncodeToString([]byte(cut))), BodyEncoding: "base64"}, true, true},
		{"not UTF-8", &messages.Response{Body: []byte("gr\uFFFD\uFFFDe")}, true, false},
		{"the same bytes in base64", &messages.Response{Body: []byte("gr\uFFFD\uFFFDe"), BodyEncoding: "base64"}, false, false},
		{"damaged by the service", &messages.Response{Body: []byte(cut[1:])}, false, false},
	} {
		q := &requests{large: map[string]struct{}{}}
		r := httptest.NewRequest("GET", "/a?b", nil)
		if again := q.AskAgain(r, c.answer); again != c.again {
			t.Errorf("%s: again %t", c.what, again)
		}
		if large := q.AsBytes(r, nil); large != c.large {
			t.Errorf("%s: as bytes at once the next time: %t", c.what, large)
		}
	}
	q := &requests{large: map[string]struct{}{}}
	for i := range 10 * largeRemembered {
		q.AskAgain(httptest.NewRequest("GET", fmt.Sprint("/", i), nil), nil)
	}
	if len(q.large) > largeRemembered {
		t.Errorf("%d paths are remembered", len(q.large))
	}
}

func TestBodiesThatAreDoubted(t *testing.T) {
	q := &requests{}
	if !q.Doubts(nil, true) {
		t.Error("chunks that are none")
	}
	if q.Doubts(make([]byte, maxAnswer-1), false) || !q.Doubts(make([]byte, maxAnswer), false) {
		t.Error("a body that was cut off is as long as what the client reads")
	}
}

// eventService sends events for ever, or so many, and ends when it reads what
// is no request, as Node does, or with its answer.
func eventService(t testing.TB, events int) (address string, ended <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	ends := make(chan struct{}, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { conn.Close(); ends <- struct{}{} }()
				in := bufio.NewReader(conn)
				if _, err := http.ReadRequest(in); err != nil {
					return
				}
				garbage := make(chan struct{})
				go func() {
					defer close(garbage)
					_, _ = http.ReadRequest(in) // fails
				}()
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
				tick := time.NewTicker(5 * time.Millisecond)
				defer tick.Stop()
				for i := 0; ; i++ {
					if events > 0 && i == events {
						<-garbage // which it reads when it has answered
						return
					}
					_, _ = io.WriteString(conn, "7\r\ndata: \n\r\n")
					if events > 0 {
						<-tick.C
						continue
					}
					select {
					case <-garbage:
						return
					case <-tick.C:
					}
				}
			}()
		}
	}()
	return l.Addr().String(), ends
}

// An event stream that its visitor gives up ends at the service, at once or when
// that has said what it had to say, and its slot is free.
func TestEventStreamIsGivenUp(t *testing.T) {
	for _, events := range []int{0, 100} {
		h := newHouse(t)
		service, ended := eventService(t, events)
		d := newDouble(t, h, service)
		for range 3 {
			answer, err := d.ask(h, "GET", http.Header{"Accept": {"text/event-stream"}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(answer.Body, make([]byte, 30)); err != nil {
				t.Error(err)
			}
			answer.Body.Close()
			testkit.Receive(t, ended)
			d.wantFreeSlots()
		}
	}
}

// A request that is given up before it was answered frees its slot when it is.
// Before that nothing is sent after it: the service might take it for a sign of
// life.
func TestRequestIsGivenUpBeforeItsAnswer(t *testing.T) {
	h := newHouse(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked, wrong, answer := make(chan string, 1), make(chan error, 1), make(chan struct{})
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		in := bufio.NewReader(conn)
		r, err := http.ReadRequest(in)
		if err != nil {
			asked <- err.Error()
			return
		}
		body, _ := io.ReadAll(r.Body)
		asked <- string(body)
		<-answer
		_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if early, err := in.Peek(1); !testkit.IsTimeout(err) {
			wrong <- fmt.Errorf("%q comes, %w", early, err)
			return
		}
		_ = conn.SetReadDeadline(time.Time{})
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		_, err = http.ReadRequest(in)
		wrong <- err
	}()
	d := newDouble(t, h, l.Addr().String())
	conn, err := net.Dial("tcp4", h.Address)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: "+d.host+"\r\nContent-Length: 3\r\n\r\n\xff\xfe\xfd")
	if body := testkit.Receive(t, asked); body != "\xff\xfe\xfd" {
		t.Errorf("the service is asked %q", body)
	}
	conn.Close()
	close(answer)
	if err := testkit.Receive(t, wrong); err == nil || !strings.Contains(err.Error(), "malformed") {
		t.Errorf("the service reads after it: %v", err)
	}
	d.wantFreeSlots()
}

// postService counts its requests, and closes each connection after so many, 0
// for never, without a word.
func postService(t testing.TB, each int) (address string, count *atomic.Int64) {
	t.Helper()
	count = new(atomic.Int64)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for i := 0; each == 0 || i < each; i++ {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					if body, err := io.ReadAll(r.Body); err == nil && r.Method == "POST" {
						count.Add(1)
						_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
					} else {
						_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String(), count
}

// A request is sent once, though services close connections that are kept.
func TestPostIsSentOnce(t *testing.T) {
	for _, each := range []int{0, 1, 3} {
		h := newHouse(t)
		service, count := postService(t, each)
		d := newDouble(t, h, service)
		const posts = 6
		for i := range posts {
			body := fmt.Sprint("\xff", i)
			answer, err := d.ask(h, "POST", nil, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if err != nil || answer.StatusCode != 200 || string(got) != body {
				t.Errorf("a service that closes after %d: %d, %q, %v", each, answer.StatusCode, got, err)
			}
			pause := time.NewTimer(probeAfter + 10*time.Millisecond) // so that the next one probes
			<-pause.C
		}
		if n := count.Load(); n != posts {
			t.Errorf("a service that closes after %d: %d requests for %d", each, n, posts)
		}
		if _, opened := d.slots(); each == 0 && opened != 1 {
			t.Errorf("%d connections for requests one after another", opened)
		}
		d.wantFreeSlots()
	}
}

// One that the service may have seen is not sent again when the tunnel breaks
// off its connection.
func TestInterruptedRequestIsNotSentAgain(t *testing.T) {
	r := newRig(t)
	front := r.gateway()
	first := r.asks(front, "POST", nil)
	r.opensRequest()
	s := r.Takes()
	r.barrier()
	r.Sends([]byte("\x00\x00\x00\x0c" + s.ID() + "x"))
	testkit.Hears[*messages.Data](r.Handler)
	r.readsRequest()
	s.Gives("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	testkit.Hears[*messages.RequestEnded](r.Handler)
	if status := testkit.Receive(t, first); status != 200 {
		t.Fatalf("the first is answered %d", status)
	}
	r.Mux.Handled(1)

	second := r.asks(front, "POST", nil)
	r.opensRequest()
	r.readsRequest()
	s.Abort(messages.CloseRestart)
	testkit.Hears[*messages.RequestEnded](r.Handler) // and no Accepted
	if status := testkit.Receive(t, second); status != 502 {
		t.Errorf("the second is answered %d", status)
	}
}
