package forward

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/budget"
	"wsproxy/transport/outside"
)

// A read is what came of a request's body.
type read struct {
	n    int
	why  messages.Reason
	held int64
	took time.Duration
}

// newBodies is a server that reads bodies of up to 1 MiB. A word in answer
// means that the tunnel has ended.
func newBodies(t *testing.T, memory *budget.Budget, timeout time.Duration) (server *httptest.Server, came <-chan read, answer chan messages.Answer) {
	t.Helper()
	reads := make(chan read, 10)
	answer = make(chan messages.Answer, 1)
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g := newGateway(false)
		g.settings.HTTPTimeout = timeout
		x := &exchange{gateway: g, w: w, r: r, answer: answer}
		begun := time.Now()
		body, why := x.body(memory)
		came := read{len(body), why, memory.Held(), time.Since(begun)}
		memory.Add(-int64(cap(body)))
		reads <- came
		if why == messages.ReasonAbandoned {
			panic(http.ErrAbortHandler)
		}
		if why == "" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		status, sentence := refusal(why)
		outside.Answer(w, r, status, sentence)
	}))
	t.Cleanup(server.Close)
	return server, reads, answer
}

func TestBodiesThatCome(t *testing.T) {
	memory := budget.New(4 << 20)
	server, came, _ := newBodies(t, memory, testkit.Patience)
	for _, size := range []int{1, bodyStep, bodyPiece - 1, bodyPiece + 1, 1 << 20, 1<<20 + 1} {
		for _, chunked := range []bool{false, true} {
			var body io.Reader = strings.NewReader(strings.Repeat("a", size))
			if chunked {
				body = io.MultiReader(body) // of which no length is known
			}
			answer, err := server.Client().Post(server.URL, "", body)
			got := testkit.Receive(t, came)
			if size > 1<<20 {
				if got.why != messages.ReasonBodyTooBig || got.held != 0 {
					t.Errorf("%d bytes, chunked %t: %+v", size, chunked, got)
				}
			} else if got.why != "" || got.n != size || got.held < int64(size) || got.held > 2*int64(size)+bodyStep {
				t.Errorf("%d bytes, chunked %t: %+v", size, chunked, got)
			}
			if err != nil {
				t.Errorf("%d bytes, chunked %t: %v", size, chunked, err)
				continue
			}
			answer.Body.Close()
		}
	}
	if memory.Held() != 0 {
		t.Errorf("%d bytes are held at the end", memory.Held())
	}
}

// Each 256 KiB have a time of their own, however long all of it takes.
func TestEachPieceOfABodyHasItsTime(t *testing.T) {
	const timeout, pieces = 600 * time.Millisecond, 4
	server, came, _ := newBodies(t, budget.New(4<<20), timeout)
	conn := connect(t, server)
	begun := time.Now()
	_, _ = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", pieces*bodyPiece)
	tick := time.NewTicker(timeout / 2)
	defer tick.Stop()
	for range pieces {
		<-tick.C
		_, _ = conn.Write(make([]byte, bodyPiece))
	}
	if got := testkit.Receive(t, came); got.why != "" || got.n != pieces*bodyPiece || time.Since(begun) < 2*timeout-timeout/4 {
		t.Errorf("%+v", got)
	}

	conn = connect(t, server)
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		drip := time.NewTicker(timeout / 10)
		defer drip.Stop()
		for {
			select {
			case <-drip.C:
				_, _ = conn.Write(make([]byte, 100)) // something comes all the time
			case <-stop:
				return
			}
		}
	}()
	if got := testkit.Receive(t, came); got.why != messages.ReasonBodyLate || got.held != 0 || got.took < timeout {
		t.Errorf("%+v", got)
	}
	if answer, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || answer.StatusCode != http.StatusRequestTimeout {
		t.Errorf("the answer is %v, %v", answer, err)
	}
}

// The end of the tunnel interrupts the reading, at whatever moment it comes.
func TestTunnelEndsWhileABodyComes(t *testing.T) {
	server, came, answer := newBodies(t, budget.New(4<<20), testkit.Patience)
	for i := range 50 {
		conn := connect(t, server)
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 600000\r\n\r\n")
		_, _ = conn.Write(make([]byte, bodyPiece-2*i))
		go func() {
			answer <- messages.Answer{Refusal: messages.ReasonTunnelGone}
			_, _ = conn.Write(make([]byte, 4*i)) // the next piece begins
		}()
		if got := testkit.Receive(t, came); got.why != messages.ReasonTunnelGone || got.held != 0 || got.took > testkit.Patience/2 {
			t.Fatalf("%+v", got)
		}
		if answer, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || answer.StatusCode != http.StatusBadGateway {
			t.Fatalf("the answer is %v, %v", answer, err)
		}
		<-answer
		conn.Close()
	}
}

func TestBodiesThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		memory int64
		sent   string
		half   bool // then the client ends its sending side; else it resets
		why    messages.Reason
		status int // 0: the client hears nothing
	}{
		"no memory":  {100, "Content-Length: 1000\r\n\r\nabc", true, messages.ReasonMemory, 503},
		"bad chunks": {1 << 20, "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", true, messages.ReasonBodyBad, 400},
		"cut short":  {1 << 20, "Content-Length: 1000\r\n\r\nabc", true, messages.ReasonBodyBad, 400},
		"a reset":    {1 << 20, "Content-Length: 1000\r\n\r\nabc", false, messages.ReasonAbandoned, 0},
	} {
		memory := budget.New(c.memory)
		server, came, _ := newBodies(t, memory, testkit.Patience)
		conn := connect(t, server)
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\n"+c.sent)
		if c.half {
			_ = conn.CloseWrite()
		} else {
			testkit.Eventually(t, "it is read", func() bool { return memory.Held() > 0 })
			_ = conn.SetLinger(0)
			conn.Close()
		}
		if got := testkit.Receive(t, came); got.why != c.why || got.held != 0 {
			t.Errorf("%s: %+v", name, got)
		}
		if c.status > 0 {
			if answer, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || answer.StatusCode != c.status {
				t.Errorf("%s: the answer is %v, %v", name, answer, err)
			}
		}
	}
}
