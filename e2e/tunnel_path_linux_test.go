package e2e

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

const pathMbit = 1_000_000 / 8

// tunnelPathServer is tunnelServer as it is released, because the race detector
// would be what is measured. What is outside reaches it directly.
func tunnelPathServer(t *testing.T, p *path, env ...string) *server {
	t.Helper()
	binary, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	first := tunnelPorts(t, 8)
	s := launchBinary(t, binary, append([]string{
		"BIND=" + p.near, "TUNNEL_DOMAIN=" + tunnelDomain, "TUNNEL_BIND=127.0.0.1", "MAX_CONNS_PER_IP=0",
		fmt.Sprintf("TUNNEL_PORT_MIN=%d", first), fmt.Sprintf("TUNNEL_PORT_MAX=%d", first+7),
	}, env...)...)
	s.addr, _ = s.waitLog(t, `"msg":"listening"`)["address"].(string)
	return s
}

// tunnelSpread returns the median of a probe's times, and how long nine of ten take
// at most.
func tunnelSpread(t *testing.T, probe func() (time.Duration, error)) (median, most time.Duration) {
	t.Helper()
	took := make([]time.Duration, 40)
	for i := range took {
		var err error
		if took[i], err = probe(); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*9/10]
}

// A keystroke and a small request take at most 100 ms more beside a hundred
// connections over which as much comes as the client's 10 Mbit/s take, though the
// router before them queues up a megabyte. And those get the 10 Mbit/s.
func TestTunnelKeystrokeBesideAHundredDownloads(t *testing.T) { // alone, because it measures
	p := newPath(t, pathRates{down: 10 * pathMbit, up: 10 * pathMbit, rtt: 20 * time.Millisecond, queue: 1 << 20, mtu: 1500})
	s := tunnelPathServer(t, p, "MAX_TUNNEL_TCP_CONNS=200", "MAX_TUNNEL_TCP_PER_IP=200")
	for _, query := range []string{"flow=credit", ""} {
		c := tunnelOpen(t, p.server(t, s), tunnelScript{query: query})
		ping, echo := tunnelPair(t, c)
		go tunnelEcho(c, echo)
		client := tunnelHTTP(t)
		key := func() (time.Duration, error) { return tunnelPing(ping) }
		request := func() (time.Duration, error) {
			began := time.Now()
			reply, err := tunnelAsk(client, s, http.MethodGet, c.host, "/x", nil, nil)
			if err == nil && reply.body != "/x" {
				err = fmt.Errorf("answered %+v", reply)
			}
			return time.Since(began), err
		}
		calmKey, _ := tunnelSpread(t, key)
		calmRequest, _ := tunnelSpread(t, request)

		var bulk sync.WaitGroup
		var insides []*tunnelRawConn
		for range 100 {
			outside, inside := tunnelPair(t, c)
			insides = append(insides, inside)
			bulk.Go(func() { _, _ = io.Copy(struct{ io.Writer }{outside}, struct{ io.Reader }{tunnelNoise(1)}) })
			bulk.Go(func() { _, _ = io.Copy(io.Discard, struct{ io.Reader }{inside}) })
		}
		arrived := func() (all []int) {
			for _, inside := range insides {
				all = append(all, inside.arrived())
			}
			return all
		}
		// The first seconds are TCP's, which has to find the path's rate.
		eventually(t, patience, "each has sent something", func() bool { return slices.Min(arrived()) > 0 })
		const more = 100 * time.Millisecond
		good := false
		var said []string
		for round := 0; round < 4 && !good; round++ { // others may use the processors
			began, before := time.Now(), arrived()
			busyKey, mostKey := tunnelSpread(t, key)
			busyRequest, mostRequest := tunnelSpread(t, request)
			eventually(t, patience, "five seconds", func() bool { return time.Since(began) > 5*time.Second })
			took, after := time.Since(began), arrived()
			sum, got := 0, make([]int, len(after))
			for i := range after {
				got[i] = after[i] - before[i]
				sum += got[i]
			}
			rate := float64(sum) / took.Seconds() / pathMbit
			least, most := slices.Min(got), slices.Max(got)
			good = mostKey <= calmKey+more && mostRequest <= calmRequest+more && rate > 8 && most-least <= 3*tunnelPayload
			said = append(said, fmt.Sprintf("a key takes %v alone, %v (nine of ten at most %v) beside them; a request %v, %v (%v); they get %.2f Mbit/s, each %d to %d bytes",
				calmKey, busyKey, mostKey, calmRequest, busyRequest, mostRequest, rate, least, most))
		}
		if t.Logf("%q: %q", query, said); !good {
			t.Errorf("%q: none of %q is good", query, said)
		}
		c.ws.Close()
		<-c.ended
		bulk.Wait()
	}
}

// One transfer from the client over 50 ms gets 150 Mbit/s and more, which is more than
// three times what 256 KiB on their way allow.
func TestTunnelCreditBecomesWide(t *testing.T) { // alone, because it measures
	p := newPath(t, pathRates{down: 400 * pathMbit, up: 400 * pathMbit, rtt: 50 * time.Millisecond, queue: 8 << 20, mtu: 9000})
	s := tunnelPathServer(t, p)
	c := tunnelOpen(t, p.server(t, s), tunnelScript{query: "flow=credit"})
	outside, inside := tunnelPair(t, c)
	_ = outside.SetDeadline(time.Time{})
	go func() { _, _ = io.Copy(struct{ io.Writer }{inside}, struct{ io.Reader }{tunnelNoise(1)}) }()
	good := false
	var said []string
	for round := 0; round < 8 && !good; round++ { // others may use the processors
		const size = 40 << 20
		began := time.Now()
		if _, err := io.CopyN(io.Discard, outside, size); err != nil {
			t.Fatal(err)
		}
		rate := size / time.Since(began).Seconds() / pathMbit
		good = rate >= 150
		said = append(said, fmt.Sprintf("%.0f Mbit/s", rate))
	}
	if t.Logf("%q", said); !good {
		t.Errorf("no 40 MiB are as fast as 150 Mbit/s: %q", said)
	}
}
