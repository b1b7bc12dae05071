package gossh

import (
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/tunnelrig"
	"wsproxy/messages"
	"wsproxy/transport/forward"
)

// A request that a service has read and not answered is not sent again, whatever
// its headers say, unless asking twice does no harm.
func TestRequestThatWasReadIsNotSentAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		method string
		header http.Header
		status int
	}{
		"POST":                       {"POST", nil, 502},
		"POST with a key of its own": {"POST", http.Header{"Idempotency-Key": {"a"}}, 502},
		"DELETE":                     {"DELETE", http.Header{"X-Idempotency-Key": {"a"}}, 502},
		"GET":                        {"GET", nil, 200},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			front := r.gateway()
			takes := func() *tunnelrig.Stream {
				s := r.Takes()
				r.barrier()
				r.Sends([]byte("\x00\x00\x00\x0c" + s.ID() + "x")) // the client can take bytes
				testkit.Hears[*messages.Data](r.Handler)
				r.Mux.Handled(1)
				r.readsRequest()
				return s
			}
			over := func(word chan<- messages.Answer) {
				testkit.Hears[*messages.CancelRequest](r.Handler)
				word <- messages.Answer{Refusal: messages.ReasonAbandoned}
			}
			const answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

			first := r.asks(front, tt.method, tt.header)
			word := r.opensRequest()
			s := takes()
			s.Gives(answer)
			over(word)
			testkit.Receive(t, first)

			second := r.asks(front, tt.method, tt.header)
			word = r.opensRequest()
			r.readsRequest()
			s.EndWrite() // the service has read it, and ends
			if tt.status == 200 {
				takes().Gives(answer)
			}
			over(word) // and no Accepted
			if status := testkit.Receive(t, second); status != tt.status {
				t.Errorf("the second is answered %d", status)
			}
		})
	}
}

// A request that must not be sent twice is held back until the client would have
// found out that the service is gone; then nothing counts as written.
func TestConnProbesForARequestThatIsSentOnce(t *testing.T) {
	r := newRig(t)
	c, s := r.dials()
	request := "POST /a/path HTTP/1.1\r\n" + strings.Repeat("x", 100)
	u := c.Begin(1, true, nobody)
	go func() { _, _ = io.WriteString(c, request) }()
	for whole := ""; len(whole) < len(request); {
		part := string(r.Reads().Data)
		if len(whole) < 3*probePiece && len(part) != probePiece {
			t.Errorf("behind %q comes %q", whole, part)
		}
		if whole += part; !strings.HasPrefix(request, whole) {
			t.Fatalf("the client reads %q", whole)
		}
	}
	u.End(forward.OutcomeKept)

	u = c.Begin(1, true, nobody)
	type result struct {
		n   int
		err error
	}
	wrote := make(chan result, 1)
	go func() {
		n, err := io.WriteString(c, request)
		wrote <- result{n, err}
	}()
	r.Reads()
	s.EndWrite() // the client's tcp_close
	if got := testkit.Receive(t, wrote); got.n != 0 || got.err == nil {
		t.Errorf("the write is %d, %v", got.n, got.err)
	}
	u.End(forward.OutcomeBroken)
	c.Close()
}

// Whoever writes to a client that takes nothing is told at once when the
// connection is closed, and the request counts as cut.
func TestConnIsClosedWhileItIsWrittenTo(t *testing.T) {
	r := newRig(t)
	c, _ := r.dials()
	u := c.Begin(0, false, nobody).(*use)
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(testkit.Pattern(16 << 20))
		wrote <- err
	}()
	r.Reads() // and no more
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := testkit.Receive(t, wrote); err != nil { // see Write
		t.Errorf("the write fails: %v", err)
	}
	if !u.cut.Load() {
		t.Error("the request is taken to have been written whole")
	}
	if _, err := c.Write([]byte("x")); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	u.End(forward.OutcomeLeft)
	testkit.Eventually(t, "the connection is let go", func() bool {
		return errors.Is(c.UnixConn.SetDeadline(time.Time{}), net.ErrClosed)
	})
}

// asks sends a request of one byte through a gateway. Its status comes.
func (r *rig) asks(front *httptest.Server, method string, header http.Header) <-chan int {
	status := make(chan int, 1)
	go func() {
		request, _ := http.NewRequestWithContext(r.T.Context(), method, front.URL, strings.NewReader("\xff"))
		maps.Copy(request.Header, header)
		answer, err := front.Client().Do(request)
		if err != nil {
			r.T.Error(err)
			status <- 0
			return
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		status <- answer.StatusCode
	}()
	return status
}

// opensRequest is the handler's part of a request with a body. It returns where
// its answer goes.
func (r *rig) opensRequest() chan<- messages.Answer {
	r.T.Helper()
	m := testkit.Hears[*messages.OpenRequest](r.Handler)
	m.Proceed <- r.Mux
	testkit.Hears[*messages.RequestRead](r.Handler)
	m.Proceed <- r.Mux
	return m.Answer
}

// readsRequest has the client read the bytes of such a request to their end.
func (r *rig) readsRequest() {
	r.T.Helper()
	for got := ""; !strings.HasSuffix(got, "\r\n\r\n\xff"); {
		if m := r.Reads(); m.Type == "data" {
			got += string(m.Data)
		}
	}
}
