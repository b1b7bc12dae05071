package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A resumeRig is a tunnel whose session outlives its WebSockets. Its HTTP goes to a
// service, its raw connections to an echo.
type resumeRig struct {
	*bytesRig
	session *resumeClient
}

// newResumeRig makes one on a server, by a way to it.
func newResumeRig(t *testing.T, s *server, via resumeVia, service http.Handler, query string, change ...func(*resumeClient)) *resumeRig {
	t.Helper()
	inner := &tunnelClient{t: t, conns: make(chan *tunnelRawConn, 1024), ended: make(chan struct{}), open: map[string]*tunnelRawConn{}, credit: true}
	b := &bytesTunnel{tunnelClient: inner, service: bytesService(t, service), eof: "eof"}
	inner.script.raw = func(c *tunnelClient, n *tunnelRawConn) {
		if n.protocol != "" {
			b.join(c, n)
			return
		}
		defer n.forget()
		_, _ = io.Copy(struct{ io.Writer }{n}, struct{ io.Reader }{n})
		_ = n.Close()
	}
	ready := make(chan struct{})
	r := &resumeRig{bytesRig: &bytesRig{s: s, c: b, client: tunnelHTTP(t)}}
	session := &resumeClient{}
	start := append([]func(*resumeClient){func(c *resumeClient) {
		session = c
		inner.carry = func(kind int, data []byte) error { return c.send(byte(kind), data) }
		c.take = func(opcode byte, payload []byte) {
			if inner.ready.Type != "" {
				inner.received(opcode, payload)
				return
			}
			m, err := tunnelDecode(payload)
			if err != nil || m.Type != "tunnel_ready" || m.HTTP != "bytes" || m.RawPort == nil {
				t.Errorf("the first message of the tunnel is %.200q, %v", payload, err)
				return
			}
			inner.ready, inner.binary, inner.port = m, opcode == opBinary, *m.RawPort
			inner.url = m.TunnelURL
			inner.host = strings.TrimPrefix(m.TunnelURL, "https://")
			close(ready)
		}
	}}, change...)
	r.session = resumeOpen(t, via, resumeTunnelQuery+query, start...)
	go func() {
		<-session.done
		inner.stop(session.end())
	}()
	t.Cleanup(func() {
		session.finish(net.ErrClosed)
		<-inner.ended
	})
	if !waitClosed(ready, patience) {
		t.Fatalf("no tunnel: %v", r.session.end())
	}
	return r
}

// received takes a message that another than ws has carried.
func (c *tunnelClient) received(opcode byte, payload []byte) {
	if resumeIsJSON(true, opcode, payload) {
		c.control(opcode == opBinary, payload)
	} else {
		c.data(payload)
	}
}

// resumeService is what a web application does: downloads, uploads, events, and
// WebSockets.
func resumeService(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /down/{seed}/{size}", func(w http.ResponseWriter, r *http.Request) {
		var seed uint64
		var size int64
		_, _ = fmt.Sscan(r.PathValue("seed"), &seed)
		_, _ = fmt.Sscan(r.PathValue("size"), &size)
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = io.Copy(struct{ io.Writer }{w}, io.LimitReader(tunnelNoise(seed), size))
	})
	mux.HandleFunc("POST /up", func(w http.ResponseWriter, r *http.Request) {
		sum, n, err := tunnelSum(r.Body)
		_, _ = fmt.Fprintf(w, "%d %x %v", n, sum, err)
	})
	mux.HandleFunc("GET /events/{count}", func(w http.ResponseWriter, r *http.Request) {
		var count int
		_, _ = fmt.Sscan(r.PathValue("count"), &count)
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range count {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			<-time.After(20 * time.Millisecond)
		}
	})
	mux.Handle("/socket", socketService(t, socketEcho))
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello") })
	return mux
}

// Each kind of request, checked byte for byte.
func (r *resumeRig) download(i int, size int64) error {
	response, err := r.do("GET", fmt.Sprintf("/down/%d/%d", i, size), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := sameNoise(response.Body, uint64(i), size); err != nil {
		return fmt.Errorf("status %d, %w", response.StatusCode, err)
	}
	return nil
}

func (r *resumeRig) upload(i int, size int64) error {
	response, err := r.do("POST", "/up", io.LimitReader(tunnelNoise(uint64(i)), size))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	sum, n, _ := tunnelSum(io.LimitReader(tunnelNoise(uint64(i)), size))
	want := fmt.Sprintf("%d %x %v", n, sum, nil)
	if got, err := io.ReadAll(response.Body); string(got) != want {
		return fmt.Errorf("status %d, %.100q, not %q, %w", response.StatusCode, got, want, err)
	}
	return nil
}

func (r *resumeRig) events(count int) error {
	response, err := r.do("GET", fmt.Sprint("/events/", count), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	n := 0
	for lines.Scan() {
		if lines.Text() == "" {
			continue
		}
		if want := fmt.Sprint("data: ", n); lines.Text() != want {
			return fmt.Errorf("an event is %q, not %q", lines.Text(), want)
		}
		n++
	}
	if n != count || lines.Err() != nil {
		return fmt.Errorf("%d events of %d, %w", n, count, lines.Err())
	}
	return nil
}

func (r *resumeRig) chat(i, count int) error {
	dialer := websocket.Dialer{NetDialContext: r.dialContext, HandshakeTimeout: 2 * patience}
	ws, response, err := dialer.Dial("ws://"+r.c.host+"/socket", nil)
	if err != nil {
		return fmt.Errorf("%w (%s)", err, describe(response))
	}
	defer ws.Close()
	_ = ws.SetReadDeadline(time.Now().Add(2 * patience))
	for n := range count {
		text := bytes.Repeat(fmt.Appendf(nil, "%d of %d, ", n, i), 1+n*20)
		if err := ws.WriteMessage(websocket.BinaryMessage, text); err != nil {
			return err
		}
		if _, got, err := ws.ReadMessage(); err != nil || !bytes.Equal(got, text) {
			return fmt.Errorf("message %d comes back as %.50q, %w", n, got, err)
		}
		<-time.After(10 * time.Millisecond)
	}
	return nil
}

func (r *resumeRig) raw(i int, size int64) error {
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", r.c.port), patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	go func() {
		_, _ = io.CopyN(struct{ io.Writer }{conn}, tunnelNoise(uint64(i)), size)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	return sameNoise(conn, uint64(i), size)
}

// all runs fifty raw connections and fifty requests of each kind at once.
func (r *resumeRig) all(t *testing.T, size int64) {
	t.Helper()
	var running sync.WaitGroup
	try := func(what string, i int, run func() error) {
		running.Go(func() {
			if err := run(); err != nil {
				t.Errorf("%s %d: %v", what, i, err)
			}
		})
	}
	for i := range 50 {
		try("raw connection", i, func() error { return r.raw(i, size) })
		switch i % 4 {
		case 0:
			try("download", i, func() error { return r.download(i, size) })
		case 1:
			try("upload", i, func() error { return r.upload(i, size) })
		case 2:
			try("events", i, func() error { return r.events(100) })
		case 3:
			try("WebSocket", i, func() error { return r.chat(i, 60) })
		}
	}
	running.Wait()
}

// resumeTunnelServer is a server whose limits a hundred streams don't reach.
func resumeTunnelServer(t *testing.T, env ...string) *server {
	t.Helper()
	return tunnelServer(t, append([]string{"MAX_TUNNEL_HTTP=400", "MAX_TUNNEL_HTTP_PER_IP=200", "MAX_TUNNEL_TCP_PER_IP=0"}, env...)...)
}

// Fifty raw connections and fifty HTTP requests are under way while the WebSocket is
// cut: each gets its bytes, and the tunnel stays where it is.
func TestResumeTunnelThroughCuts(t *testing.T) {
	t.Parallel()
	s := resumeTunnelServer(t)
	for _, control := range []string{"", "&control=binary"} {
		p := cutting(t, s, 50*time.Millisecond, 300*time.Millisecond)
		r := newResumeRig(t, s, p.via(), resumeService(t), control, hasty)
		host, port := r.c.host, r.c.port
		// A fast round may be over before the network has failed often.
		for begin := time.Now(); ; {
			r.all(t, 150_000)
			if r.session.takenUp() >= 5 || t.Failed() || time.Since(begin) > patience {
				break
			}
		}
		if r.session.takenUp() < 5 {
			t.Errorf("the session was taken up %d times only", r.session.takenUp())
		}
		t.Logf("%d take-ups", r.session.takenUp())
		if err := r.session.end(); err != nil || r.c.host != host || r.c.port != port {
			t.Errorf("the tunnel has ended: %v", err)
		}
		_ = r.session.Close()
		r.session.waitOver(t)
	}
}

// While nobody is there the tunnel keeps its place: new requests and connections
// wait, and are answered.
func TestResumeTunnelKeepsItsPlace(t *testing.T) {
	t.Parallel()
	s := resumeTunnelServer(t, "METRICS_ADDR=127.0.0.1:0")
	var down atomic.Bool
	p := newCutter(t, s.addr, func(p *cutter) {
		p.plan = func() *cut {
			if !down.Load() {
				return nil
			}
			return &cut{way: toServer, where: cutRequest, how: cutReset}
		}
	})
	r := newResumeRig(t, s, p.via(), resumeService(t), "", hasty)
	if reply := r.get(t, "/hello"); reply.body != "hello" {
		t.Fatalf("before the loss: %+v", reply)
	}
	outside := tunnelDial(t, r.c.port)
	if _, err := tunnelPing(outside); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		down.Store(true)
		r.session.cut()
		eventually(t, patience, "the session is detached", func() bool { return s.metricLike(t, "wsproxy_sessions_detached") == 1 })
		var waiting sync.WaitGroup
		var answered atomic.Int32
		for i := range 5 {
			waiting.Go(func() {
				if err := r.download(i, 50_000); err != nil {
					t.Errorf("a request that waited: %v", err)
				}
				answered.Add(1)
			})
			waiting.Go(func() {
				if err := r.raw(i, 50_000); err != nil {
					t.Errorf("a connection that waited: %v", err)
				}
				answered.Add(1)
			})
		}
		waiting.Go(func() {
			if _, err := tunnelPing(outside); err != nil {
				t.Errorf("a connection that was there before: %v", err)
			}
		})
		<-time.After(200 * time.Millisecond) // nothing is known of requests that wait, but that none is answered
		if n := answered.Load(); n > 0 {
			t.Errorf("%d are answered while nobody is there", n)
		}
		down.Store(false)
		waiting.Wait()
	}
}

// A tunnel that nobody takes up in time is over: what waits is refused, and its place
// is free.
func TestResumeTunnelTimeout(t *testing.T) {
	t.Parallel()
	s := resumeTunnelServer(t, "RESUME_TIMEOUT=1s", "METRICS_ADDR=127.0.0.1:0")
	r := newResumeRig(t, s, s.direct(), resumeService(t), "", func(c *resumeClient) { c.patient = 0 })
	outside := tunnelDial(t, r.c.port)
	if _, err := tunnelPing(outside); err != nil {
		t.Fatal(err)
	}
	r.session.finish(net.ErrClosed)
	reply, err := tunnelAsk(r.client, s, "GET", r.c.host, "/hello", nil, nil)
	if err != nil || reply.status != 502 && reply.status != 404 {
		t.Errorf("a request that waited for nobody: %d, %v", reply.status, err)
	}
	if rest, err := io.ReadAll(outside); len(rest) > 0 || isTimeout(err) {
		t.Errorf("a raw connection ends with %q, %v", rest, err)
	}
	eventually(t, patience, "its place is free", func() bool {
		return tunnelGet(t, r.client, s, r.c.host, "/hello").status == 404 && s.metricLike(t, "wsproxy_tunnels") == 0
	})
}
