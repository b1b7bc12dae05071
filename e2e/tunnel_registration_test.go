package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"
)

func TestTunnelReady(t *testing.T) {
	t.Parallel()
	plain := tunnelServer(t)
	c := tunnelOpen(t, plain, tunnelScript{})
	if !regexp.MustCompile(`^https://[0-9a-f]{16}\.tunnel\.test$`).MatchString(c.url) {
		t.Errorf("the URL is %q", c.url)
	}
	if c.binary {
		t.Error("control messages are binary")
	}
	if c.ready.RawHost != tunnelDomain || *c.ready.Credentials {
		t.Errorf("raw ports are at %q, credentials pass: %v", c.ready.RawHost, *c.ready.Credentials)
	}
	if conn := tunnelDial(t, c.port); conn != nil {
		conn.Close()
	}
	credit := tunnelOpen(t, plain, tunnelScript{query: "flow=credit&control=binary"})
	if !credit.binary {
		t.Error("control messages are text although control=binary")
	}
	if other := tunnelOpen(t, plain, tunnelScript{}); other.host == c.host || other.port == c.port {
		t.Errorf("two tunnels at %s, port %d", other.host, other.port)
	}

	bytes := tunnelOpen(t, plain, tunnelScript{query: "flow=credit&http=bytes&host=localhost:5173"})
	if bytes.ready.HTTP != "bytes" || credit.ready.HTTP != "" {
		t.Errorf("HTTP travels as %q with http=bytes, %q without", bytes.ready.HTTP, credit.ready.HTTP)
	}
	if bare := tunnelOpen(t, plain, tunnelScript{query: "raw=off"}); bare.port != 0 {
		t.Errorf("a tunnel without a raw port has port %d", bare.port)
	}
	gossh := tunnelServer(t, "TUNNEL_CONTROL_FRAMES=gossh")
	for query, want := range map[string]int{"flow=credit&http=bytes": 400, "flow=credit&http=bytes&control=text": 426} {
		if status := tunnelStatus(t, gossh, query, "", false); status != want {
			t.Errorf("where gossh is the default, %s is answered %d, not %d", query, status, want)
		}
	}

	laptop := tunnelServer(t, "TUNNEL_DOMAIN=tunnel.localhost", "TUNNEL_PUBLIC_URL=http://*.tunnel.localhost:8080",
		"TUNNEL_RAW_HOST=raw.example", "TUNNEL_FORWARD_CREDENTIALS=true")
	c = tunnelOpen(t, laptop, tunnelScript{})
	if !regexp.MustCompile(`^http://[0-9a-f]{16}\.tunnel\.localhost:8080$`).MatchString(c.url) {
		t.Errorf("the URL is %q", c.url)
	}
	if c.ready.RawHost != "raw.example" || !*c.ready.Credentials {
		t.Errorf("raw ports are at %q, credentials pass: %v", c.ready.RawHost, *c.ready.Credentials)
	}
}

// Whatever the proxy sends JSON as, it accepts it as text and as binary.
func TestTunnelControlFrames(t *testing.T) {
	t.Parallel()
	servers := map[string]*server{
		"text":   tunnelServer(t),
		"binary": tunnelServer(t, "TUNNEL_CONTROL_FRAMES=binary"),
	}
	for _, test := range []struct {
		server, query string
		binary        bool
	}{
		{"text", "", false}, {"text", "control=text", false}, {"text", "control=binary", true}, {"text", "control=gossh", true},
		{"binary", "", true}, {"binary", "control=text", false}, {"binary", "control=binary&flow=credit", true},
	} {
		for _, send := range []int{websocket.TextMessage, websocket.BinaryMessage} {
			t.Run(fmt.Sprintf("%s,%s,%d", test.server, test.query, send), func(t *testing.T) {
				s := servers[test.server]
				c := tunnelOpen(t, s, tunnelScript{query: test.query, send: send, raw: tunnelEcho})
				if c.binary != test.binary {
					t.Fatalf("control messages are binary: %v", c.binary)
				}
				if reply := tunnelGet(t, tunnelHTTP(t), s, c.host, "/x"); reply.status != 200 || reply.body != "/x" {
					t.Errorf("the answer is %+v", reply)
				}
				outside := tunnelDial(t, c.port)
				if _, err := tunnelPing(outside); err != nil {
					t.Error(err)
				}
				outside.CloseWrite()
				if rest, err := io.ReadAll(outside); err != nil || len(rest) > 0 {
					t.Errorf("the echo ends with %q, %v", rest, err)
				}
				c.bye(t)
			})
		}
	}
}

// tunnelStatus asks for a tunnel, by a handshake or by a plain GET, and returns
// the status, having ended the tunnel if there is one.
func tunnelStatus(t *testing.T, s *server, query, origin string, upgrade bool) int {
	t.Helper()
	header := http.Header{}
	if origin != "" {
		header.Set("Origin", origin)
	}
	if !upgrade {
		request, _ := http.NewRequest("GET", s.url("/tunnel?"+query), nil)
		request.Header = header
		response, err := tunnelHTTP(t).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	ws, response, err := dialWS(t, s.ws("/tunnel?"+query), header)
	if err == nil {
		ws.Close()
	}
	if response == nil {
		t.Fatal(err)
	}
	return response.StatusCode
}

func TestTunnelRegistrationOrder(t *testing.T) {
	t.Parallel()
	const bad = "https://bad.example"
	check := func(s *server, query, origin string, upgrade bool, want int) {
		t.Helper()
		if status := tunnelStatus(t, s, query, origin, upgrade); status != want {
			t.Errorf("query %q, origin %q, upgrade %v: %d, not %d", query, origin, upgrade, status, want)
		}
	}

	off := start(t, "CLERK_JWKS_URL=http://"+closedPort(t).String(), "ALLOWED_ORIGINS=https://ok.example")
	check(off, "control=bad", bad, false, 404)
	check(off, "", "", true, 404)

	locked := tunnelServer(t, "CLERK_JWKS_URL=http://"+closedPort(t).String(), "ALLOWED_ORIGINS=https://ok.example")
	check(locked, "control=bad", bad, false, 401)
	check(locked, "token=x.y.z", "", true, 401)

	s := tunnelServer(t, "ALLOWED_ORIGINS=https://ok.example", "MAX_CONNS_PER_IP=1")
	check(s, "", "", false, 426)
	check(s, "", "https://ok.example", true, 101)
	var c *tunnelClient
	eventually(t, patience, "the slot is free", func() bool { return tunnelStatus(t, s, "", "", false) == 426 })
	c = tunnelOpen(t, s, tunnelScript{})
	check(s, "control=bad", bad, false, 403)
	for _, query := range []string{"control=bad", "flow=bad", "control=TEXT", "flow=credits", "control=text&flow=none",
		"http=bytes", "http=bytes&flow=credit&control=gossh", "http=messages", "raw=on", "http=bytes&flow=credit&host=a%20b"} {
		check(s, query, "", false, 400)
		check(s, query, "https://ok.example", true, 400)
	}
	check(s, "", "", false, 429)
	s.signal(syscall.SIGTERM)
	eventually(t, patience, "draining", func() bool { return tunnelGet(t, tunnelHTTP(t), s, "", "/health").status == 503 })
	check(s, "", bad, true, 403)
	check(s, "control=bad", "", true, 400)
	check(s, "", "", true, 429)
	c.bye(t)
	if code := s.wait(patience); code != 0 {
		t.Errorf("exit code %d", code)
	}

	s = tunnelServer(t)
	c = tunnelOpen(t, s, tunnelScript{})
	s.signal(syscall.SIGTERM)
	eventually(t, patience, "draining", func() bool { return tunnelStatus(t, s, "", "", true) == 503 })
	check(s, "", "", false, 503)
	c.bye(t)
}

// Tunnels and relays share one limit, and a slot comes back however its holder
// ends.
func TestTunnelSharedLimit(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "MAX_CONNS_PER_IP=2", allowLoopback())
	relay, _, err := dialWS(t, relayURL(s, echoServer(t)), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := tunnelOpen(t, s, tunnelScript{})
	for _, query := range []string{s.ws("/tunnel"), relayURL(s, echoServer(t))} {
		if _, response, err := dialWS(t, query, nil); err == nil || response == nil || response.StatusCode != 429 {
			t.Errorf("a third session: %v, %v", response, err)
		} else if response.Header.Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
	}
	relay.Close()
	eventually(t, patience, "the relay's slot", func() bool { return tunnelStatus(t, s, "", "", false) == 426 })
	for range 3 {
		d := tunnelOpen(t, s, tunnelScript{})
		d.bye(t)
		eventually(t, patience, "a closed tunnel's slot", func() bool { return tunnelStatus(t, s, "", "", false) == 426 })
		d = tunnelOpen(t, s, tunnelScript{})
		_ = d.ws.NetConn().(*net.TCPConn).SetLinger(0)
		d.ws.Close() // a reset
		eventually(t, patience, "a cut tunnel's slot", func() bool { return tunnelStatus(t, s, "", "", false) == 426 })
	}
	if reply := tunnelGet(t, tunnelHTTP(t), s, c.host, "/"); reply.status != 200 {
		t.Errorf("the other tunnel answers %d", reply.status)
	}
}

func TestTunnelPorts(t *testing.T) {
	t.Parallel()
	first := tunnelPorts(t, 3)
	foreign, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(first+1)))
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	s := tunnelServer(t, fmt.Sprintf("TUNNEL_PORT_MIN=%d", first), fmt.Sprintf("TUNNEL_PORT_MAX=%d", first+2))
	a, b := tunnelOpen(t, s, tunnelScript{}), tunnelOpen(t, s, tunnelScript{})
	if a.port != first || b.port != first+2 {
		t.Errorf("the ports are %d and %d, of %d to %d without %d", a.port, b.port, first, first+2, first+1)
	}
	none := tunnelOpen(t, s, tunnelScript{})
	if none.port != 0 {
		t.Errorf("a third tunnel has port %d", none.port)
	}
	if reply := tunnelGet(t, tunnelHTTP(t), s, none.host, "/x"); reply.body != "/x" {
		t.Errorf("a tunnel without a port answers %+v", reply)
	}
	// The port of a tunnel that is gone, and one that something else gave up,
	// are lent again, though a tunnel without any tried the latter.
	foreign.Close()
	a.bye(t)
	ports := map[int]bool{}
	for range 2 {
		eventually(t, patience, "a port is free", func() bool {
			c := tunnelOpen(t, s, tunnelScript{})
			if c.port == 0 {
				c.bye(t)
			}
			ports[c.port] = true
			return c.port != 0
		})
	}
	if !ports[first] || !ports[first+1] {
		t.Errorf("the ports lent again are %v, of %d and %d", ports, first, first+1)
	}
}

// A tunnel that found every port held by something else keeps none of them from
// later ones.
func TestTunnelPortsAllHeld(t *testing.T) {
	t.Parallel()
	first := tunnelPorts(t, 2)
	var foreign []net.Listener
	for port := first; port < first+2; port++ {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		foreign = append(foreign, l)
	}
	s := tunnelServer(t, fmt.Sprintf("TUNNEL_PORT_MIN=%d", first), fmt.Sprintf("TUNNEL_PORT_MAX=%d", first+1))
	if c := tunnelOpen(t, s, tunnelScript{}); c.port != 0 {
		t.Errorf("the port is %d", c.port)
	}
	for _, l := range foreign {
		l.Close()
	}
	for range 2 {
		if c := tunnelOpen(t, s, tunnelScript{}); c.port == 0 {
			t.Error("a tunnel has no port although one is free")
		}
	}
}

// A freed port is handed out again last, and a tunnel that is gone leaves
// neither a subdomain nor a listener.
func TestTunnelReuse(t *testing.T) {
	t.Parallel()
	first := tunnelPorts(t, 4)
	s := tunnelServer(t, fmt.Sprintf("TUNNEL_PORT_MIN=%d", first), fmt.Sprintf("TUNNEL_PORT_MAX=%d", first+3))
	a, b, c := tunnelOpen(t, s, tunnelScript{}), tunnelOpen(t, s, tunnelScript{}), tunnelOpen(t, s, tunnelScript{})
	client := tunnelHTTP(t)
	gone := func(c *tunnelClient) {
		t.Helper()
		eventually(t, patience, "the subdomain is gone", func() bool {
			return tunnelGet(t, client, s, c.host, "/").status == 404
		})
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)))
		if err == nil {
			conn.Close()
			t.Errorf("port %d is still listened on", c.port)
		}
		s.waitTunnelEnd(t, c)
	}
	b.bye(t)
	gone(b)
	_ = a.ws.NetConn().Close() // cut
	gone(a)
	var ports []int
	for range 3 {
		ports = append(ports, tunnelOpen(t, s, tunnelScript{}).port)
	}
	// A port is free when its tunnel's actor has ended, of which nothing is seen from
	// here: which of two that ended within milliseconds was first is the pool's test.
	slices.Sort(ports[1:])
	if want := []int{first + 3, a.port, b.port}; !slices.Equal(ports, want) {
		t.Errorf("the ports are %v, not %v", ports, want)
	}
	if reply := tunnelGet(t, client, s, c.host, "/x"); reply.body != "/x" {
		t.Errorf("the tunnel that lived on answers %+v", reply)
	}
}

// waitTunnelEnd waits until a tunnel's last line is in the log.
func (s *server) waitTunnelEnd(t *testing.T, c *tunnelClient) map[string]any {
	t.Helper()
	label, _, _ := strings.Cut(c.host, ".")
	var line map[string]any
	eventually(t, patience, "the tunnel's last line", func() bool {
		for _, l := range s.logLines(`"tunnel ended"`) {
			if l["tunnel"] == label {
				line = l
			}
		}
		return line != nil
	})
	return line
}
