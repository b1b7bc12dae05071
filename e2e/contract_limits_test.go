package e2e

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
)

// How many sessions an address and a user may have, and how their slots come
// back.

// openSoon opens a session as soon as there is a slot: one that came back may
// be there a moment after the client has seen its session's end.
func openSoon(t *testing.T, s *server, path string, lines ...string) *websocket.Conn {
	t.Helper()
	var ws *websocket.Conn
	eventually(t, patience, "a slot is free", func() bool {
		var response *http.Response
		var err error
		if ws, response, err = dialWS(t, s.ws(path), headerOf(lines...)); err == nil {
			return true
		}
		if response == nil || response.StatusCode != 429 {
			t.Fatalf("%v (%s), want 429 until then", err, describe(response))
		}
		return false
	})
	return ws
}

// free checks that a slot is free again, and leaves it free.
func free(t *testing.T, s *server, path string, lines ...string) {
	t.Helper()
	goodbye(t, openSoon(t, s, path, lines...))
}

// settled waits until all sessions so far have ended.
func settled(t *testing.T, s *server) {
	t.Helper()
	eventually(t, patience, "all sessions have ended", func() bool {
		return len(s.logLines(`"msg":"relay ended"`)) == len(s.logLines(`"msg":"relay started"`))
	})
}

// full checks that there is no slot.
func full(t *testing.T, s *server, path string, lines ...string) {
	t.Helper()
	r := ask(t, s, "GET", path, upgrading(lines...)...)
	if r.status != 429 {
		t.Errorf("status %d, want 429", r.status)
	}
	oneSentence(t, r)
}

// With one slot, each way in which a session ends gives it back.
func TestSlotsComeBack(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback(), "MAX_CONNS_PER_IP=1", "DIAL_TIMEOUT=2s")
	echo := relayPath(echoServer(t))
	closed := relayPath(closedPort(t))
	mortal, conns := handServer(t)
	for _, c := range []struct {
		name string
		end  func(t *testing.T)
	}{
		{"closed by the client", func(t *testing.T) {
			ws := openSoon(t, s, echo)
			full(t, s, echo)
			goodbye(t, ws)
		}},
		{"cut by the client", func(t *testing.T) {
			ws := openSoon(t, s, echo)
			full(t, s, echo)
			ws.NetConn().Close()
		}},
		{"reset by the client", func(t *testing.T) {
			ws := openSoon(t, s, echo)
			full(t, s, echo)
			_ = ws.NetConn().(*net.TCPConn).SetLinger(0)
			ws.NetConn().Close()
		}},
		{"ended by the target", func(t *testing.T) {
			ws := openSoon(t, s, relayPath(mortal))
			full(t, s, echo)
			(<-conns).Close()
			if code, _ := closing(t, ws); code != 1000 {
				t.Errorf("close code %d, want 1000", code)
			}
		}},
		{"reset by the target", func(t *testing.T) {
			ws := openSoon(t, s, relayPath(mortal))
			full(t, s, echo)
			conn := <-conns
			_ = conn.SetLinger(0)
			conn.Close()
			if code, _ := closing(t, ws); code != 1011 {
				t.Errorf("close code %d, want 1011", code)
			}
		}},
		{"the dial failed", func(t *testing.T) {
			code, text := closing(t, openSoon(t, s, closed))
			if code != 1011 || text != "cannot reach target" {
				t.Errorf("close %d %q, want 1011 \"cannot reach target\"", code, text)
			}
		}},
		{"a message that is not allowed", func(t *testing.T) {
			ws := openSoon(t, s, echo)
			if err := ws.WriteMessage(websocket.TextMessage, []byte("x")); err != nil {
				t.Fatal(err)
			}
			if code, _ := closing(t, ws); code != 1003 {
				t.Errorf("close code %d, want 1003", code)
			}
			ws.Close()
		}},
		{"no upgrade", func(t *testing.T) {
			// The answer may be there a moment before the slot is.
			eventually(t, patience, "426", func() bool { return ask(t, s, "GET", echo).status == 426 })
		}},
		{"refused: blocked", func(t *testing.T) {
			if r := ask(t, s, "GET", relayPathTo("127.0.0.1", portOf(addrOf(t, s))), handshake...); r.status != 403 {
				t.Errorf("status %d, want 403", r.status)
			}
		}},
		{"refused: malformed", func(t *testing.T) {
			if r := ask(t, s, "GET", "/relay?host=127.1&port=22", handshake...); r.status != 400 {
				t.Errorf("status %d, want 400", r.status)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 5 {
				c.end(t)
				free(t, s, echo)
			}
		})
	}
}

// addrOf is the address of the server's HTTP listener.
func addrOf(t *testing.T, s *server) net.Addr {
	t.Helper()
	addr, err := net.ResolveTCPAddr("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// Of 50 that dial at once exactly as many get in as there are slots.
func TestBurst(t *testing.T) {
	t.Parallel()
	const dials, slots = 50, 7
	s := start(t, allowLoopback(), fmt.Sprint("MAX_CONNS_PER_IP=", slots))
	target := relayPath(echoServer(t))
	for round := range 3 {
		var (
			dialing sync.WaitGroup
			mu      sync.Mutex
			in      []*websocket.Conn
			codes   = map[int]int{}
		)
		for range dials {
			dialing.Go(func() {
				dialer := websocket.Dialer{HandshakeTimeout: patience}
				ws, response, err := dialer.Dial(s.ws(target), nil)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					in = append(in, ws)
				}
				if response != nil {
					codes[response.StatusCode]++
				}
			})
		}
		dialing.Wait()
		if codes[101] != slots || codes[429] != dials-slots {
			t.Errorf("round %d: the answers are %v, want %d times 101 and %d times 429", round, codes, slots, dials-slots)
		}
		for _, ws := range in {
			goodbye(t, ws)
		}
		eventually(t, patience, "all sessions have ended", func() bool {
			return len(s.logLines(`"msg":"relay ended"`)) == (round+1)*slots
		})
	}
}

func TestNoLimit(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t)
	s := start(t, allowLoopback(), "CLERK_JWKS_URL="+keys.url, "MAX_CONNS_PER_IP=0", "MAX_CONNS_PER_USER=0")
	target := relayPath(echoServer(t), "token", keys.token(nil))
	for range 40 {
		open(t, s, target)
	}
}

// The defaults are 10 for an address and 20 for a user.
func TestDefaultLimits(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t)
	s := start(t, allowLoopback(), "CLERK_JWKS_URL="+keys.url, "TRUSTED_PROXIES=127.0.0.1/32")
	target := relayPath(echoServer(t), "token", keys.token(nil))
	const forwarded = "X-Forwarded-For: "
	for range 10 {
		open(t, s, target, forwarded+"198.51.100.1")
	}
	full(t, s, target, forwarded+"198.51.100.1")
	for range 10 {
		open(t, s, target, forwarded+"198.51.100.2")
	}
	full(t, s, target, forwarded+"198.51.100.3")
	open(t, s, relayPath(echoServer(t), "token", keys.token(fields{"sub": "user_2"})), forwarded+"198.51.100.3")
}

func TestLimitPerUser(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t)
	echo := echoServer(t)
	const forwarded = "X-Forwarded-For: "
	s := start(t, allowLoopback(), "CLERK_JWKS_URL="+keys.url, "TRUSTED_PROXIES=127.0.0.1/32", "MAX_CONNS_PER_USER=2", "MAX_CONNS_PER_IP=2")
	as := func(user string) string { return relayPath(echo, "token", keys.token(fields{"sub": user})) }

	first := open(t, s, as("anna"), forwarded+"198.51.100.1")
	open(t, s, as("anna"), forwarded+"198.51.100.2")
	// What the user's limit refuses takes no slot of the address.
	for range 5 {
		full(t, s, as("anna"), forwarded+"198.51.100.3")
	}
	open(t, s, as("ben"), forwarded+"198.51.100.3")
	open(t, s, as("ben"), forwarded+"198.51.100.3")
	// What the address's limit refuses takes no slot of the user.
	for range 5 {
		full(t, s, as("carl"), forwarded+"198.51.100.3")
	}
	open(t, s, as("carl"), forwarded+"198.51.100.4")
	open(t, s, as("carl"), forwarded+"198.51.100.5")

	goodbye(t, first)
	free(t, s, as("anna"), forwarded+"198.51.100.6")
	// Another token of the same user is the same user.
	openSoon(t, s, relayPath(echo, "token", keys.token(fields{"sub": "anna", "iat": nil})), forwarded+"198.51.100.6")
	full(t, s, as("anna"), forwarded+"198.51.100.6")
}

// The limit per user does not apply to who is anonymous.
func TestAnonymousHasNoLimitPerUser(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback(), "MAX_CONNS_PER_USER=1", "MAX_CONNS_PER_IP=5")
	target := relayPath(echoServer(t))
	for range 5 {
		open(t, s, target)
	}
	full(t, s, target)
}
