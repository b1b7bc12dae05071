package e2e

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A bytesRig is a server, a service behind a tunnel with http=bytes, and an
// outside client.
type bytesRig struct {
	s      *server
	c      *bytesTunnel
	client *http.Client
}

// newBytesRig makes one whose service is a handler.
func newBytesRig(t *testing.T, service http.Handler, env ...string) *bytesRig {
	t.Helper()
	return newBytesRigTo(t, bytesService(t, service), "", env...)
}

// newBytesRigTo makes one whose service is at an address. query is what else the
// tunnel's URL says.
func newBytesRigTo(t *testing.T, service, query string, env ...string) *bytesRig {
	t.Helper()
	s := tunnelServer(t, env...)
	r := &bytesRig{s: s, client: tunnelHTTP(t)}
	if query == "" {
		r.c = bytesOpen(t, s, service)
	} else {
		r.c = bytesOpen(t, s, service, query)
	}
	return r
}

// newPlainBytesRig makes one with the server as it is released, whose memory and
// pace are those that count.
func newPlainBytesRig(t *testing.T, service http.Handler, env ...string) *bytesRig {
	t.Helper()
	addr := bytesService(t, service)
	path, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	s := launchBinary(t, path, append([]string{
		"TUNNEL_DOMAIN=" + tunnelDomain, "TUNNEL_BIND=127.0.0.1", "MAX_CONNS_PER_IP=0",
	}, env...)...)
	s.addr, _ = s.waitLog(t, `"msg":"listening"`)["address"].(string)
	return &bytesRig{s: s, c: bytesOpen(t, s, addr, "raw=off"), client: tunnelHTTP(t)}
}

// bytesService starts an HTTP server and returns its address. It ends with the test.
func bytesService(t *testing.T, handler http.Handler) string {
	t.Helper()
	service := httptest.NewUnstartedServer(handler)
	service.Config.ErrorLog = log.New(io.Discard, "", 0)
	service.Start()
	t.Cleanup(func() {
		service.CloseClientConnections()
		service.Close()
	})
	return service.Listener.Addr().String()
}

// bytesEcho is a service that answers with the request's body while it comes.
func bytesEcho() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex()
		w.Header().Set("Content-Type", "application/octet-stream")
		for block := make([]byte, 32<<10); ; {
			n, err := r.Body.Read(block)
			if n > 0 {
				if _, err := w.Write(block[:n]); err != nil {
					return
				}
				_ = control.Flush()
			}
			if err != nil {
				return
			}
		}
	})
}

// request makes a request to the tunnel, which ends with the test.
func (r *bytesRig) request(method, path string, body io.Reader) *http.Request {
	request, err := http.NewRequestWithContext(r.c.t.(*testing.T).Context(), method, r.s.url(path), body)
	if err != nil {
		panic(err)
	}
	request.Host = r.c.host
	return request
}

// do sends a request to the tunnel; the answer's body is to be read yet.
func (r *bytesRig) do(method, path string, body io.Reader) (*http.Response, error) {
	return r.client.Do(r.request(method, path, body))
}

// must is do for an answer that has to come.
func (r *bytesRig) must(t *testing.T, request *http.Request) *http.Response {
	t.Helper()
	response, err := r.client.Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v", request.Method, request.URL.Path, err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

// get gets a path whole.
func (r *bytesRig) get(t *testing.T, path string, lines ...string) tunnelReply {
	t.Helper()
	return r.ask(t, "GET", path, nil, lines...)
}

// ask sends a request with header lines and returns the whole answer.
func (r *bytesRig) ask(t *testing.T, method, path string, body io.Reader, lines ...string) tunnelReply {
	t.Helper()
	reply, err := tunnelAsk(r.client, r.s, method, r.c.host, path, headerOf(lines...), body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return reply
}

// wire is a connection to the server on which the test writes what it wants.
func (r *bytesRig) wire(t *testing.T) *tunnelWire {
	t.Helper()
	return tunnelWireTo(t, r.s)
}

// dialContext leads every address to the server.
func (r *bytesRig) dialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", r.s.addr)
}

// rawService is a target for one request after another, of which it gets all
// bytes up to the empty line, and after which it does what it wants.
func rawService(t *testing.T, serve func(conn *net.TCPConn, head string)) string {
	t.Helper()
	return target(t, func(conn *net.TCPConn) {
		_ = conn.SetDeadline(time.Now().Add(2 * patience))
		head := make([]byte, 0, 4096)
		for one := make([]byte, 1); !strings.HasSuffix(string(head), "\r\n\r\n"); {
			if _, err := conn.Read(one); err != nil {
				return
			}
			head = append(head, one[0])
		}
		serve(conn, string(head))
	}).String()
}

// saysAndEnds is a service that answers each request with some bytes, and ends the
// connection: in an orderly way, or by a reset.
func saysAndEnds(t *testing.T, answer string, reset bool) string {
	t.Helper()
	return rawService(t, func(conn *net.TCPConn, _ string) {
		_, _ = io.WriteString(conn, answer)
		if !reset {
			conn.CloseWrite()
			_, _ = io.Copy(io.Discard, conn)
			return
		}
		_ = conn.SetLinger(0) // its peer has the few bytes by now, and reads them before the reset
	})
}

// stalledService reads nothing of a body, and sends without end what is asked for.
func stalledService(t *testing.T) string {
	return target(t, func(conn *net.TCPConn) {
		_ = conn.SetReadBuffer(4 << 10)
		first := make([]byte, 3)
		_, _ = io.ReadFull(conn, first)
		if string(first) == "GET" {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
			_, _ = io.Copy(conn, tunnelNoise(1))
			return
		}
		<-t.Context().Done()
	}).String()
}
