package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// Sessions are taken over again and again while their WebSockets are full of
// messages: what an old one has brought, and what the new one brings, is passed on in
// order.
func TestResumeTakeoverWhileSending(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	const sessions, rounds, piece, longest = 12, 40, resumeMost, 80 << 20
	noise := make([]byte, longest)
	_, _ = io.ReadFull(tunnelNoise(5), noise)
	ended := make(chan error, sessions)
	far := target(t, func(conn *net.TCPConn) {
		at, buf := 0, make([]byte, 64<<10)
		for {
			n, err := conn.Read(buf)
			if !bytes.Equal(buf[:n], noise[at:at+n]) {
				ended <- fmt.Errorf("those from %d to %d are not the ones that were sent", at, at+n)
				return
			}
			if at += n; err != nil {
				ended <- nil
				return
			}
		}
	})
	var all sync.WaitGroup
	for range sessions {
		h := resumeBegin(t, s.direct(), relayPath(far))
		all.Go(func() {
			position, limit := uint64(0), h.session.limit
			for attempt := range rounds {
				old := h.resumeSocket
				sent := make(chan struct{})
				go func(at, limit uint64) {
					defer close(sent)
					for at < limit {
						next := min(at+piece, limit)
						if old.data(next, noise[at:next]) != nil {
							return
						}
						at = next
					}
				}(position, min(limit, longest))
				w, _, err := resumeDial(h.via, fmt.Sprintf("/relay?bytes=0&attempt=%d", 1+attempt), resumeProtocol, "resume."+h.session.resume)
				if err != nil {
					t.Error(err)
					return
				}
				defer w.Close()
				m, err := w.read()
				if err != nil || m.note == nil || m.note.kind != "resumed" {
					t.Errorf("take-over %d: %.100q, %v", attempt, m.payload, err)
					return
				}
				old.Close()
				<-sent
				h.resumeSocket, position, limit = w, m.note.position, max(limit, m.note.limit)
			}
			_ = h.note(fields{"type": "eof"})
		})
	}
	all.Wait()
	for range sessions {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
