package outside

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// newAnswers is a server that refuses everything, and says when it has done so.
func newAnswers(t *testing.T, base context.Context) (server *httptest.Server, done <-chan time.Duration) {
	t.Helper()
	ends := make(chan time.Duration, 10)
	server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		Answer(w, r, http.StatusRequestEntityTooLarge, "It is too large.")
		ends <- time.Since(begun)
	}))
	server.Config.BaseContext = func(net.Listener) context.Context { return WithEnding(context.Background(), base) }
	server.Start()
	t.Cleanup(server.Close)
	return server, ends
}

func connect(t *testing.T, server *httptest.Server) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp4", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * testkit.Patience))
	return conn.(*net.TCPConn)
}

func wantRefusal(t *testing.T, in *bufio.Reader) *http.Response {
	t.Helper()
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != 413 || string(body) != "It is too large.\n" || answer.Header.Get("Cache-Control") != "no-store" ||
		answer.Header.Get("Content-Type") != "text/plain; charset=utf-8" || answer.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("the answer is %d %v %q, %v", answer.StatusCode, answer.Header, body, err)
	}
	return answer
}

// A request whose body has come, or which has none, leaves its connection as it
// is.
func TestAnswerKeepsTheConnection(t *testing.T) {
	server, _ := newAnswers(t, t.Context())
	conn := connect(t, server)
	in := bufio.NewReader(conn)
	for range 2 {
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if wantRefusal(t, in).Close {
			t.Error("the connection ends")
		}
	}
}

// A client that writes everything first gets the answer, and an end that is no
// reset.
func TestAnswerToAClientThatWritesFirst(t *testing.T) {
	const size = 12 << 20 // more than the kernels hold
	for _, header := range []string{"Content-Length: 12582912", "Transfer-Encoding: chunked"} {
		server, done := newAnswers(t, t.Context())
		conn := connect(t, server)
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\n"+header+"\r\n\r\n")
		if strings.HasPrefix(header, "T") {
			_, _ = io.WriteString(conn, "c00000\r\n")
		}
		if _, err := conn.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(header, "T") {
			_, _ = io.WriteString(conn, "\r\n0\r\n\r\n")
		}
		testkit.Receive(t, done)
		in := bufio.NewReader(conn)
		if !wantRefusal(t, in).Close {
			t.Error("the connection is not said to end")
		}
		if n, err := in.ReadByte(); err != io.EOF {
			t.Errorf("behind the answer comes %q, %v", n, err)
		}
	}
}

// A client that waits before it sends its body has the whole answer at once.
func TestAnswerComesAtOnce(t *testing.T) {
	for _, expects := range []string{"", "Expect: 100-continue\r\n"} {
		server, done := newAnswers(t, t.Context())
		conn := connect(t, server)
		begun := time.Now()
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n"+expects+"\r\n")
		wantRefusal(t, bufio.NewReader(conn))
		if took := time.Since(begun); took > messages.Linger/2 {
			t.Errorf("%q: the answer takes %s", expects, took)
		}
		conn.Close()
		if took := testkit.Receive(t, done); took > messages.Linger/2 {
			t.Errorf("%q: a client that has gone is waited for: %s", expects, took)
		}
	}
}

// One that never sends the rest is waited for, but not for ever.
func TestAnswerToAClientThatSendsNoMore(t *testing.T) {
	server, done := newAnswers(t, t.Context())
	conn := connect(t, server)
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
	wantRefusal(t, bufio.NewReader(conn))
	if took := testkit.Receive(t, done); took < messages.Linger-time.Second || took > messages.Linger+5*time.Second {
		t.Errorf("it is waited for %s", took)
	}
	if n, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("then comes %d, %v", n, err)
	}
}

// Nor when the server shuts down.
func TestShutdownEndsTheDiscarding(t *testing.T) {
	base, shutdown := context.WithCancel(t.Context())
	server, done := newAnswers(t, base)
	conn := connect(t, server)
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
	wantRefusal(t, bufio.NewReader(conn))
	shutdown()
	if took := testkit.Receive(t, done); took > messages.Linger/2 {
		t.Errorf("it takes %s", took)
	}
}

// deadlined is a ResponseWriter that knows its deadline.
type deadlined struct {
	http.ResponseWriter
	deadline time.Time
}

func (d *deadlined) SetWriteDeadline(t time.Time) error {
	d.deadline = t
	return nil
}

// A client that never takes an answer of the proxy's own is not waited for for
// ever.
func TestOwnAnswersHaveAnEnd(t *testing.T) {
	w := &deadlined{ResponseWriter: httptest.NewRecorder()}
	begun := time.Now()
	Answer(w, httptest.NewRequest("GET", "/", nil), http.StatusNotFound, "no")
	if within := w.deadline.Sub(begun); within < 29*time.Second || within > 31*time.Second {
		t.Errorf("it has %v", within)
	}
}
