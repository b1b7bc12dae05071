package e2e

import (
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// Data for any connId that there is not is answered, once, and the operator
// hears of messages about what there never was.
func TestTunnelUnknownIDs(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		ids     []string // data for these
		control string
	}{
		"data":     {ids: []string{"abcdefabcdef", "", "x", strings.Repeat("i", 65), strings.Repeat("i", 1024)}},
		"response": {control: `{"type":"http_response","id":"abcdefabcdef","status":200}`},
		"close":    {control: `{"type":"tcp_close","connId":"abcdefabcdef"}`},
		"credit":   {control: `{"type":"tcp_credit","connId":"abcdefabcdef","bytes":5}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tunnelServer(t)
			closed := make(chan tunnelMessage, 100)
			c := tunnelOpen(t, s, tunnelScript{query: "flow=credit", close: func(_ *tunnelClient, m tunnelMessage) { closed <- m }})
			if test.control != "" {
				if err := c.write(websocket.TextMessage, []byte(test.control)); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				for _, id := range test.ids {
					if err := c.write(websocket.BinaryMessage, tunnelFrame(id, []byte("x"))); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, id := range test.ids {
				if m := tunnelTake(t, closed); m.ConnID != id || m.Reason != "unknown" {
					t.Errorf("data for %q is answered with %+v", id, m)
				}
			}
			s.waitLog(t, "makes no sense")
			if reply := tunnelGet(t, tunnelHTTP(t), s, c.host, "/x"); reply.body != "/x" {
				t.Errorf("then the tunnel answers %+v", reply)
			}
			if len(closed) > 0 {
				t.Errorf("a second answer: %+v", <-closed)
			}
		})
	}
}

// An answer that no memory will ever do for is refused at once, and as what may
// work elsewhere.
func TestTunnelAnswerBeyondAllMemory(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "TUNNEL_BUFFER_TOTAL=1MiB", "TUNNEL_BUFFER=1MiB", "TUNNEL_STALL_TIMEOUT=60s")
	c := tunnelOpen(t, s, tunnelScript{http: func(c *tunnelClient, m tunnelMessage) {
		if m.Path == "/large" {
			c.answer(m, 200, strings.Repeat("a", 3<<20))
		} else {
			c.answer(m, 200, m.Path)
		}
	}})
	for range 3 {
		if reply := tunnelGet(t, tunnelHTTP(t), s, c.host, "/large"); reply.status != 503 || reply.header.Get("Retry-After") == "" {
			t.Errorf("%+v", reply)
		}
		if reply := tunnelGet(t, tunnelHTTP(t), s, c.host, "/x"); reply.body != "/x" {
			t.Errorf("then the tunnel answers %+v", reply)
		}
	}
}
