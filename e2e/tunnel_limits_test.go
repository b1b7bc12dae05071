package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"
)

// tunnelHeld opens a tunnel whose client answers only what the test tells it
// to.
func tunnelHeld(t *testing.T, s *server, query string) (*tunnelClient, <-chan tunnelMessage) {
	t.Helper()
	held := make(chan tunnelMessage, 1024)
	return tunnelOpen(t, s, tunnelScript{query: query, http: func(_ *tunnelClient, m tunnelMessage) { held <- m }}), held
}

// tunnelWaiting is a request that waits for its answer.
type tunnelWaiting struct {
	reply  chan tunnelReply
	cancel context.CancelFunc
}

// tunnelStart sends a request and doesn't wait. A request that fails has
// status 0.
func tunnelStart(t *testing.T, client *http.Client, s *server, host, path string, header http.Header, body []byte) tunnelWaiting {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	w := tunnelWaiting{make(chan tunnelReply, 1), cancel}
	method := "GET"
	if body != nil {
		method = "POST"
	}
	request, err := http.NewRequestWithContext(ctx, method, s.url(path), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	for name, values := range header {
		request.Header[name] = values
	}
	go func() {
		reply := tunnelReply{}
		if response, err := client.Do(request); err == nil {
			data, err := io.ReadAll(response.Body)
			if response.Body.Close(); err == nil {
				reply = tunnelReply{response.StatusCode, response.Header, string(data), response.ContentLength}
			}
		}
		w.reply <- reply
	}()
	return w
}

func (w tunnelWaiting) get(t *testing.T) tunnelReply {
	t.Helper()
	select {
	case reply := <-w.reply:
		return reply
	case <-time.After(patience):
		t.Fatal("no answer")
		return tunnelReply{}
	}
}

func tunnelTake(t *testing.T, from <-chan tunnelMessage) tunnelMessage {
	t.Helper()
	select {
	case m := <-from:
		return m
	case <-time.After(patience):
		t.Fatal("the tunnel gets no request")
		return tunnelMessage{}
	}
}

func TestTunnelManyAtOnce(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "MAX_TUNNEL_HTTP_PER_IP=60", "MAX_TUNNEL_HTTP=120")
	c, held := tunnelHeld(t, s, "")
	client := tunnelHTTP(t)
	const many = 60
	for round := range 3 {
		var waiting []tunnelWaiting
		var messages []tunnelMessage
		for i := range many {
			waiting = append(waiting, tunnelStart(t, client, s, c.host, fmt.Sprintf("/%d", i), nil, []byte(fmt.Sprint("body ", i))))
		}
		ids := map[string]bool{}
		for range many {
			m := tunnelTake(t, held)
			messages = append(messages, m)
			ids[m.ID] = true
		}
		if len(ids) != many {
			t.Fatalf("%d ids for %d requests", len(ids), many)
		}
		rand.New(rand.NewPCG(1, uint64(round))).Shuffle(many, func(i, j int) { messages[i], messages[j] = messages[j], messages[i] })
		for i, m := range messages {
			c.answer(m, 200, m.Path+" "+m.Body)
			if i%3 == 0 {
				c.answer(m, 200, "a second answer")
			}
		}
		for i, w := range waiting {
			if reply := w.get(t); reply.status != 200 || reply.body != fmt.Sprintf("/%d body %d", i, i) {
				t.Errorf("request %d got %d %q", i, reply.status, reply.body)
			}
		}
	}
}

func TestTunnelHTTPLimits(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "MAX_TUNNEL_HTTP=3", "MAX_TUNNEL_HTTP_PER_IP=4", "TRUSTED_PROXIES=127.0.0.1")
	a, heldA := tunnelHeld(t, s, "")
	b, heldB := tunnelHeld(t, s, "")
	client := tunnelHTTP(t)
	expect := func(host string, source http.Header, want int) {
		t.Helper()
		reply, err := tunnelAsk(client, s, "GET", host, "/", source, nil)
		if err != nil || reply.status != want {
			t.Fatalf("%d, not %d: %v", reply.status, want, err)
		}
		if reply.header.Get("Retry-After") == "" {
			t.Errorf("%d without Retry-After", reply.status)
		}
	}
	one := from("203.0.113.1")
	var waiting []tunnelWaiting
	var messages []tunnelMessage
	for _, source := range []http.Header{one, one, from("203.0.113.2")} {
		waiting = append(waiting, tunnelStart(t, client, s, a.host, "/", source, nil))
		messages = append(messages, tunnelTake(t, heldA))
	}
	expect(a.host, from("203.0.113.2"), 503) // the tunnel is busy, and nobody has more
	expect(a.host, one, 429)                 // has half of it, and waits in vain
	third := tunnelStart(t, client, s, b.host, "/", one, nil)
	l := tunnelTake(t, heldB)
	fourth := tunnelStart(t, client, s, b.host, "/", one, nil)
	m := tunnelTake(t, heldB)
	expect(b.host, one, 429)
	other := tunnelStart(t, client, s, b.host, "/", from("203.0.113.2"), nil)
	b.answer(tunnelTake(t, heldB), 200, "")
	if reply := other.get(t); reply.status != 200 {
		t.Errorf("another source gets %d", reply.status)
	}
	for i := range waiting {
		a.answer(messages[i], 200, "")
		waiting[i].get(t)
	}
	b.answer(l, 200, "")
	b.answer(m, 200, "")
	third.get(t)
	fourth.get(t)
	// All slots are back.
	for range 3 {
		w := tunnelStart(t, client, s, a.host, "/", one, nil)
		a.answer(tunnelTake(t, heldA), 200, "")
		if reply := w.get(t); reply.status != 200 {
			t.Errorf("then: %d", reply.status)
		}
	}
}

// An outside client that goes away leaves neither its place nor its memory.
func TestTunnelAbandoned(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "MAX_TUNNEL_HTTP=2", "MAX_TUNNEL_HTTP_PER_IP=2", "TUNNEL_BUFFER_TOTAL=16MiB")
	c, held := tunnelHeld(t, s, "")
	client := tunnelHTTP(t)
	body := bytes.Repeat([]byte("a"), 1<<20)
	for range 12 {
		w := tunnelStart(t, client, s, c.host, "/", nil, body)
		select {
		case m := <-held:
			w.cancel()
			w.get(t)
			c.answer(m, 200, "nobody hears that")
		case reply := <-w.reply: // what the last round left is not quite gone
			if reply.status != 429 && reply.status != 503 {
				t.Fatalf("status %d", reply.status)
			}
		}
		wire := tunnelWireTo(t, s)
		wire.say(t, "POST / HTTP/1.1", "Host: "+c.host, "Content-Length: 1000000")
		_, _ = wire.Write(body[:1<<19])
		wire.Close()
	}
	eventually(t, patience, "all is free again", func() bool {
		w := tunnelStart(t, client, s, c.host, "/ok", nil, body)
		for {
			select {
			case m := <-held:
				c.answer(m, 200, m.Path)
			case reply := <-w.reply:
				if reply.status != 200 && reply.status != 429 && reply.status != 503 {
					t.Fatalf("status %d", reply.status)
				}
				return reply.body == "/ok"
			}
		}
	})
}

func TestTunnelTimeouts(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "TUNNEL_HTTP_TIMEOUT=3s")
	c, held := tunnelHeld(t, s, "")
	client := tunnelHTTP(t)

	began := time.Now()
	w := tunnelStart(t, client, s, c.host, "/late", nil, nil)
	late := tunnelTake(t, held)
	if reply := w.get(t); reply.status != 504 || time.Since(began) < 3*time.Second {
		t.Errorf("no answer: %d after %v", reply.status, time.Since(began))
	}
	c.answer(late, 200, "late")
	w = tunnelStart(t, client, s, c.host, "/next", nil, []byte("x"))
	next := tunnelTake(t, held)
	c.answer(late, 200, "later")
	c.answer(next, 200, "right")
	c.answer(next, 200, "twice")
	if reply := w.get(t); reply.status != 200 || reply.body != "right" {
		t.Errorf("after a late answer: %d %q", reply.status, reply.body)
	}

	for _, framing := range []string{"Content-Length: 100", "Transfer-Encoding: chunked"} {
		wire := tunnelWireTo(t, s)
		wire.say(t, "POST /slow HTTP/1.1", "Host: "+c.host, framing)
		_, _ = io.WriteString(wire, "3\r\nabc")
		if reply := wire.hear(t, "POST"); reply.status != 408 {
			t.Errorf("a body that does not come, %s: %d", framing, reply.status)
		}
	}
	// A refusal does not wait for the body.
	label, domain, _ := strings.Cut(c.host, ".")
	wire := tunnelWireTo(t, s)
	wire.say(t, "POST /none HTTP/1.1", "Host: "+strings.Repeat("0", len(label))+"."+domain, "Content-Length: 100")
	began = time.Now()
	if reply := wire.hear(t, "POST"); reply.status != 404 || elapsed(began) > 5*time.Second {
		t.Errorf("no such tunnel: %d after %v", reply.status, time.Since(began))
	}
	select {
	case m := <-held:
		t.Errorf("half a request was forwarded: %+v", m)
	default:
	}
}

// A tunnel that ends answers those who wait for it at once, and one whose
// request is still coming as soon as it can.
func TestTunnelGoneWhileWaiting(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	for name, end := range map[string]func(c *tunnelClient){
		"closed": func(c *tunnelClient) { c.bye(t) },
		"cut":    func(c *tunnelClient) { _ = c.ws.NetConn().Close() },
	} {
		c, held := tunnelHeld(t, s, "")
		client := tunnelHTTP(t)
		var waiting []tunnelWaiting
		for i := range 10 {
			body := []byte(nil)
			if i%2 == 1 {
				body = []byte("x")
			}
			waiting = append(waiting, tunnelStart(t, client, s, c.host, "/", nil, body))
			tunnelTake(t, held)
		}
		wire := tunnelWireTo(t, s)
		wire.say(t, "POST / HTTP/1.1", "Host: "+c.host, "Content-Length: 100", "Expect: 100-continue")
		if line, _ := wire.in.ReadString('\n'); !strings.Contains(line, "100") {
			t.Fatalf("before the body comes %q", line)
		}
		_, _ = wire.in.ReadString('\n')
		began := time.Now()
		end(c)
		for _, w := range waiting {
			if reply := w.get(t); reply.status != 502 {
				t.Errorf("%s: %d", name, reply.status)
			}
		}
		if reply := wire.hear(t, "POST"); reply.status != 502 {
			t.Errorf("%s, while the body comes: %d", name, reply.status)
		}
		if took := elapsed(began); took > 5*time.Second {
			t.Errorf("%s: the answers took %v", name, took)
		}
		// Who waited is answered before the tunnel has ended altogether.
		eventually(t, patience, "then 404", func() bool { return tunnelGet(t, client, s, c.host, "/").status == 404 })
	}
}

// Outside clients that take no answer must not use up the memory of all.
func TestTunnelAnswersNobodyReads(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "TUNNEL_BUFFER_TOTAL=24MiB", "TUNNEL_MAX_BODY=10MiB", "TUNNEL_HTTP_TIMEOUT=1s")
	big := strings.Repeat("x", 10<<20)
	a := tunnelOpen(t, s, tunnelScript{http: func(c *tunnelClient, m tunnelMessage) { c.answer(m, 200, big) }})
	b := tunnelOpen(t, s, tunnelScript{})
	for range 4 {
		wire := tunnelWireTo(t, s)
		_ = wire.SetReadBuffer(4096)
		wire.say(t, "GET / HTTP/1.1", "Host: "+a.host)
	}
	client := tunnelHTTP(t)
	body := strings.Repeat("y", 1<<20)
	eventually(t, 2*patience, "another tunnel has memory again", func() bool {
		reply, err := tunnelAsk(client, s, "POST", b.host, "/b", nil, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		return reply.status == 200
	})
}
