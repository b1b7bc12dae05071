package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
)

// Vite's dev server behind expose, in a browser: by a stranger's name it refuses, which
// the line about the request says how to mend; with that, the page comes, its WebSocket
// connects, and what is changed is shown without loading anew.
func TestExposeVite(t *testing.T) {
	t.Parallel()
	vite := startApp(t, "node", nodeApp(t, "hot-reload.js"), t.TempDir())
	s := start(t, allowLoopback(), "MAX_CONNS_PER_IP=0", "TUNNEL_DOMAIN="+tunnelDomain, "TUNNEL_BIND=127.0.0.1")
	stranger := expose(t, s, vite.port)
	client := tunnelHTTP(t)
	if reply := tunnelGet(t, client, s, stranger.host(1), "/"); reply.status != 403 {
		t.Errorf("by its own name the dev server answers %d", reply.status)
	}
	eventually(t, patience, "a line that says how to mend it", func() bool {
		said := stranger.out.String() + stranger.err.String()
		return strings.Contains(said, "--host-header") && strings.Contains(said, "server.allowedHosts")
	})

	e := expose(t, s, "--host-header", "localhost:"+vite.port, vite.port)
	page := e.host(1)
	host, port, _ := net.SplitHostPort(s.addr)
	_, _ = fmt.Fprintf(vite.in, "http://%s:%s/ %s\n", page, port, host)
	var saw struct {
		Marker  string
		Errors  []string
		Outside bool
		Sockets int
	}
	line := vite.line(t)
	if err := json.Unmarshal([]byte(line), &saw); err != nil || saw.Marker != "the same page" || len(saw.Errors) > 0 || !saw.Outside || saw.Sockets == 0 {
		t.Errorf("the browser says %s, %v", line, err)
	}
}
