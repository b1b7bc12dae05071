package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// An exposure is `wsproxy expose` that runs. It ends with the test, in order.
type exposure struct {
	host   string // the public one
	out    *output
	cmd    *exec.Cmd
	ended  chan struct{}
	status int // set before ended is closed
}

// exposeURL is what a public address looks like that a test's server gives.
var exposeURL = regexp.MustCompile(`https?://([0-9a-z]+\.` + regexp.QuoteMeta(tunnelDomain) + `)\b`)

// exposeServer starts a server with tunnels.
func exposeServer(t *testing.T, env ...string) *server {
	t.Helper()
	return start(t, append([]string{allowLoopback(), "MAX_CONNS_PER_IP=0", "TUNNEL_DOMAIN=" + tunnelDomain, "TUNNEL_BIND=127.0.0.1"}, env...)...)
}

// expose runs it under the race detector, and waits for its public address.
func expose(t *testing.T, s *server, args ...string) *exposure {
	t.Helper()
	e := exposeBegin(t, s, args...)
	eventually(t, patience, "a public address", func() bool {
		select {
		case <-e.ended:
			t.Fatalf("expose has ended with %d:\n%s", e.status, e.out)
		default:
		}
		return exposeURL.MatchString(e.out.String())
	})
	e.host = exposeURL.FindStringSubmatch(e.out.String())[1]
	return e
}

// exposeBegin is expose without the waiting. Flags stand before the target.
func exposeBegin(t *testing.T, s *server, args ...string) *exposure {
	t.Helper()
	e := &exposure{out: &output{}, ended: make(chan struct{})}
	e.cmd = exec.Command(binaryPath, append([]string{"expose"}, args...)...)
	e.cmd.Env = append(os.Environ(), "NO_PROXY=*", "GORACE=atexit_sleep_ms=0", "WSPROXY_URL=ws://"+s.addr)
	e.cmd.Stdout, e.cmd.Stderr = e.out, e.out
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = e.cmd.Wait()
		e.status = e.cmd.ProcessState.ExitCode()
		close(e.ended)
	}()
	t.Cleanup(func() {
		_ = e.cmd.Process.Signal(os.Interrupt)
		<-e.ended
		if t.Failed() {
			t.Logf("expose %q:\n%s", args, e.out)
		}
		if strings.Contains(e.out.String(), "DATA RACE") || strings.Contains(e.out.String(), "panic:") {
			t.Errorf("expose %q:\n%s", args, e.out)
		}
	})
	return e
}

// Vite's dev server behind expose, in a browser: by a stranger's name it refuses, which
// the line about the request says how to mend; with that, the page comes, its WebSocket
// connects, and what is changed is shown without loading anew.
func TestExposeVite(t *testing.T) {
	t.Parallel()
	vite := startApp(t, "node", nodeApp(t, "hot-reload.js"), t.TempDir())
	s := exposeServer(t)
	stranger := expose(t, s, vite.port)
	client := tunnelHTTP(t)
	if reply := tunnelGet(t, client, s, stranger.host, "/"); reply.status != 403 {
		t.Errorf("by its own name the dev server answers %d", reply.status)
	}
	eventually(t, patience, "a line that says how to mend it", func() bool {
		said := stranger.out.String()
		return strings.Contains(said, "--host-header") && strings.Contains(said, "server.allowedHosts")
	})

	e := expose(t, s, "--host-header", "localhost:"+vite.port, vite.port)
	host, port, _ := net.SplitHostPort(s.addr)
	_, _ = fmt.Fprintf(vite.in, "http://%s:%s/ %s\n", e.host, port, host)
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
