package e2e

import (
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

// tunnelNoise99 is what 99 of 100 calm round trips are taken to need at least:
// how long a goroutine may wait for a processor when others use it.
const tunnelNoise99 = 3 * time.Millisecond

// tunnelP99 is how long 99 of 100 round trips of a connection take at most.
func tunnelP99(t *testing.T, conn net.Conn) time.Duration {
	t.Helper()
	return tunnelP99Of(t, func() (time.Duration, error) { return tunnelPing(conn) })
}

// tunnelP99Of is that of anything, which may not fail.
func tunnelP99Of(t *testing.T, probe func() (time.Duration, error)) time.Duration {
	t.Helper()
	took := make([]time.Duration, 300)
	for i := range took {
		var err error
		if took[i], err = probe(); err != nil {
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
// transfer on the same tunnel as without. With credit that holds also for one
// whose receiver is what slows it, so that all that may wait does.
func TestTunnelFairness(t *testing.T) { // alone, because it measures
	s := tunnelServer(t)
	for _, test := range []struct {
		query string
		out   bool   // the bulk goes from the client to the outside
		slow  string // what keeps the pace: sender or receiver
	}{
		{"", false, "sender"}, {"", true, "sender"},
		{"flow=credit", false, "sender"}, {"flow=credit", true, "sender"},
		{"flow=credit", false, "receiver"}, {"flow=credit", true, "receiver"},
	} {
		c := tunnelOpen(t, s, tunnelScript{query: test.query})
		ping, echo := tunnelPair(t, c)
		go tunnelEcho(c, echo)
		fair := false
		var said []string
		for round := 0; round < 5 && !fair; round++ {
			calm := tunnelP99(t, ping)
			outside, inside := tunnelPairBuffer(t, c, 64<<10)
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
			busy := tunnelP99(t, ping)
			outside.Close() // which ends both
			<-ended
			<-ended
			_ = inside.Close()
			fair = busy <= 10*max(calm, tunnelNoise99)
			said = append(said, fmt.Sprintf("%v calm, %v busy", calm, busy))
		}
		if t.Logf("%+v: %v", test, said); !fair {
			t.Errorf("%+v: none of %v is fair", test, said)
		}
	}
}

// With credit, a peer that does not read delays neither an echo nor requests of
// its tunnel: none fails, and they take three times as long at most as before.
func TestTunnelCreditStall(t *testing.T) { // alone, because it measures
	s := tunnelServer(t)
	c := tunnelOpen(t, s, tunnelScript{query: "flow=credit"})
	ping, echo := tunnelPair(t, c)
	go tunnelEcho(c, echo)
	client := tunnelHTTP(t)
	request := func() (time.Duration, error) {
		began := time.Now()
		reply, err := tunnelAsk(client, s, "GET", c.host, "/x", nil, nil)
		if err == nil && reply.body != "/x" {
			err = fmt.Errorf("answered %+v", reply)
		}
		return time.Since(began), err
	}
	fair := false
	var said []string
	for round := 0; round < 5 && !fair; round++ {
		calmEcho, calmHTTP := tunnelP99(t, ping), tunnelP99Of(t, request)
		outside, inside := tunnelPairBuffer(t, c, 4096)
		ended := make(chan struct{})
		sent := &counter{Writer: inside}
		go func() {
			defer close(ended)
			_, _ = io.CopyBuffer(sent, struct{ io.Reader }{tunnelNoise(1)}, make([]byte, tunnelPayload))
		}()
		sent.stuck(t)
		stalledEcho, stalledHTTP := tunnelP99(t, ping), tunnelP99Of(t, request)
		_ = outside.SetLinger(0)
		outside.Close()
		<-ended
		if reason := inside.reason(t); reason != "reset" {
			t.Errorf("the one that did not read was closed for %s", reason)
		}
		fair = stalledEcho <= 3*max(calmEcho, tunnelNoise99) && stalledHTTP <= 3*max(calmHTTP, tunnelNoise99)
		said = append(said, fmt.Sprintf("echo %v calm, %v stalled; HTTP %v calm, %v stalled", calmEcho, stalledEcho, calmHTTP, stalledHTTP))
	}
	if t.Logf("%q", said); !fair {
		t.Errorf("none of %q is within three times the calm one", said)
	}
}
