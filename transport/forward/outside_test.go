package forward

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"wsproxy/messages"
	"wsproxy/transport/budget"
	"wsproxy/transport/outside"
)

// A headerListener makes connections of which requests know.
type headerListener struct{ net.Listener }

func (l headerListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := new(outside.Conn)
	c.Init(conn.(*net.TCPConn))
	return c, nil
}

func headerContext(ctx context.Context, c net.Conn) context.Context {
	return outside.WithConn(ctx, c.(*outside.Conn))
}

// On the wire a 304 has what a 200 would say of its body, in canonical case,
// however long its header is. What comes after it on the connection is as ever.
func TestNotModifiedOnTheWire(t *testing.T) {
	for _, policy := range []int{1, 3900, 4000, 4050, 4096, 5000, 20_000} {
		status := make(chan int, 2)
		status <- 304
		status <- 200
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			x := &exchange{gateway: newGateway(false), w: w, r: r}
			headers := list("content-length", "7", "content-type", "text/x-a; content-type=b", "content-security-policy", strings.Repeat("p", policy),
				"x-lower-case", "a\tcontent-length: 5", "zz", "b")
			body := []byte("content")
			answer := &messages.Response{Status: <-status, Headers: headers, Body: body}
			if err := x.respond(answer, reserve(budget.New(1<<20), 7), messagesOnly{}); err != nil {
				t.Error(err)
			}
		}))
		server.Listener = headerListener{server.Listener}
		server.Config.ConnContext = headerContext
		server.Start()
		conn, err := net.Dial("tcp4", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		const request = "GET / HTTP/1.1\r\nHost: a\r\n"
		_, _ = io.WriteString(conn, request+"\r\n"+request+"Connection: close\r\n\r\n")
		all, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		server.Close()
		first, second, _ := strings.Cut(string(all), "\r\n\r\n")
		if !strings.HasPrefix(first, "HTTP/1.1 304 ") || !strings.HasPrefix(second, "HTTP/1.1 200 ") || !strings.HasSuffix(second, "\r\n\r\ncontent") {
			t.Fatalf("%d: on the wire is %.60q and %.60q", policy, first, second)
		}
		for _, header := range []string{first, second} {
			for _, line := range []string{"Content-Length: 7", "Content-Type: text/x-a; content-type=b", "X-Lower-Case: a\tcontent-length: 5", "Zz: b",
				"Content-Security-Policy: " + strings.Repeat("p", policy)} {
				if strings.Count(header, "\r\n"+line) != 1 {
					t.Errorf("%d: %.40q is not in %.40q", policy, line, header)
				}
			}
		}
	}
}
