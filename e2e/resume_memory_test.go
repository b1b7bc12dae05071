package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// What sessions that wait hold, and that nothing of them stays.

// resumeMany is how many sessions are detached at once: 5,000 with WSPROXY_E2E_BIG
// set.
func resumeMany() int {
	if os.Getenv("WSPROXY_E2E_BIG") != "" {
		return 5000
	}
	return 400
}

// fromMany is a way of a server that trusts this machine, by another address each.
func fromMany(s *server, i int) resumeVia {
	return s.direct(fmt.Sprintf("X-Forwarded-For: 198.51.%d.%d", i/250, 1+i%250))
}

// Many sessions wait, each with a target that sends without end. They hold what
// RESUME_BUFFER_TOTAL allows, and in the end nothing.
func TestResumeManyDetached(t *testing.T) {
	t.Parallel()
	const total = 16 << 20
	many := resumeMany()
	s := resumePlainServer(t, "METRICS_ADDR=127.0.0.1:0", "TRUSTED_PROXIES=127.0.0.1/32",
		fmt.Sprintf("RESUME_TIMEOUT=%ds", 15+many/50),
		"RESUME_BUFFER=1MiB", fmt.Sprintf("RESUME_BUFFER_TOTAL=%dMiB", total>>20))
	// All of them with large send buffers would make the kernel short of memory for
	// TCP, and everything on this machine slow.
	far := target(t, func(conn *net.TCPConn) {
		_ = conn.SetWriteBuffer(32 << 10)
		for block := make([]byte, 64<<10); ; {
			if _, err := conn.Write(block); err != nil {
				return
			}
		}
	})
	warm := resumeBegin(t, s.direct(), relayPath(far))
	warm.receive(t, resumeFirst)
	goroutines, descriptors := s.metricLike(t, "go_goroutines"), s.descriptors(t)
	_ = warm.bye(3000)
	warm.mustClose(t, 3000)
	hands := make([]*resumeHand, many)
	var beginning sync.WaitGroup
	for part := range 8 {
		beginning.Go(func() {
			for i := part; i < many && !t.Failed(); i += 8 {
				w, _, err := resumeDial(fromMany(s, i), relayPath(far), resumeV1, resumeProtocol)
				if err != nil {
					t.Errorf("session %d: %v", i, err)
					return
				}
				m, err := w.read()
				if err != nil || m.note == nil || m.note.kind != "session" {
					t.Errorf("session %d: %v", i, err)
					return
				}
				session := *m.note
				_ = w.ack(0, 1<<40)
				_ = w.note(fields{"type": "ping"})
				for err == nil && (m.note == nil || m.note.kind != "pong") { // so that the ack has come
					m, err = w.read()
				}
				hands[i] = &resumeHand{resumeSocket: w, via: fromMany(s, i), path: "/relay", session: session}
			}
		})
	}
	beginning.Wait()
	if t.Failed() {
		return
	}
	for _, h := range hands {
		h.cut()
	}
	eventually(t, patience, "all are detached", func() bool { return int(s.metricLike(t, "wsproxy_sessions_detached")) == many })
	// 192 KiB each, and what the process has anyway.
	most := int64(total + many*(192<<10) + 128<<20)
	if peak := s.peak(t); peak > most {
		t.Errorf("%d sessions take %d MiB, more than %d", many, peak>>20, most>>20)
	} else {
		t.Logf("%d detached sessions: %d MiB at most, %d now", many, peak>>20, s.resident(t)>>20)
	}
	// Any of them can be taken up.
	for i := 0; i < many; i += many / 10 {
		h := hands[i]
		h.again(t, 0)
		h.receive(t, resumeFirst) // which is kept, whatever the others hold
		h.cut()
	}
	eventually(t, 6*patience, "all are over", func() bool {
		return s.metricLike(t, "wsproxy_sessions_detached") == 0 && s.metricLike(t, "wsproxy_relay_sessions") == 0
	})
	hands[1].over(t)
	eventually(t, patience, "nothing of them is left", func() bool {
		return s.metricLike(t, "go_goroutines") <= goroutines+10 && s.descriptors(t) <= descriptors+2
	})
}

// All that there is to keep is used up by others: a session goes on with 64 KiB, an
// echo whose both directions are full too.
func TestResumeBufferUsedUpByOthers(t *testing.T) {
	t.Parallel()
	s := resumeServer(t, "TRUSTED_PROXIES=127.0.0.1/32", "RESUME_BUFFER=1MiB", "RESUME_BUFFER_TOTAL=4MiB")
	flood := floodServer(t)
	for i := range 12 {
		h := resumeBegin(t, fromMany(s, i), relayPath(flood))
		_ = h.ack(0, 1<<40) // takes as much as it gets, and acknowledges nothing
		h.receive(t, resumeFirst)
		go func() { // so that what is sent is out of the way
			for {
				if _, err := h.read(); err != nil {
					return
				}
			}
		}()
	}
	p := newCutter(t, s.addr)
	p.harass(50*time.Millisecond, 300*time.Millisecond, p.random)
	via := p.via()
	via.lines = []string{"X-Forwarded-For: 203.0.113.1"}
	const size = 4 << 20
	var all sync.WaitGroup
	for i := range uint64(2) {
		all.Go(func() {
			c := resumeOpen(t, via, relayPath(echoServer(t)), hasty, wide)
			sent := pour(t, c, i, size)
			wantNoise(t, "the echo", c, i, size)
			<-sent
			c.waitOver(t)
		})
	}
	// Both directions full, then read again.
	all.Go(func() {
		c := resumeOpen(t, via, relayPath(echoServer(t)), hasty)
		sent := pour(t, c, 9, 24<<20)
		for before, same := uint64(1), 0; same < 20; { // until it is stuck
			<-time.After(20 * time.Millisecond)
			now := uint64(0)
			c.view(func() bool { now = c.base + c.position; return true })
			if same++; now != before {
				before, same = now, 0
			}
		}
		wantNoise(t, "the full echo", c, 9, 24<<20)
		<-sent
		c.waitOver(t)
	})
	all.Wait()
}

// No line of the log has a token, whatever is done with it, nor a byte that was kept.
func TestResumeTokensAreNotLogged(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, allowLoopback(), "RESUME_TIMEOUT=1s")
	far := echoServer(t)
	const secret = "what the session carries"
	var tokens []string
	for range 3 {
		for _, path := range []string{relayPath(far), resumeTunnelQuery} {
			h := resumeBegin(t, s.direct(), path)
			tokens = append(tokens, h.session.resume)
			if h.tunnel {
				h.must(t)
			} else {
				_ = h.data(uint64(len(secret)), []byte(secret))
				h.receive(t, len(secret))
			}
			h.refused(t, "attempt=0", 4001)
			h.refused(t, "attempt=1&bytes=x&messages=x", 4409)
			h.cut()
			h.again(t, 0)
			h.path = map[string]string{"/relay": "/tunnel", "/tunnel": "/relay"}[h.path]
			h.refused(t, "attempt=9&bytes=0&messages=0", 4404)
			_, _, _ = resumeDial(s.direct("Origin: null"), h.path+"?bytes=0&resume="+h.session.resume, "resume."+h.session.resume)
			_, _, _ = resumeDial(s.direct(), "/relay?host=x", "resume."+h.session.resume)
			h.cut()
		}
	}
	eventually(t, patience, "all are over", func() bool { return len(s.logLines(`"reason":"resume_timeout"`)) >= len(tokens) })
	s.signal(os.Interrupt)
	s.wait(patience)
	log := s.log()
	for _, token := range append(tokens, secret) {
		token = token[max(0, len(token)-43):] // what is before it may be no secret
		for at := 0; at+16 <= len(token); at += 8 {
			if strings.Contains(log, token[at:at+16]) {
				// It is not to be in this log, either.
				t.Fatalf("of %d characters of a token, or of what a session carries, those from %d on are in the log", len(token), at)
			}
		}
	}
}

// Hundreds of sessions that end in every way leave nothing.
func TestResumeCycles(t *testing.T) {
	t.Parallel()
	s := resumePlainServer(t, "METRICS_ADDR=127.0.0.1:0", "RESUME_TIMEOUT=1s")
	far := target(t, func(conn *net.TCPConn) { _, _ = io.Copy(conn, conn) })
	ends := []func(h *resumeHand){
		func(h *resumeHand) { _ = h.bye(1000); h.mustClose(t, 1000) },
		func(h *resumeHand) { _ = h.bye(3000); h.mustClose(t, 3000) },
		func(h *resumeHand) { _ = h.note(fields{"type": "eof"}); h.mustClose(t, 1000); _ = h.bye(1000) },
		func(h *resumeHand) { _ = h.note(fields{"type": "hello"}); h.mustClose(t, 1003) },
		func(h *resumeHand) { _ = h.ack(1<<50, 1<<50); h.mustClose(t, 1002) },
		func(h *resumeHand) { h.cut() },
		func(h *resumeHand) { h.again(t, 0); h.cut() },
		func(h *resumeHand) { old := *h; h.again(t, 0); old.cut(); _ = h.bye(1000); h.mustClose(t, 1000) },
		func(h *resumeHand) { h.session.resume += "x"; h.refused(t, "bytes=0&attempt=1", 4404) },
	}
	round := func(n int) {
		for i := range n {
			h := resumeBegin(t, s.direct(), relayPath(far))
			_ = h.data(5, []byte("hello"))
			h.receive(t, 5)
			ends[i%len(ends)](h)
			h.Close()
		}
		eventually(t, patience, "no session is left", func() bool { return s.metricLike(t, "wsproxy_relay_sessions") == 0 })
	}
	round(50)
	goroutines, descriptors := s.metricLike(t, "go_goroutines"), s.descriptors(t)
	round(500)
	eventually(t, patience, "nothing of them is left", func() bool {
		return s.metricLike(t, "go_goroutines") <= goroutines+10 && s.descriptors(t) <= descriptors+2
	})
}
