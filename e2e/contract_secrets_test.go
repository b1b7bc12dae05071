package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// Nothing secret of a request gets into the log, though all of it is logged:
// each place of a request that can hold a secret holds one here.

// A leakTest makes secrets that tell where they were put.
type leakTest struct {
	places []string
}

// secret is a marker that no encoding on the way changes.
func (l *leakTest) secret(place string) string {
	l.places = append(l.places, place)
	return fmt.Sprintf("Zq7secretQ%dq", len(l.places)-1)
}

// check looks for all of them in everything that the server has written.
func (l *leakTest) check(t *testing.T, log string) {
	t.Helper()
	log = strings.ToLower(log)
	for i, place := range l.places {
		if strings.Contains(log, strings.ToLower(fmt.Sprintf("Zq7secretQ%dq", i))) {
			t.Errorf("the log has what was put into %s", place)
		}
	}
	if strings.Contains(log, "zq7secret") && !t.Failed() {
		t.Errorf("the log has part of a secret")
	}
}

// everywhere returns header lines with a secret in each.
func (l *leakTest) everywhere() []string {
	return []string{
		"Authorization: Bearer " + l.secret("Authorization"),
		"Cookie: session=" + l.secret("a cookie"),
		"Sec-WebSocket-Protocol: wsproxy.v1, bearer." + l.secret("a subprotocol") + ", " + l.secret("another subprotocol"),
		"User-Agent: " + l.secret("User-Agent"),
		"Referer: https://" + l.secret("Referer") + ".example/",
		"X-Api-Key: " + l.secret("another header"),
		"X-Forwarded-For: " + l.secret("X-Forwarded-For"),
		"X-Real-IP: " + l.secret("X-Real-IP"),
		l.secret("a header's name") + ": x",
	}
}

func TestNoSecretsInTheLog(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t)
	for name, env := range map[string][]string{
		"anonymous":       {allowLoopback()},
		"behind a proxy":  {allowLoopback(), "TRUSTED_PROXIES=127.0.0.0/8"},
		"with keys":       {allowLoopback(), "CLERK_JWKS_URL=" + keys.url},
		"with an origin":  {allowLoopback(), "ALLOWED_ORIGINS=https://app.example"},
		"all is blocked":  nil,
		"no slot is free": {allowLoopback(), "MAX_CONNS_PER_IP=1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &leakTest{}
			s := start(t, append(env, "PING_INTERVAL=1s")...)
			target := echoServer(t)
			if name == "no slot is free" {
				open(t, s, relayPath(target))
			}
			l.requests(t, s, target)
			l.rubbish(t, s)
			l.sessions(t, s, target, keys)
			switch name {
			case "all is blocked", "no slot is free":
			default:
				settled(t, s)
				if n := len(s.logLines(`"reason":"text_message"`)); n != 1 {
					t.Errorf("%d sessions that held secrets, want 1 of each: the test proves nothing", n)
				}
			}
			l.check(t, s.log())
		})
	}
}

// requests are refused, or become sessions that are cut at once.
func (l *leakTest) requests(t *testing.T, s *server, target net.Addr) {
	long := l.secret("a value that is too long") + strings.Repeat("x", 512)
	for _, path := range []string{
		relayPath(target, "token", l.secret("token=")),
		relayPath(target, "token", l.secret("token="), "password", l.secret("another parameter")),
		relayPath(target, l.secret("a parameter's name"), "x"),
		relayPath(closedPort(t), "token", l.secret("token= of a dial that fails")),
		relayPathTo("127.0.0.1 "+l.secret("a malformed host"), "22"),
		relayPathTo(l.secret("a malformed host")+":22", "22"),
		relayPathTo("127.0.0.1", l.secret("a malformed port")),
		"/relay?host=%zz" + l.secret("a malformed query") + "&token=" + l.secret("token= of a malformed query"),
		"/relay?host=127.0.0.1;" + l.secret("a query with a semicolon"),
		accessPath("localhost", l.secret("cf_id"), l.secret("cf_secret")),
		accessPath("127.0.0.1", l.secret("cf_id"), l.secret("cf_secret")),
		accessPath("localhost", long, l.secret("cf_secret")),
		accessPath("localhost", "id", l.secret("a cf_secret with a line feed")+"\n"),
		accessPath("x y"+l.secret("a malformed cf_domain"), "id", "secret"),
		"/relay?cf_domain=localhost&cf_id=" + l.secret("cf_id without a secret"),
		"/" + l.secret("an unknown path") + "?" + l.secret("its query"),
		"/health?" + l.secret("the query of /health"),
		"/tunnel?token=" + l.secret("token= of /tunnel"),
		"/relay/" + l.secret("a path below /relay"),
	} {
		for _, lines := range [][]string{nil, handshake} {
			_, _ = request(s.addr, "GET", path, append(l.everywhere(), lines...)...)
			_, _ = request(s.addr, "GET", path, append(lines, "Origin: https://x.example/"+l.secret("an Origin that is none"))...)
			_, _ = request(s.addr, "GET", path, lines...)
		}
	}
	_, _ = request(s.addr, "POST", relayPath(target), "Content-Length: 1000", "X: "+l.secret("a POST"))
	_, _ = request(s.addr, l.secret("a method"), "/relay")
	_, _ = request(s.addr, "GET", "http://"+l.secret("an absolute URL")+".example/relay?token="+l.secret("token= of an absolute URL"))
	_, _ = request(s.addr, "GET", relayPath(target), upgrading("Sec-WebSocket-Key: "+l.secret("Sec-WebSocket-Key"))...)
	_, _ = request(s.addr, "GET", relayPath(target), upgrading("Sec-WebSocket-Extensions: "+l.secret("Sec-WebSocket-Extensions"))...)
}

// rubbish is what net/http itself refuses, and might log.
func (l *leakTest) rubbish(t *testing.T, s *server) {
	for _, text := range []string{
		l.secret("rubbish") + "\r\n\r\n",
		"GET /" + l.secret("the path of HTTP/9") + " HTTP/9.9\r\n\r\n",
		"GET /relay HTTP/1.1\r\nHost: a\r\nHost: " + l.secret("a second Host") + "\r\n\r\n",
		"GET /relay HTTP/1.1\r\nHost: x y" + l.secret("a malformed Host") + "\r\n\r\n",
		"GET /relay HTTP/1.1\r\nHost: a\r\n" + l.secret("a header line") + "\r\n\r\n",
		"GET /relay HTTP/1.1\r\nHost: a\r\nContent-Length: " + l.secret("Content-Length") + "\r\n\r\n",
		"GET /relay HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: " + l.secret("Transfer-Encoding") + "\r\n\r\n",
		"GET /relay HTTP/1.1\r\nHost: a\r\nX: " + l.secret("a large header") + strings.Repeat("x", 100_000) + "\r\n\r\n",
		"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" + l.secret("a body that is cut off"),
		"GET /relay HTTP/1.1\r\nHost: a\r\nAuthorization: " + l.secret("a header that is cut off"),
		"GET /health HTTP/1.1\r\nHost: a\r\nExpect: " + l.secret("Expect") + "\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + l.secret("HTTP/2"),
		"GET " + relayPathTo("127.0.0.1", "1") + " HTTP/1.1\r\nHost: a\r\n" + strings.Join(handshake, "\r\n") + "\r\n\r\n" + l.secret("bytes before the handshake's end"),
	} {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(conn, text)
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
		conn.Close()
	}
	if conn, err := tls.Dial("tcp", s.addr, &tls.Config{ServerName: l.secret("TLS") + ".example"}); err == nil {
		conn.Close()
	}
}

// sessions relay secrets, and end in several ways that hold one. Where no
// session comes about, the requests were refused with theirs.
func (l *leakTest) sessions(t *testing.T, s *server, target net.Addr, keys *issuer) {
	token := keys.token(fields{"sub": "user_secret", "email": l.secret("a claim")})
	parts := strings.Split(token, ".")
	for place, end := range map[string]func(ws *websocket.Conn){
		"the text of a close frame": func(ws *websocket.Conn) {
			message := websocket.FormatCloseMessage(4000, l.secret("the text of a close frame"))
			_ = ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(patience))
			closing(t, ws)
		},
		"a text message": func(ws *websocket.Conn) {
			_ = ws.WriteMessage(websocket.TextMessage, []byte(l.secret("a text message")))
			closing(t, ws)
		},
		"a message that is too big": func(ws *websocket.Conn) {
			_ = ws.WriteMessage(websocket.BinaryMessage, []byte(strings.Repeat(l.secret("a message that is too big"), 100_000)))
			closing(t, ws)
		},
		"a frame that is not allowed": func(ws *websocket.Conn) {
			_, _ = ws.NetConn().Write(append([]byte{0x82, 20}, l.secret("a frame that is not allowed")...))
			closing(t, ws)
		},
		"a ping": func(ws *websocket.Conn) {
			_ = ws.WriteControl(websocket.PingMessage, []byte(l.secret("a ping")), time.Now().Add(patience))
			goodbye(t, ws)
		},
	} {
		lines := append(l.everywhere()[3:6], "Authorization: Bearer "+token, "Origin: https://app.example")
		ws, _, err := dialWS(t, s.ws(relayPath(target, "token", token, "x", l.secret("another parameter"))), headerOf(lines...))
		if err != nil {
			continue
		}
		echoed(t, ws, l.secret("the bytes relayed before "+place))
		end(ws)
		ws.Close()
	}
	for i, part := range parts {
		if strings.Contains(s.log(), part) {
			t.Errorf("the log has part %d of a token", i)
		}
	}
}

// What is secret about the configuration is not logged either.
func TestNoSecretsOfTheConfigurationInTheLog(t *testing.T) {
	t.Parallel()
	l := &leakTest{}
	keys := newIssuer(t)
	address := strings.Replace(keys.url, "http://", "http://"+l.secret("the user")+":"+l.secret("the password")+"@", 1) + "?key=" + l.secret("the query")
	s := start(t, allowLoopback(), "CLERK_JWKS_URL="+address)
	eventually(t, patience, "keys are there", func() bool {
		return ask(t, s, "GET", relayPath(echoServer(t), "token", keys.token(nil))).status == 426
	})
	l.check(t, s.log())
	down := closedPort(t).String() + "/jwks"
	broken := start(t, "CLERK_JWKS_URL="+strings.Replace(address, keys.url[len("http://"):], down, 1))
	broken.waitLog(t, "could not be fetched")
	l.check(t, broken.log())
}
