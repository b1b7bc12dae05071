package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/creack/pty"
)

// top starts wsproxy top in a terminal of its own, and returns what the terminal has been sent,
// and the terminal itself, whose keys it takes.
func top(t *testing.T, s *server) (shown *output, terminal *os.File, ended chan error) {
	t.Helper()
	command := exec.Command(binaryPath, "top", "--interval", "200ms", "http://"+s.metricsAddr(t))
	command.Env = []string{"GORACE=atexit_sleep_ms=0", "TERM=xterm-256color", "WSPROXY_ADMIN_TOKEN=" + adminToken}
	terminal, err := pty.StartWithSize(command, &pty.Winsize{Rows: 24, Cols: 140})
	if err != nil {
		t.Fatal(err)
	}
	shown, ended = &output{}, make(chan error, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 1<<16)
		for {
			n, err := terminal.Read(buf)
			_, _ = shown.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	go func() { ended <- command.Wait() }()
	t.Cleanup(func() {
		_ = command.Process.Kill() // fails if it has ended
		terminal.Close()
		<-read
		if t.Failed() {
			t.Logf("top wrote %q", shown)
		}
	})
	return shown, terminal, ended
}

// wsproxy top shows a server's sessions, and closes the one that a person has chosen; what a
// script gets has the same.
func TestTop(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, allowLoopback(), "METRICS_ADDR=127.0.0.1:0", "ADMIN_TOKEN="+adminToken)
	target := echoServer(t)
	ws := open(t, s, relayPath(target))
	echoed(t, ws, strings.Repeat("x", 1234))
	c := tunnelOpen(t, s, tunnelScript{})

	once := exec.Command(binaryPath, "top", "--json", "--interval", "200ms", "--sort", "bytes", "http://"+s.metricsAddr(t))
	once.Env = []string{"GORACE=atexit_sleep_ms=0", "WSPROXY_ADMIN_TOKEN=" + adminToken}
	out, err := once.Output()
	var document struct {
		Sessions []struct {
			Kind, Target string
			FromClient   int64    `json:"bytes_from_client"`
			Rate         *float64 `json:"rate_from_client"`
		}
	}
	if err != nil || json.Unmarshal(out, &document) != nil || len(document.Sessions) != 2 || document.Sessions[0].Target != target.String() ||
		document.Sessions[0].FromClient != 1234 || document.Sessions[0].Rate == nil {
		t.Errorf("--json prints %s, %v", out, err)
	}

	shown, terminal, ended := top(t, s)
	says := func(words string) {
		t.Helper()
		eventually(t, patience, words, func() bool { return strings.Contains(shown.String(), words) })
	}
	says("1 relay, 1 tunnel, 0 detached")
	says(target.String())
	_, _ = terminal.WriteString("/" + target.String() + "\r")
	says("filter: " + target.String())
	_, _ = terminal.WriteString("k")
	says("close relay")
	_, _ = terminal.WriteString("y")
	if code, _ := closing(t, ws); code != 1008 {
		t.Errorf("the relay ends with %d", code)
	}
	says("0 relays, 1 tunnel")
	_, _ = terminal.WriteString("q")
	if err := <-ended; err != nil {
		t.Errorf("it ends with %v", err)
	}
	eventually(t, patience, "the terminal is as it was", func() bool { return strings.HasSuffix(shown.String(), "\x1b[?1049l") })
	select {
	case <-c.ended:
		t.Error("the tunnel has ended, too")
	default:
	}
}
