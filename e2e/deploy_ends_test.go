package e2e

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// wantEnds has sessions that end in order leave nothing behind. A front proxy may take
// the end of a server's stream for the end of both, and drop what the client still says:
// its answer to the close frame, without which a session waits for RESUME_TIMEOUT; nor
// does a client that is still sending then get its last bytes.
func (f *front) wantEnds(t *testing.T, servers ...*server) {
	t.Helper()
	count := func(line string) (n int) {
		for _, s := range servers {
			n += len(s.logLines(line))
		}
		return n
	}
	detached, ended := count(`"relay detached"`), count(`"relay ended"`)
	const runs = 12
	_, far, _ := net.SplitHostPort(echoServer(t).String())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range runs / 4 {
				cmd := connectCommand(t, "--ca", f.authority, f.url(), "127.0.0.1", far)
				cmd.Stdin = strings.NewReader("a word") // the input ends before the target does
				if out, err := cmd.CombinedOutput(); err != nil || string(out) != "a word" {
					t.Errorf("connect: %q, %v", out, err)
				}
			}
		})
	}
	all.Wait()
	eventually(t, patience, "all relays have ended, or wait to be taken up", func() bool {
		return count(`"relay ended"`)-ended+count(`"relay detached"`)-detached >= runs
	})
	if n := count(`"relay detached"`) - detached; n > 0 {
		t.Errorf("of %d relays that ended in order %d wait to be taken up", runs, n)
	}

	said := newData(lastWords)
	target := wordsThenEnd(t, said, true)
	for try := range 6 {
		ws, err := f.webSocket(t, fromElsewhere, f.url()+relayPath(target))
		if err != nil {
			t.Fatal(err)
		}
		if err := ws.WriteMessage(websocket.BinaryMessage, []byte("go")); err != nil {
			t.Fatal(err)
		}
		got := newTally()
		begin := &trigger{Writer: got, after: lastWords * try / 6}
		var pushed <-chan struct{}
		begin.pull = func() { pushed = push(ws, pushMessage) }
		_ = ws.SetReadDeadline(time.Now().Add(patience))
		closed, err := receive(ws, begin)
		if err != nil || closed.Code != websocket.CloseNormalClosure || got.n != lastWords {
			t.Errorf("a client that is still sending has %d bytes of %d, %v, %v", got.n, lastWords, closed, err)
		}
		ws.Close()
		<-pushed
	}
}
