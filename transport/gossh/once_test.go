package gossh

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/tunnelrig"
	"wsproxy/messages"
	"wsproxy/transport/service"
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
			over := func() { testkit.Hears[*messages.RequestEnded](r.Handler) }
			const answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

			first := r.asks(front, "POST", nil) // behind the body of a GET none is kept
			r.opensRequest()
			s := takes()
			s.Gives(answer)
			over()
			testkit.Receive(t, first)

			second := r.asks(front, tt.method, tt.header)
			r.opensRequest()
			r.readsRequest()
			s.EndWrite() // the service has read it, and ends
			if tt.status == 200 {
				takes().Gives(answer)
			}
			over() // and no Accepted
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
	c.Begin(1, true)
	first := make(chan struct{})
	go func() {
		defer close(first)
		_, _ = c.Write([]byte(request))
	}()
	for whole := ""; len(whole) < len(request); {
		part := string(r.Reads().Data)
		if len(whole) < 3*probePiece && len(part) != probePiece {
			t.Errorf("behind %q comes %q", whole, part)
		}
		if whole += part; !strings.HasPrefix(request, whole) {
			t.Fatalf("the client reads %q", whole)
		}
	}
	testkit.Receive(t, first)
	c.End(service.OutcomeKept)

	c.Begin(1, true)
	type result struct {
		n   int
		err error
	}
	wrote := make(chan result, 1)
	go func() {
		n, err := c.Write([]byte(request))
		wrote <- result{n, err}
	}()
	r.Reads()
	s.EndWrite() // the client's tcp_close
	if got := testkit.Receive(t, wrote); got.n != 0 || !errors.Is(got.err, service.ErrUnsent) {
		t.Errorf("the write is %d, %v", got.n, got.err)
	}
	c.End(service.OutcomeBroken)
	c.Close(messages.CloseEOF)
}

// Whoever writes to a client that takes nothing is told at once when the
// connection is closed.
func TestConnIsClosedWhileItIsWrittenTo(t *testing.T) {
	r := newRig(t)
	c, s := r.dials()
	c.Begin(0, false)
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(testkit.Pattern(16 << 20))
		wrote <- err
	}()
	r.Reads() // and no more
	c.Close(messages.CloseReset)
	if err := testkit.Receive(t, wrote); !errors.Is(err, messages.ErrStopped) {
		t.Errorf("the write is %v", err)
	}
	c.End(service.OutcomeBroken)
	testkit.Receive(t, s.Done())
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

// opensRequest is the handler's part of a request with a body.
func (r *rig) opensRequest() {
	r.T.Helper()
	m := testkit.Hears[*messages.OpenRequest](r.Handler)
	m.Proceed <- r.Mux
	testkit.Hears[*messages.RequestRead](r.Handler)
	m.Proceed <- r.Mux
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
