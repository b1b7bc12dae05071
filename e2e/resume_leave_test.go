package e2e

import (
	"encoding/json"
	"io"
	"net"
	"testing"
	"time"
)

// What a tunnel's client has sent before its close frame is delivered, though the memory
// for it was used up when that came.
func TestResumeTunnelClosesBehindTheRest(t *testing.T) {
	t.Parallel()
	s := resumeTunnelServer(t, "TUNNEL_BUFFER_TOTAL=1MiB", "TUNNEL_BUFFER=1MiB", "TUNNEL_STALL_TIMEOUT=20s")
	h := resumeBegin(t, s.direct(), resumeTunnelQuery)
	type message struct {
		Type, ConnID string
		RawPort      int
		Bytes        int
	}
	position, sent, credit := uint64(0), map[string]int{}, map[string]int{}
	var outside []net.Conn
	received := uint64(0)
	next := func(wait time.Duration) (m message, ok bool) {
		for {
			_ = h.SetReadDeadline(time.Now().Add(wait))
			got, err := h.read()
			if isTimeout(err) {
				return m, false
			} else if err != nil {
				t.Fatal(err)
			}
			if got.note != nil {
				continue
			}
			received++
			_ = h.ack(received, received+64)
			if json.Unmarshal(got.payload, &m) == nil {
				return m, true
			}
		}
	}
	ready, _ := next(patience)
	for range 3 {
		outside = append(outside, tunnelDial(t, ready.RawPort))
		open, _ := next(patience)
		credit[open.ConnID] = 256 << 10
	}
	ids := []string{}
	for id := range credit {
		ids = append(ids, id)
	}
	for {
		stuck := true
		for _, id := range ids {
			for credit[id] >= 32<<10 {
				stuck = false
				position++
				credit[id] -= 32 << 10
				sent[id] += 32 << 10
				if err := h.data(position, tunnelFrame(id, make([]byte, 32<<10))); err != nil {
					t.Fatal(err)
				}
			}
		}
		m, ok := next(1200 * time.Millisecond)
		if !ok && stuck {
			break
		}
		if m.Type == "tcp_credit" {
			credit[m.ConnID] += m.Bytes
		} else if ok {
			t.Fatalf("%+v", m)
		}
	}
	for _, id := range ids {
		_ = h.note(fields{"type": "tcp_close", "connId": id})
	}
	_ = h.bye(1000)
	total, got := 0, 0
	for _, id := range ids {
		total += sent[id]
	}
	<-time.After(300 * time.Millisecond)
	ends := make(chan int)
	for _, conn := range outside {
		go func() {
			n, err := io.Copy(io.Discard, conn)
			if err != nil {
				t.Errorf("after %d bytes: %v", n, err)
			}
			ends <- int(n)
		}()
	}
	for range outside {
		got += <-ends
	}
	if got != total {
		t.Errorf("of %d bytes the outside gets %d", total, got)
	}
}
