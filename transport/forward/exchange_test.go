package forward

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/tunnelrig"
	"wsproxy/messages"
	"wsproxy/transport/tunnel"
)

// An againDialect takes messages, and asks again for what was too large.
type againDialect struct {
	*bytesDialect
	asked chan *messages.Response
}

func (d *againDialect) AsBytes(*http.Request, []byte) bool { return false }
func (d *againDialect) AskAgain(_ *http.Request, damaged *messages.Response) bool {
	d.asked <- damaged
	return true
}

// newFront answers requests from outside; the test is the handler, and the
// client.
func newFront(t *testing.T) (*tunnelrig.Rig, *againDialect, *httptest.Server) {
	t.Helper()
	d := &againDialect{asked: make(chan *messages.Response, 10)}
	r := tunnelrig.New(t, func(m *tunnel.Mux) tunnel.Dialect {
		d.bytesDialect = newBytesDialect(m, 1)
		return d
	})
	g := newGateway(false)
	g.settings.Root, g.settings.Limits = r.System.Root, r.Tunnel.PID
	g.settings.Handler = func(string, bool) *actor.PID { return r.Handler.PID }
	g.settings.Exists = func(*actor.PID) bool { return true }
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		g.Forward(w, request, "0123456789abcdef")
	}))
	t.Cleanup(front.Close)
	return r, d, front
}

func statusOf(front *httptest.Server, method, body string) <-chan int {
	status := make(chan int, 1)
	go func() {
		request, _ := http.NewRequest(method, front.URL+"/", strings.NewReader(body))
		answer, err := front.Client().Do(request)
		if err != nil {
			status <- 0
			return
		}
		answer.Body.Close()
		status <- answer.StatusCode
	}()
	return status
}

// An answer that was too long for a message is asked for again, as bytes, if
// that does no harm. One for which there was no memory is not.
func TestAnswersThatAreAskedForAgain(t *testing.T) {
	for _, c := range []struct {
		method, body string
		why          messages.Reason
		again        bool
		status       int
	}{
		{"GET", "", messages.ReasonAnswerTooBig, true, 200},
		{"DELETE", "", messages.ReasonAnswerTooBig, false, 502},
		{"POST", "a", messages.ReasonAnswerTooBig, false, 502},
		{"GET", "", messages.ReasonMemory, false, 503},
		{"GET", "", messages.ReasonAnswerLate, false, 504},
	} {
		r, d, front := newFront(t)
		status := statusOf(front, c.method, c.body)
		first := testkit.Hears[*messages.OpenRequest](r.Handler)
		if c.body == "" && first.Frame == nil {
			t.Errorf("%s: the message does not come at once", c.method)
		}
		if c.body != "" {
			first.Proceed <- r.Mux
			testkit.Hears[*messages.RequestRead](r.Handler)
			first.Proceed <- r.Mux
			if m := r.Reads(); m.Type != "http_request" || m.ID != first.ID || m.Body != c.body {
				t.Errorf("%s: the client is sent %+v", c.method, m)
			}
		}
		first.Answer <- messages.Answer{Refusal: c.why, Mux: r.Mux}
		if c.again {
			second := testkit.Hears[*messages.OpenRequest](r.Handler)
			if second.ID == first.ID || second.Frame != nil {
				t.Errorf("%s: the second is %+v", c.method, second)
			}
			second.Proceed <- r.Mux
			s := r.Takes()
			for asked := ""; !strings.HasSuffix(asked, "\r\n\r\n"); {
				asked += string(r.Reads().Data)
			}
			s.Gives("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			testkit.Hears[*messages.RequestEnded](r.Handler)
		}
		if got := testkit.Receive(t, status); got != c.status {
			t.Errorf("%s, %s: %d, want %d", c.method, c.why, got, c.status)
		}
		if asked := len(d.asked) > 0; asked != c.again {
			t.Errorf("%s, %s: the dialect is asked %t", c.method, c.why, asked)
		}
	}
}

func TestRequestsThatGoNowhere(t *testing.T) {
	g := newGateway(false)
	for _, c := range []struct {
		what, subdomain, method string
		length                  int64
		exists                  string
		status                  int
	}{
		{"no subdomain", "nobody", "GET", 0, "messages bytes", 404},
		{"no tunnel", "0123456789abcdef", "GET", 0, "", 404},
		{"CONNECT", "0123456789abcdef", "CONNECT", 0, "messages", 405},
		{"CONNECT as bytes", "0123456789abcdef", "CONNECT", 0, "bytes", 405},
		{"a large body", "0123456789abcdef", "POST", 1<<20 + 1, "messages", 413},
	} {
		g.settings.Handler = func(_ string, bytes bool) *actor.PID {
			return actor.NewPID("a", map[bool]string{false: "messages", true: "bytes"}[bytes])
		}
		g.settings.Exists = func(handler *actor.PID) bool { return strings.Contains(c.exists, handler.Id) }
		r := httptest.NewRequest(c.method, "/", nil)
		r.ContentLength = c.length
		w := httptest.NewRecorder()
		g.Forward(w, r, c.subdomain)
		if w.Code != c.status || c.status == 405 && w.Header().Get("Allow") == "" {
			t.Errorf("%s: %d %v", c.what, w.Code, w.Header())
		}
	}
}
