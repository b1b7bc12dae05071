package e2e

import (
	"io"
	"testing"

	"github.com/gorilla/websocket"
)

// A web page that is left: the WebSocket closes right behind the last bytes,
// with tcp_close before it or without. They are delivered, and the tunnel is
// gone meanwhile.
func TestTunnelRawFlushAfterTheEnd(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	const size = 6 << 20
	n := byte(0) // of peers
	for _, closed := range []bool{true, false} {
		for _, early := range []bool{true, false} { // the peer reads before the end
			c := tunnelOpen(t, s, tunnelScript{})
			n++
			outside, inside := tunnelPairFrom(t, c, n)
			_, _ = io.CopyN(struct{ io.Writer }{inside}, tunnelNoise(10), size)
			if closed {
				_ = inside.Close()
			}
			c.writing.Lock()
			_ = c.ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
			c.writing.Unlock()
			if !early {
				c.waitEnd(t)
				eventually(t, patience, "the subdomain is free", func() bool {
					return tunnelGet(t, tunnelHTTP(t), s, c.host, "/").status == 404
				})
			}
			got, n, err := tunnelSum(outside)
			want, _, _ := tunnelSum(io.LimitReader(tunnelNoise(10), size))
			if n != size || err != nil || got != want {
				t.Errorf("tcp_close %v, early %v: %d of %d bytes arrive, %v", closed, early, n, size, err)
			}
			outside.Close()
		}
	}
	eventually(t, patience, "all has ended", func() bool { return len(s.logLines(`"raw connection ended"`)) == 4 })
}
