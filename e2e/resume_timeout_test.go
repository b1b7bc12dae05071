package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What becomes of sessions that nobody takes up.

// A session that nobody takes up in time is over, and its target reset, so that a
// cut upload never looks whole; unless it was.
func TestResumeTimeout(t *testing.T) {
	t.Parallel()
	s := resumeServer(t, "RESUME_TIMEOUT=1s", "METRICS_ADDR=127.0.0.1:0")
	for _, eof := range []bool{false, true} {
		far, conns := handServer(t)
		h := resumeBegin(t, s.direct(), relayPath(far))
		conn := accept(t, conns)
		_ = h.data(5, []byte("hello"))
		if eof {
			_ = h.note(fields{"type": "eof"})
		}
		if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		h.ackOf(t, 5)
		if eof {
			if n, err := conn.Read(make([]byte, 1)); n > 0 || err != io.EOF {
				t.Errorf("after eof: %d, %v", n, err)
			}
		}
		h.cut()
		h.lives(t, 0, 5) // it may be lost and taken up, and the time begins anew
		h.cut()
		began := time.Now()
		if !eof {
			if got, end := sees(t, conn); got != "" || end != seesReset {
				t.Errorf("the target sees %q and %s", got, end)
			}
		} else {
			// It has seen its end. What it still says meets a reset once nobody waits.
			eventually(t, patience, "the target's connection is closed", func() bool {
				_, err := conn.Write([]byte("x"))
				return err != nil
			})
		}
		if d := time.Since(began); d < 900*time.Millisecond || elapsed(began) > 9*time.Second { // and the patience of section 2
			t.Errorf("a session of 1 s is waited for %v", d)
		}
		h.over(t)
	}
	ends := s.logLines(`"relay ended"`)
	if len(ends) != 2 || ends[0]["reason"] != "resume_timeout" || ends[1]["reason"] != "resume_timeout" {
		t.Errorf("the log says %v", ends)
	}
	if n := s.metricLike(t, "wsproxy_sessions_detached"); n != 0 {
		t.Errorf("%v sessions are detached then", n)
	}
}

// metricLike returns the sum of a metric over all its labels.
func (s *server) metricLike(t *testing.T, name string) (sum float64) {
	t.Helper()
	_, body := get(t, "http://"+s.metricsAddr(t)+"/metrics")
	for line := range strings.Lines(body) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		var value float64
		if _, err := fmt.Sscan(line[strings.LastIndexByte(strings.TrimSpace(line), ' ')+1:], &value); err == nil {
			sum += value
		}
	}
	return sum
}

// A client that never says that it has the token is waited for 5 s at most.
func TestResumeTimeoutBeforeTheFirstAck(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	far, conns := handServer(t)
	h := resumeBeginMute(t, s.direct(), relayPath(far))
	conn := accept(t, conns)
	h.cut()
	began := time.Now()
	if _, end := sees(t, conn); end != seesReset {
		t.Errorf("the target sees %s", end)
	}
	if d := elapsed(began); d > 7*time.Second {
		t.Errorf("the session is waited for %v", d)
	}
	h.over(t)
	// Within that time it may be taken up as any, and from then on it is one.
	h = resumeBeginMute(t, s.direct(), relayPath(far))
	conn = accept(t, conns)
	h.cut()
	h.lives(t, 0, 0)
	h.alive(t)
	h.cut()
	_ = conn.SetReadDeadline(time.Now().Add(6 * time.Second))
	if n, err := conn.Read(make([]byte, 1)); n > 0 || !isTimeout(err) {
		t.Errorf("6 s after an acknowledged one is lost its target sees %v", err)
	}
	h.lives(t, 0, 0)
}

// A client that is silent is lost, and no more than that.
func TestResumeKeepalive(t *testing.T) {
	t.Parallel()
	const interval = 400 * time.Millisecond
	s := tunnelServer(t, allowLoopback(), pingEvery(interval))
	for _, path := range []string{relayPath(sinkServer(t)), resumeTunnelQuery} {
		h := resumeBegin(t, s.direct(), path)
		received := uint64(0)
		if h.tunnel {
			h.must(t)
			received = 1
			_ = h.ack(1, 1+resumeFirstMessages)
		}
		for range 5 { // who answers, lives
			h.mustNote(t, "ping")
			_ = h.note(fields{"type": "pong"})
		}
		began := time.Now()
		h.mustClose(t, 0) // who doesn't, is left without a close frame
		if d := time.Since(began); d < 2*interval || elapsed(began) > 5*time.Second {
			t.Errorf("%s: a silent client is left after %v", path, d)
		}
		h.lives(t, received, 0)
		h.alive(t)
	}
}

// A detached session has its slot until somebody of its own needs it: the one that
// is longest away gives way.
func TestResumeGivesWay(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t)
	byAddress := resumeServer(t, "MAX_CONNS_PER_IP=3", "TRUSTED_PROXIES=127.0.0.0/8")
	byUser := resumeServer(t, "MAX_CONNS_PER_USER=3", "CLERK_JWKS_URL="+keys.url)
	for _, c := range []struct {
		name string
		s    *server
		via  func(who string) resumeVia
		more func(who string) string
	}{
		{"address", byAddress, func(who string) resumeVia {
			return byAddress.direct("X-Forwarded-For: 198.51.100." + map[string]string{"ann": "1", "bob": "2"}[who])
		}, func(string) string { return "" }},
		{"user", byUser, func(string) resumeVia { return byUser.direct() }, func(who string) string { return "&token=" + keys.token(fields{"sub": who}) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			far, conns := handServer(t)
			begin := func(who string) *resumeHand {
				h := resumeBegin(t, c.via(who), relayPath(far)+c.more(who))
				h.more = c.more(who)
				h.alive(t)
				return h
			}
			bob := begin("bob")
			accept(t, conns)
			bob.cut() // another's, and away for longer than all
			first, second, third := begin("ann"), begin("ann"), begin("ann")
			refused := func() {
				t.Helper()
				_, answer, err := resumeDial(c.via("ann"), relayPath(far)+c.more("ann"), resumeV1, resumeProtocol)
				if answer == nil || answer.status != 429 {
					t.Errorf("one too many: %v, want 429", err)
				}
			}
			refused()
			second.cut()
			eventually(t, patience, "a new session takes the slot", func() bool {
				w, _, err := resumeDial(c.via("ann"), relayPath(far)+c.more("ann"), resumeV1, resumeProtocol)
				if err != nil {
					return false
				}
				t.Cleanup(func() { w.Close() })
				_, err = w.read()
				return err == nil
			})
			second.over(t)
			refused()
			first.alive(t)
			third.alive(t)
			bob.lives(t, 0, 0)
		})
	}
}

// Of several the one that is longest away gives way, and its target sees a reset.
func TestResumeLongestAwayGivesWay(t *testing.T) {
	t.Parallel()
	s := resumeServer(t, "MAX_CONNS_PER_IP=3", "METRICS_ADDR=127.0.0.1:0")
	far, conns := handServer(t)
	var hands [3]*resumeHand
	for i := range hands {
		hands[i] = resumeBegin(t, s.direct(), relayPath(far))
	}
	targets := [3]interface{ Close() error }{}
	for i := range targets {
		targets[i] = accept(t, conns)
	}
	for n, i := range []int{1, 2, 0} {
		hands[i].cut()
		eventually(t, patience, "the loss is seen", func() bool { return int(s.metricLike(t, "wsproxy_sessions_detached")) == n+1 })
	}
	for _, i := range []int{1, 2, 0} {
		resumeBegin(t, s.direct(), relayPath(far)).alive(t)
		hands[i].over(t)
	}
	if n := s.metricLike(t, "wsproxy_sessions_detached"); n != 0 {
		t.Errorf("%v are still detached", n)
	}
}

// While the server drains, sessions are taken up as ever. At the end all that are
// detached are over.
func TestResumeDrain(t *testing.T) {
	t.Parallel()
	s := resumeServer(t, "SHUTDOWN_TIMEOUT=4s")
	far, conns := handServer(t)
	here, away := resumeBegin(t, s.direct(), relayPath(far)), resumeBegin(t, s.direct(), relayPath(far))
	here.alive(t)
	away.alive(t)
	one, other := accept(t, conns), accept(t, conns)
	here.cut()
	away.cut()
	began := time.Now()
	s.signal(syscall.SIGTERM)
	eventually(t, patience, "it drains", func() bool {
		response, err := http.Get(s.url("/health"))
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == 503
	})
	if _, answer, _ := resumeDial(s.direct(), relayPath(far), resumeV1, resumeProtocol); answer == nil || answer.status != 503 {
		t.Errorf("a new session while the server drains: %+v", answer)
	}
	here.lives(t, 0, 0)
	here.alive(t)
	if time.Since(began) < 3*time.Second {
		here.mustClose(t, 1001)
		_ = here.bye(1001)
	}
	for _, conn := range []interface {
		io.Reader
		SetReadDeadline(time.Time) error
	}{one, other} {
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadAll(conn); err == nil || isTimeout(err) {
			t.Errorf("at the end a target sees %v, not a reset", err)
		}
	}
	if code := s.wait(patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
