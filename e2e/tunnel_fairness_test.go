package e2e

import (
	"fmt"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// tunnelP99 is how long 99 of 100 round trips take at most.
func tunnelP99(t *testing.T, conn net.Conn) time.Duration {
	t.Helper()
	took := make([]time.Duration, 300)
	for i := range took {
		var err error
		if took[i], err = tunnelPing(conn); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// tunnelPaced copies about 12 MiB a second until either side ends: a bulk
// transfer that leaves the processor some time, for it is the proxy that is
// measured and not the scheduler.
func tunnelPaced(to io.Writer, from io.Reader) {
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for {
		if _, err := io.CopyN(struct{ io.Writer }{to}, struct{ io.Reader }{from}, 64<<10); err != nil {
			return
		}
		<-pace.C
	}
}

// A few bytes there and back take at most ten times as long beside a bulk
// transfer on the same tunnel as without. That holds also for one that the
// tunnel's client is too slow for, and with credit for one whose receiver is,
// so that all that may wait does.
func TestTunnelFairness(t *testing.T) { // alone, because it measures
	// noise is what the calm ones are taken to need at least: how long a
	// goroutine may wait for a processor when others use it.
	const noise = 3 * time.Millisecond
	s := tunnelServer(t)
	for _, test := range []struct {
		query string
		out   bool   // the bulk goes from the client to the outside
		slow  string // what keeps the pace: sender, receiver, or the client's WebSocket
	}{
		{"", false, "sender"}, {"", true, "sender"}, {"", false, "client"},
		{"flow=credit", false, "sender"}, {"flow=credit", true, "sender"}, {"flow=credit", false, "client"},
		{"flow=credit", false, "receiver"}, {"flow=credit", true, "receiver"},
	} {
		var slow atomic.Bool
		pace := time.NewTicker(time.Millisecond) // one message each: 32 MiB a second
		defer pace.Stop()
		c := tunnelOpen(t, s, tunnelScript{query: test.query, read: func(*tunnelClient, int) bool {
			if slow.Load() {
				<-pace.C
			}
			return true
		}})
		ping, echo := tunnelPair(t, c)
		go tunnelEcho(c, echo)
		fair := false
		var said []string
		for round := 0; round < 5 && !fair; round++ {
			calm := tunnelP99(t, ping)
			outside, inside := tunnelPair(t, c)
			_ = outside.SetReadBuffer(64 << 10)
			ended := make(chan struct{}, 2)
			bulk := func(paced bool, to io.Writer, from io.Reader) {
				if paced {
					tunnelPaced(to, from)
				} else {
					_, _ = io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
				}
				ended <- struct{}{}
			}
			if test.out {
				go bulk(test.slow == "sender", inside, tunnelNoise(1))
				go bulk(test.slow == "receiver", io.Discard, outside)
			} else {
				go bulk(test.slow == "sender", outside, tunnelNoise(1))
				go bulk(test.slow == "receiver", io.Discard, inside)
			}
			slow.Store(test.slow == "client")
			busy := tunnelP99(t, ping)
			slow.Store(false)
			outside.Close() // which ends both
			<-ended
			<-ended
			_ = inside.Close()
			fair = busy <= 10*max(calm, noise)
			said = append(said, fmt.Sprintf("%v calm, %v busy", calm, busy))
		}
		if t.Logf("%+v: %v", test, said); !fair {
			t.Errorf("%+v: none of %v is fair", test, said)
		}
	}
}
