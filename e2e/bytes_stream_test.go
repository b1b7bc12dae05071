package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// eventService answers with server-sent events, one for each value of the channel.
func eventService(events <-chan string, gone chan<- struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		control := http.NewResponseController(w)
		_ = control.Flush()
		for {
			select {
			case event := <-events:
				_, _ = fmt.Fprintf(w, "data: %s\n\n", event)
				_ = control.Flush()
			case <-r.Context().Done():
				close(gone)
				return
			}
		}
	})
}

// Each event is outside as soon as the service has written it, however many there
// were, and the service learns that the outside has gone.
func TestBytesEvents(t *testing.T) {
	t.Parallel()
	events, gone := make(chan string), make(chan struct{})
	r := newPlainBytesRig(t, eventService(events, gone))
	response := r.must(t, r.request("GET", "/events", nil)) // the head has come without an event
	if kind := response.Header.Get("Content-Type"); kind != "text/event-stream" || response.ContentLength != -1 {
		t.Errorf("the answer is %q, of %d bytes", kind, response.ContentLength)
	}
	in := bufio.NewReader(response.Body)
	var took []time.Duration
	for i := range 1000 { // none is sent before the last one has come
		began := time.Now()
		events <- fmt.Sprint(i)
		line, err := in.ReadString('\n')
		took = append(took, elapsed(began))
		if blank, _ := in.ReadString('\n'); line != fmt.Sprintf("data: %d\n", i) || blank != "\n" || err != nil {
			t.Fatalf("event %d is %q, %v", i, line, err)
		}
	}
	if took[0] > time.Second {
		t.Errorf("the first event took %v", took[0])
	}
	slices.Sort(took)
	if typical := took[len(took)/2]; typical > 10*time.Millisecond {
		t.Errorf("an event takes %v", typical)
	}
	response.Body.Close()
	if !waitClosed(gone, patience) {
		t.Error("the service doesn't learn that nobody listens any more")
	}
}

// Both directions flow at once: an answer may begin before its request has ended.
func TestBytesBothWaysAtOnce(t *testing.T) {
	t.Parallel()
	r := newBytesRig(t, bytesEcho())
	body, words := io.Pipe()
	go func() { _, _ = words.Write([]byte("word 0\n")) }()
	response := r.must(t, r.request("POST", "/", body))
	in := bufio.NewReader(response.Body)
	for i := range 100 {
		if line, err := in.ReadString('\n'); line != fmt.Sprintf("word %d\n", i) {
			t.Fatalf("%d: %q, %v", i, line, err)
		}
		if _, err := fmt.Fprintf(words, "word %d\n", i+1); err != nil {
			t.Fatal(err)
		}
	}
	words.Close()
	if rest, err := io.ReadAll(in); string(rest) != "word 100\n" || err != nil {
		t.Errorf("the end is %q, %v", rest, err)
	}
}

// Trailers pass both ways, announced or not.
func TestBytesTrailers(t *testing.T) {
	t.Parallel()
	r := newBytesRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Announced")
		_, _ = io.Copy(w, r.Body)
		w.Header().Set("X-Announced", r.Trailer.Get("X-Checksum"))
		w.Header().Set(http.TrailerPrefix+"X-Unannounced", r.Header.Get("Te"))
	}))
	request := r.request("POST", "/", struct{ io.Reader }{strings.NewReader("body")})
	request.Header.Set("TE", "trailers")
	request.Trailer = http.Header{"X-Checksum": {"abc"}}
	response := r.must(t, request)
	body, err := io.ReadAll(response.Body)
	if string(body) != "body" || err != nil {
		t.Errorf("the body is %q, %v", body, err)
	}
	if got := response.Trailer; got.Get("X-Announced") != "abc" || got.Get("X-Unannounced") != "trailers" {
		t.Errorf("the trailers are %v", got)
	}
}

// No trailer that frames, routes or authenticates passes, nor one that is dropped
// as a header.
func TestBytesForbiddenTrailers(t *testing.T) {
	t.Parallel()
	forbidden := []string{
		"Content-Length: 3", "Transfer-Encoding: chunked", "Host: evil", "Authorization: a", "Cookie: a=b", "Set-Cookie: a=b",
		"Connection: close", "Keep-Alive: timeout=1", "Content-Encoding: gzip", "Content-Range: bytes 0-1/2", "X-Forwarded-For: 6.6.6.6",
		"Strict-Transport-Security: max-age=1", "X-Accel-Redirect: /x", "Proxy-Authorization: a", "TE: trailers", "Trailer: X",
	}
	lines := strings.Join(forbidden, "\r\n") + "\r\n"
	got := make(chan strictRequest, 1)
	service := strictService(t, got, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"+lines+"X-Good: yes\r\n\r\n")
	r := newBytesRigTo(t, service, "")
	wire := r.wire(t)
	wire.say(t, "POST / HTTP/1.1", "Host: "+r.c.host, "Transfer-Encoding: chunked", "", "3", "abc", "0", lines+"X-Good: yes")
	response, err := http.ReadResponse(wire.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if string(body) != "abc" || err != nil || response.StatusCode != 200 {
		t.Errorf("%d, %q, %v", response.StatusCode, body, err)
	}
	if len(response.Trailer) != 1 || response.Trailer.Get("X-Good") != "yes" {
		t.Errorf("outside come the trailers %v", response.Trailer)
	}
	request := <-got
	if request.err != nil || request.body != "abc" || len(request.trailers) != 1 || request.trailers[0] != "X-Good: yes" {
		t.Errorf("the service gets the trailers %q, body %q, %v", request.trailers, request.body, request.err)
	}
}

// 103 comes outside before the service goes on, without headers that no answer may
// have.
func TestBytesEarlyHints(t *testing.T) {
	t.Parallel()
	seen := make(chan struct{})
	service := rawService(t, func(conn *net.TCPConn, _ string) {
		_, _ = io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nSet-Cookie: a=b\r\nX-Accel-Redirect: /x\r\n\r\n")
		select {
		case <-seen:
		case <-t.Context().Done():
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\nLink: </b.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		_, _ = io.Copy(io.Discard, conn)
	})
	r := newBytesRigTo(t, service, "")
	request := r.request("GET", "/", nil)
	var hints []textproto.MIMEHeader
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		if code != 103 {
			t.Errorf("an interim answer is %d", code)
		}
		if hints = append(hints, header); len(hints) == 1 {
			close(seen)
		}
		return nil
	}}
	response := r.must(t, request.WithContext(httptrace.WithClientTrace(request.Context(), trace)))
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != 200 || string(body) != "ok" || response.Header.Get("Link") != "" {
		t.Errorf("the answer is %d, %q, %v", response.StatusCode, body, response.Header)
	}
	if len(hints) != 2 || len(hints[0]) != 1 || hints[0].Get("Link") != "</a.css>; rel=preload" || hints[1].Get("Link") != "</b.css>; rel=preload" {
		t.Errorf("the hints are %v", hints)
	}
}

// continueService reads the head of a request, looks whether something of its body
// comes within a time without its 100, then says what it says and reads the body.
func continueService(t *testing.T, wait time.Duration, says string, early chan<- bool) string {
	t.Helper()
	return rawService(t, func(conn *net.TCPConn, head string) {
		if !strings.Contains(head, "\r\nExpect: 100-continue\r\n") {
			t.Errorf("the service isn't asked: %q", head)
		}
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		body := make([]byte, 4)
		n, _ := io.ReadFull(conn, body)
		early <- n > 0
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(conn, says)
		if strings.Contains(says, " 417 ") {
			return
		}
		_, _ = io.ReadFull(conn, body[n:])
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\n%s", body)
	})
}

// The body waits for the service's 100, also if the outside has sent it at once.
func TestBytesContinue(t *testing.T) {
	t.Parallel()
	early := make(chan bool, 2)
	r := newBytesRigTo(t, continueService(t, 200*time.Millisecond, "HTTP/1.1 100 Continue\r\n\r\n", early), "")
	wire := r.wire(t)
	wire.say(t, "POST / HTTP/1.1", "Host: "+r.c.host, "Content-Length: 4", "Expect: 100-continue", "", "body")
	reply := wire.hear(t, "POST")
	if reply.status == 100 {
		reply = wire.hear(t, "POST")
	}
	if reply.status != 200 || reply.body != "body" || <-early {
		t.Errorf("the body went before the service's 100, or the answer is %d %q", reply.status, reply.body)
	}
	if reply := r.ask(t, "PUT", "/", strings.NewReader("body"), "Expect: 100-continue"); reply.status != 200 || reply.body != "body" || <-early {
		t.Errorf("one that waits gets %d %q", reply.status, reply.body)
	}
}

// A service that says no at once gets no body, and who asked hears it.
func TestBytesContinueRefused(t *testing.T) {
	t.Parallel()
	early := make(chan bool, 1)
	r := newBytesRigTo(t, continueService(t, time.Millisecond, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", early), "")
	wire := r.wire(t)
	wire.say(t, "POST / HTTP/1.1", "Host: "+r.c.host, "Content-Length: 4", "Expect: 100-continue")
	if reply := wire.hear(t, "POST"); reply.status != 417 || reply.body != "no" || <-early {
		t.Errorf("the answer is %d %q", reply.status, reply.body)
	}
}

// The body of a request to a service that knows nothing of 100 goes after a second.
func TestBytesContinueNever(t *testing.T) {
	t.Parallel()
	early := make(chan bool, 1)
	r := newBytesRigTo(t, continueService(t, patience, "", early), "")
	began := time.Now()
	reply := r.ask(t, "POST", "/", strings.NewReader("body"), "Expect: 100-continue")
	if took := time.Since(began); reply.status != 200 || reply.body != "body" || took < 900*time.Millisecond || took > patience/2 {
		t.Errorf("after %v the answer is %d %q", took, reply.status, reply.body)
	}
}

// Interim answers that come when the proxy's own 100 is due are whole, as that is.
func TestBytesContinueBesideHints(t *testing.T) {
	t.Parallel()
	service := rawService(t, func(conn *net.TCPConn, _ string) {
		<-time.After(950 * time.Millisecond)
		for range 14 {
			_, _ = io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
			<-time.After(7 * time.Millisecond)
		}
		_, _ = io.ReadFull(conn, make([]byte, 4))
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
	})
	r := newBytesRigTo(t, service, "")
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if reply := r.ask(t, "POST", "/", strings.NewReader("body"), "Expect: 100-continue"); reply.status != 200 || reply.body != "ok" {
				t.Errorf("the answer is %d %q", reply.status, reply.body)
			}
		})
	}
	all.Wait()
}
