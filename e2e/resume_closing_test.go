package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// The closing handshake is cut: a close frame that was lost on its way has ended
// nothing, so it comes again, and the session ends as if nothing had been.
func TestResumeClosingIsCut(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	var all sync.WaitGroup
	for way := range 2 {
		for how := range cutHows {
			for _, byServer := range []bool{false, true} {
				all.Go(func() {
					what := fmt.Sprintf("way %d, how %d, the server's: %v", way, how, byServer)
					got := make(chan string, 1)
					far := target(t, func(conn *net.TCPConn) {
						text, err := io.ReadAll(conn)
						got <- fmt.Sprint(string(text), " ", err)
					})
					var once sync.Once
					p := newCutter(t, s.addr, func(p *cutter) {
						p.late = 5 * time.Second
						p.plan = func() (c *cut) {
							once.Do(func() { c = &cut{way: way, where: cutClosing, how: how} })
							return c
						}
					})
					c := resumeOpen(t, p.via(), relayPath(far), hasty)
					_, _ = io.WriteString(c, "all of it")
					if byServer { // which closes when both sides have ended
						_ = c.CloseWrite()
					} else {
						_ = c.Close()
					}
					select {
					case text := <-got:
						if text != "all of it <nil>" {
							t.Errorf("%s: the target gets %s", what, text)
						}
					case <-time.After(patience):
						t.Errorf("%s: the target sees no end", what)
					}
					if !waitClosed(c.done, patience) || c.end() != io.EOF {
						t.Errorf("%s: the session ends with %v", what, c.end())
					}
				})
			}
		}
	}
	all.Wait()
	// Where the answer to the server's close was lost, it can't know that it has come,
	// and waits.
	eventually(t, patience, "no more sessions are left than those", func() bool {
		return len(s.logLines(`"msg":"relay started"`))-len(s.logLines(`"msg":"relay ended"`)) <= cutHows
	})
}

// Two clients that both have the token: the later one wins, the earlier one hears
// 4001, and nothing is torn.
func TestResumeTwoClients(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	far, conns := handServer(t)
	first := resumeOpen(t, s.direct(), relayPath(far))
	first.waitBegun(t)
	conn := accept(t, conns)
	_, _ = io.WriteString(first, "from the first. ")
	buf := make([]byte, 16)
	if _, err := io.ReadFull(conn, buf); err != nil {
		t.Fatal(err)
	}
	second := resumeOpen(t, s.direct(), relayPath(far), func(c *resumeClient) {
		first.mu.Lock()
		defer first.mu.Unlock()
		c.token, c.attempt = first.token, first.attempt+5
		c.base, c.next, c.most, c.limit = 16, 16, 16, first.limit
	})
	if !waitClosed(first.done, patience) || !errors.Is(first.end(), errResumeTaken) {
		t.Fatalf("the first client ends with %v, want 4001", first.end())
	}
	_, _ = io.WriteString(second, "from the second.")
	if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "from the second." {
		t.Errorf("the target gets %q, %v", buf, err)
	}
	_, _ = conn.Write([]byte("answer"))
	conn.CloseWrite()
	if got, err := io.ReadAll(second); string(got) != "answer" || err != nil {
		t.Errorf("the second client gets %q, %v", got, err)
	}
	_ = second.CloseWrite()
	second.waitOver(t)
}

// A network that changes without a word: the client asks, and is back within 5 s.
func TestResumeBlackHole(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	p := newCutter(t, s.addr)
	c := resumeOver(t, p.via(), echoServer(t))
	for i := range 3 {
		if _, err := tunnelPing(c); err != nil {
			t.Fatal(err)
		}
		p.mu.Lock()
		for conn := range p.conns {
			conn.arm(&cut{where: cutNow, how: []int{cutSilence, cutStall}[i%2]})
		}
		p.mu.Unlock()
		began := time.Now()
		if _, err := tunnelPing(c); err != nil {
			t.Fatal(err)
		}
		if d := elapsed(began); d > 5*time.Second {
			t.Errorf("the session is back after %v", d)
		}
	}
	if c.takenUp() == 0 {
		t.Error("the session was never taken up")
	}
}
