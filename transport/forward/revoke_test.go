package forward

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/tunnelrig"
	"wsproxy/messages"
	"wsproxy/transport/budget"
	"wsproxy/transport/outside"
	"wsproxy/transport/tunnel"
)

// A pipeListener accepts connections that are in this process alone, whose
// deadlines a bubble of synctest knows.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error { close(l.closed); return nil }
func (l *pipeListener) Addr() net.Addr {
	return &net.UnixAddr{Name: "pipe", Net: "unix"}
}

// A body of which nothing comes for 15 s is given up, and one that comes slowly
// has the time that its pieces have.
func TestBodyThatPausesIsGivenUp(t *testing.T) {
	const protocolPause = 15 * time.Second
	for name, c := range map[string]struct {
		timeout, every time.Duration
		took           time.Duration
	}{
		"nothing":         {time.Minute, 0, protocolPause},
		"short time-out":  {5 * time.Second, 0, 5 * time.Second},
		"a byte at times": {time.Minute, protocolPause - time.Second, time.Minute},
		"a long pause":    {time.Hour, protocolPause + time.Second, protocolPause},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				memory := budget.New(4 << 20)
				came := make(chan read, 1)
				server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					g := newGateway(false)
					g.settings.HTTPTimeout = c.timeout
					x := &exchange{gateway: g, w: w, r: r, answer: make(chan messages.Answer, 1)}
					begun := time.Now()
					body, why := x.body(memory)
					came <- read{len(body), why, memory.Held() + x.Held(), time.Since(begun)}
					status, sentence := refusal(why)
					outside.Answer(w, r, status, sentence)
				})}
				listener := &pipeListener{make(chan net.Conn), make(chan struct{})}
				go func() { _ = server.Serve(listener) }()
				inner, outer := net.Pipe()
				listener.conns <- outer
				written := make(chan struct{})
				go func() { // ends with the connection
					defer close(written)
					_, _ = io.WriteString(inner, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
					for c.every > 0 {
						time.Sleep(c.every)
						if _, err := inner.Write([]byte("a")); err != nil {
							return
						}
					}
				}()
				answer, err := http.ReadResponse(bufio.NewReader(inner), nil)
				if err != nil || answer.StatusCode != http.StatusRequestTimeout {
					t.Errorf("the answer is %v, %v", answer, err)
				}
				if got := <-came; got.why != messages.ReasonBodyLate || got.held != 0 || got.took != c.took {
					t.Errorf("%+v, want %v", got, c.took)
				}
				inner.Close()
				<-written
				server.Close()
			})
		})
	}
}

// newCutFront answers requests from outside over connections that can be cut; the
// test is the handler.
func newCutFront(t *testing.T) (*tunnelrig.Rig, *httptest.Server) {
	t.Helper()
	r := tunnelrig.New(t, func(*tunnel.Mux) tunnel.Dialect { return tunnel.Text })
	g := newGateway(false)
	g.settings.Root, g.settings.Limits, g.settings.MaxBody = r.System.Root, r.Tunnel.PID, 64<<20
	g.settings.Handler = func(string, bool) *actor.PID { return r.Handler.PID }
	g.settings.Exists = func(*actor.PID) bool { return true }
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		g.Forward(w, request, "0123456789abcdef")
	}))
	front.Listener, front.Config.ConnContext = headerListener{front.Listener}, headerContext
	front.Start()
	t.Cleanup(front.Close)
	return r, front
}

// An answer that is on its way is cut, and one that is over is not.
func TestRevokedAnswerIsCut(t *testing.T) {
	r, front := newCutFront(t)
	conn := connect(t, front)
	asks := func() *messages.OpenRequest {
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		return testkit.Hears[*messages.OpenRequest](r.Handler)
	}
	in := bufio.NewReader(conn)
	answers := func(open *messages.OpenRequest, n int) {
		r.Mux.Dropped(-n) // charges it, as one that was read is
		open.Answer <- messages.Answer{Response: &messages.Response{Status: 200, Body: []byte(strings.Repeat("a", n))}, Size: n, Mux: r.Mux}
	}

	first := asks()
	if first.Exchange.Held() != 0 {
		t.Errorf("one that waits holds %d bytes", first.Exchange.Held())
	}
	first.Exchange.Revoke() // it waits: its answer says all
	first.Answer <- messages.Answer{Refusal: messages.ReasonGaveWay}
	refused, err := http.ReadResponse(in, nil)
	if err != nil || refused.StatusCode != 503 || refused.Header.Get("Retry-After") == "" {
		t.Fatalf("the answer is %v, %v", refused, err)
	}
	_, _ = io.Copy(io.Discard, refused.Body)

	const small, large = 10, 32 << 20 // more than the kernel holds
	second := asks()
	answers(second, small)
	if answer, err := http.ReadResponse(in, nil); err != nil || answer.StatusCode != 200 {
		t.Fatalf("the answer is %v, %v", answer, err)
	} else if body, err := io.ReadAll(answer.Body); err != nil || len(body) != small {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	testkit.Hears[*messages.Delivered](r.Handler)
	second.Exchange.Revoke() // the connection is the next request's

	third := asks()
	answers(third, large)
	answer, err := http.ReadResponse(in, nil)
	if err != nil || answer.StatusCode != 200 {
		t.Fatalf("the answer is %v, %v", answer, err)
	}
	testkit.Eventually(t, "it has what is left in memory", func() bool { return third.Exchange.Held() > 0 })
	third.Exchange.Revoke()
	testkit.Hears[*messages.Delivered](r.Handler)
	if third.Exchange.Held() != 0 {
		t.Errorf("%d bytes are held at the end", third.Exchange.Held())
	}
	if body, err := io.ReadAll(answer.Body); err == nil || len(body) >= large {
		t.Errorf("the answer looks whole: %d bytes, %v", len(body), err)
	} else if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("it ends with %v, not with a reset", err)
	}
}

// An answer that is revoked before it is begun is not written.
func TestAnswerIsRevokedBeforeItIsWritten(t *testing.T) {
	r, front := newCutFront(t)
	conn := connect(t, front)
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	open := testkit.Hears[*messages.OpenRequest](r.Handler)
	const n = 10
	r.Mux.Dropped(-n) // charges it, as one that was read is
	open.Exchange.Revoke()
	open.Answer <- messages.Answer{Response: &messages.Response{Status: 200, Body: []byte(strings.Repeat("a", n))}, Size: n, Mux: r.Mux}
	testkit.Hears[*messages.Delivered](r.Handler)
	if got, err := io.ReadAll(conn); len(got) > 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%.40q, %v", got, err)
	}
}

// Of a request that was sent nothing is held once its client has it, while it waits
// for its answer.
func TestRequestThatWasSentHoldsNothing(t *testing.T) {
	r, front := newCutFront(t)
	conn := connect(t, front)
	const n = 100 << 10
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", n, strings.Repeat("a", n))
	open := testkit.Hears[*messages.OpenRequest](r.Handler)
	open.Proceed <- r.Mux
	testkit.Hears[*messages.RequestRead](r.Handler)
	if held := open.Exchange.Held(); held < n {
		t.Errorf("with its body in hand it holds %d bytes", held)
	}
	open.Proceed <- r.Mux
	testkit.Eventually(t, "its client has it", func() bool { return r.Mux.Memory().Held() == 0 })
	testkit.Eventually(t, "it holds nothing", func() bool { return open.Exchange.Held() == 0 })
	open.Answer <- messages.Answer{Refusal: messages.ReasonGaveWay}
	if answer, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || answer.StatusCode != 503 {
		t.Errorf("the answer is %v, %v", answer, err)
	}
}

// A body for which requests have left no memory is refused, and its handler hears why.
func TestBodyWithoutMemory(t *testing.T) {
	r, front := newCutFront(t)
	conn := connect(t, front)
	all := 0
	for n := 1 << 30; n > 0; n /= 2 {
		if r.Mux.TakeMemory(n) {
			all += n
		}
	}
	if !r.Mux.Crowded() {
		t.Error("requests hold all, and not most")
	}
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
	open := testkit.Hears[*messages.OpenRequest](r.Handler)
	open.Proceed <- r.Mux
	if c := testkit.Hears[*messages.CancelRequest](r.Handler); !c.Short || c.ID != open.ID {
		t.Errorf("the handler has heard %+v", c)
	}
	open.Answer <- messages.Answer{Refusal: messages.ReasonAbandoned}
	if answer, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || answer.StatusCode != 503 {
		t.Errorf("the answer is %v, %v", answer, err)
	}
	r.Mux.GiveMemory(all)
	if r.Mux.Crowded() {
		t.Error("requests hold nothing, and most")
	}
}

// What is kept of a request that waits is what the tunnel is sent, and its upgrade
// is not forgotten.
func TestWaitingRequestLetsGoOfItsHeader(t *testing.T) {
	r := httptest.NewRequest("POST", "/path?query", strings.NewReader("x"))
	r.Header = http.Header{"X-Long": {strings.Repeat("a", 60<<10)}, "Upgrade": {"h2c"}, "Cookie": {"secret"}}
	rig := tunnelrig.New(t, func(*tunnel.Mux) tunnel.Dialect { return tunnel.Text })
	counted := 0
	r = r.WithContext(outside.WithConn(r.Context(), &outside.Conn{Counted: func() { counted++ }}))
	x := &exchange{gateway: newGateway(false), w: httptest.NewRecorder(), r: r}
	out, refusal := x.prepare(rig.Mux)
	if counted != 1 {
		t.Errorf("the connection has heard of it %d times", counted)
	}
	if refusal != "" || out.message.Path != "/path?query" || len(r.Header) != 1 || r.Header.Get("Upgrade") == "" || r.RequestURI != "" {
		t.Errorf("%q, %v, left are %v, %q", refusal, out.message, r.Header, r.RequestURI)
	}
	if held := rig.Mux.Memory().Held(); held < 60<<10 || held > 128<<10 || held != x.Held() {
		t.Errorf("%d bytes are counted, %d of the exchange", held, x.Held())
	}
	x.dropHeader()
	if held := rig.Mux.Memory().Held() + x.Held(); held != 0 {
		t.Errorf("%d bytes are held at the end", held)
	}
}

// Of one that may go as bytes the header is kept, and counts.
func TestHeaderOfARequestThatMayGoAsBytesIsKept(t *testing.T) {
	rig, _, _ := newFront(t)
	r := httptest.NewRequest("GET", "/path", nil)
	r.Header = http.Header{"X-Long": {strings.Repeat("a", 60<<10)}}
	counted := 0
	r = r.WithContext(outside.WithConn(r.Context(), &outside.Conn{Counted: func() { counted++ }}))
	x := &exchange{gateway: newGateway(false), w: httptest.NewRecorder(), r: r}
	x.keepHeader(rig.Mux)
	if counted != 1 {
		t.Errorf("the connection has heard of it %d times", counted)
	}
	if held := rig.Mux.Memory().Held(); held < 60<<10 || held != x.Held() || r.Header.Get("X-Long") == "" {
		t.Errorf("%d bytes are counted, of %d headers", held, len(r.Header))
	}
	x.dropHeader()
}
