package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

const nameSecret = "e2e secret that is 32 bytes long"

// namedServer is a server on which tunnels have names, and whose tokens it takes.
func namedServer(t *testing.T, env ...string) (*server, *issuer) {
	keys := newIssuer(t)
	return tunnelServer(t, append(env, "CLERK_JWKS_URL="+keys.url, "TUNNEL_NAME_SECRET="+nameSecret)...), keys
}

// nameHost is where a name of a user leads, by the contract.
func nameHost(user, name string) string {
	code := hmac.New(sha256.New, []byte(nameSecret))
	_, _ = io.WriteString(code, user+"\x00"+name)
	return hex.EncodeToString(code.Sum(nil)[:8]) + "." + tunnelDomain
}

// nameQuery asks for a name for a user.
func nameQuery(keys *issuer, user, name string) string {
	return "name=" + name + "&token=" + keys.token(fields{"sub": user})
}

func TestTunnelNames(t *testing.T) {
	t.Parallel()
	s, keys := namedServer(t)
	all := map[string]bool{}
	for _, c := range []struct{ user, name string }{{"user_1", "app"}, {"user_1", "app-2"}, {"user_2", "app"}, {"user_1", strings.Repeat("a", 64)}} {
		for range 2 {
			tunnel := tunnelOpen(t, s, tunnelScript{query: nameQuery(keys, c.user, c.name)})
			if want := nameHost(c.user, c.name); tunnel.host != want {
				t.Errorf("%s of %s is at %s, want %s", c.name, c.user, tunnel.host, want)
			}
			if reply := tunnelGet(t, tunnelHTTP(t), s, tunnel.host, "/x"); reply.body != "/x" {
				t.Errorf("%s of %s answers %+v", c.name, c.user, reply)
			}
			all[tunnel.host] = true
			tunnel.bye(t)
			eventually(t, patience, "nobody answers any more", func() bool {
				return tunnelGet(t, tunnelHTTP(t), s, tunnel.host, "/").status == 404
			})
		}
	}
	if len(all) != 4 {
		t.Errorf("four names lead to %d hosts", len(all))
	}
	for _, name := range []string{"", "App", "a_b", "a.b", "%C3%A4", strings.Repeat("a", 65)} {
		if status := tunnelStatus(t, s, nameQuery(keys, "user_1", name), "", true); status != 400 {
			t.Errorf("the name %q is answered %d", name, status)
		}
	}
	if strings.Contains(s.log(), nameSecret) {
		t.Error("the secret is logged")
	}
}

// Without authentication, or without a secret, a name means nothing.
func TestTunnelNamesAreIgnored(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t)
	for what, s := range map[string]*server{
		"no authentication": tunnelServer(t, "TUNNEL_NAME_SECRET="+nameSecret),
		"no secret":         tunnelServer(t, "CLERK_JWKS_URL="+keys.url),
	} {
		query := nameQuery(keys, "user_1", "app")
		first, second := tunnelOpen(t, s, tunnelScript{query: query}), tunnelOpen(t, s, tunnelScript{query: query})
		if first.host == second.host || first.host == nameHost("user_1", "app") || first.host == nameHost("", "app") {
			t.Errorf("%s: the hosts are %s and %s", what, first.host, second.host)
		}
		first.bye(t) // it lives
		if status := tunnelStatus(t, s, nameQuery(keys, "user_1", "A"), "", false); status != 400 {
			t.Errorf("%s: a bad name is answered %d", what, status)
		}
	}
}

// The latest tunnel has the name. What is under way in the one before ends, and
// that hears why; raw connections get what they are owed, and nothing waits for
// them.
func TestTunnelNameIsTakenOver(t *testing.T) {
	t.Parallel()
	s, keys := namedServer(t)
	query := nameQuery(keys, "user_1", "app")
	asked := make(chan tunnelMessage, 1)
	first := tunnelOpen(t, s, tunnelScript{query: query, http: func(_ *tunnelClient, m tunnelMessage) { asked <- m }})
	outside, inside := tunnelPair(t, first)
	other := tunnelOpen(t, s, tunnelScript{query: nameQuery(keys, "user_2", "app")})
	if _, err := inside.Write([]byte("the last word")); err != nil {
		t.Fatal(err)
	}
	client := tunnelHTTP(t)
	waiting := make(chan tunnelReply, 1)
	go func() {
		reply, err := tunnelAsk(client, s, "GET", first.host, "/waits", nil, nil)
		if err != nil {
			reply.body = err.Error()
		}
		waiting <- reply
	}()
	<-asked

	// Neither of these gets so far.
	if status := tunnelStatus(t, s, query, "", false); status != 426 {
		t.Errorf("no handshake is answered %d", status)
	}
	if status := tunnelStatus(t, s, query+"&flow=bad", "", true); status != 400 {
		t.Errorf("a bad parameter is answered %d", status)
	}
	select {
	case <-first.ended:
		t.Fatal("somebody who has no tunnel ends one")
	default:
	}

	second := tunnelOpen(t, s, tunnelScript{query: query})
	if second.host != first.host {
		t.Errorf("the second is at %s, the first at %s", second.host, first.host)
	}
	for range 20 { // from now on, without a gap
		if reply := tunnelGet(t, client, s, second.host, "/second"); reply.status != 200 || reply.body != "/second" {
			t.Errorf("the second answers %+v", reply)
		}
	}
	if code := first.waitEnd(t); code != 4001 {
		t.Errorf("the first ends with %d", code)
	}
	if text := first.err.(*websocket.CloseError).Text; !strings.Contains(text, "name") {
		t.Errorf("it is told %q", text)
	}
	if reply := <-waiting; reply.status != 502 {
		t.Errorf("what waited for the first is answered %+v", reply)
	}
	if got, err := io.ReadAll(outside); err != nil || string(got) != "the last word" {
		t.Errorf("the raw connection ends with %q, %v", got, err)
	}
	line := s.waitLog(t, `"reason":"name_taken"`)
	if line["msg"] != "tunnel ended" {
		t.Errorf("the log says %v", line)
	}
	if reply := tunnelGet(t, client, s, other.host, "/other"); reply.body != "/other" {
		t.Errorf("another user's tunnel of that name answers %+v", reply)
	}
}

// Limits are judged first: who is refused ends nothing.
func TestTunnelNameBeyondTheLimit(t *testing.T) {
	t.Parallel()
	s, keys := namedServer(t, "MAX_CONNS_PER_USER=1")
	query := nameQuery(keys, "user_1", "app")
	first := tunnelOpen(t, s, tunnelScript{query: query})
	for range 3 {
		if status := tunnelStatus(t, s, query, "", true); status != 429 {
			t.Errorf("one too many is answered %d", status)
		}
	}
	if reply := tunnelGet(t, tunnelHTTP(t), s, first.host, "/x"); reply.body != "/x" {
		t.Errorf("the first answers %+v", reply)
	}
	first.bye(t)
}

// However many want a name at once, one has it in the end and all others hear so.
func TestTunnelNameIsWantedByManyAtOnce(t *testing.T) {
	t.Parallel()
	s, keys := namedServer(t, "MAX_CONNS_PER_USER=0", "MAX_CONNS_PER_IP=0")
	query := nameQuery(keys, "user_1", "app")
	const takers = 8
	for range 5 {
		sockets := make([]*websocket.Conn, takers)
		type end struct{ taker, code int }
		ends := make(chan end, takers)
		var all sync.WaitGroup
		for i := range sockets {
			all.Go(func() {
				ws, _, err := websocket.DefaultDialer.Dial(s.ws("/tunnel?"+query), nil)
				if err != nil {
					t.Error(err)
					return
				}
				sockets[i] = ws
			})
		}
		all.Wait()
		if t.Failed() {
			return
		}
		for i, ws := range sockets {
			all.Go(func() {
				defer ws.Close()
				_ = ws.SetReadDeadline(time.Now().Add(patience))
				for {
					if _, _, err := ws.ReadMessage(); err != nil {
						code := -1
						if closed, ok := err.(*websocket.CloseError); ok {
							code = closed.Code
						}
						ends <- end{i, code}
						return
					}
				}
			})
		}
		left := takers * (takers - 1) / 2 // all of them, by the sum
		for range takers - 1 {
			e := <-ends
			left -= e.taker
			if e.code != 4001 {
				t.Errorf("one ends with %d", e.code)
			}
		}
		_ = sockets[left].WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
		if e := <-ends; e != (end{left, websocket.CloseNormalClosure}) {
			t.Errorf("the one that has the name is %d: %+v", left, e)
		}
		all.Wait()
	}
}

// A name that is taken over again and again, while it is asked for, answers
// every request that comes, and leaves nothing.
func TestTunnelNameIsTakenOverManyTimes(t *testing.T) {
	t.Parallel()
	first := tunnelPorts(t, 3)
	s, keys := namedServer(t, "METRICS_ADDR=127.0.0.1:0", "MAX_CONNS_PER_USER=3",
		fmt.Sprintf("TUNNEL_PORT_MIN=%d", first), fmt.Sprintf("TUNNEL_PORT_MAX=%d", first+2))
	metrics, _ := s.waitLog(t, `"msg":"metrics are served"`)["address"].(string)
	client := tunnelHTTP(t)
	query := nameQuery(keys, "user_1", "app")
	figures := func() (goroutines, descriptors int) {
		client.CloseIdleConnections()
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid))
		if err != nil {
			t.Fatal(err)
		}
		return int(tunnelMetric(t, client, metrics, "go_goroutines")), len(entries)
	}
	round := func(n int) {
		var last *tunnelClient
		for i := range n {
			next := tunnelOpen(t, s, tunnelScript{query: query + []string{"", "&flow=credit"}[i%2], raw: func(_ *tunnelClient, c *tunnelRawConn) {}})
			if next.port == 0 {
				t.Fatal("it has no raw port")
			}
			outside := tunnelDial(t, next.port)
			outside.Close()
			if reply := tunnelGet(t, client, s, next.host, "/x"); reply.status != 200 {
				t.Fatalf("number %d answers %+v", i, reply)
			}
			if last != nil {
				if code := last.waitEnd(t); code != 4001 {
					t.Fatalf("number %d ends with %d", i-1, code)
				}
			}
			last = next
		}
		last.bye(t)
		eventually(t, patience, "no tunnel is left", func() bool {
			return tunnelMetric(t, client, metrics, "wsproxy_tunnels") == 0 && tunnelMetric(t, client, metrics, "wsproxy_raw_connections") == 0
		})
	}
	round(10)
	goroutines, descriptors := figures()
	round(200)
	eventually(t, patience, "what was there before", func() bool {
		g, d := figures()
		return g <= goroutines+2 && d <= descriptors+1
	})
	if reply := tunnelGet(t, client, s, nameHost("user_1", "app"), "/"); reply.status != 404 {
		t.Errorf("the name answers %d", reply.status)
	}
}
