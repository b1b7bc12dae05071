package neighbour

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"wsproxy/internal/attack/wire"

	"github.com/gorilla/websocket"
)

// A Place is where the neighbour can be reached, for attacks on its own tunnel.
type Place struct {
	Host string // of its tunnel
	Raw  string // host:port of its raw port
}

// A Measure is how one kind of request of the neighbour's went.
type Measure struct {
	Requests int
	Failures int
	Failure  string // the first one
	Median   time.Duration
	P99      time.Duration
}

// A neighbour uses the server as one should, all the time.
type neighbour struct {
	server string
	plain  *wire.Tunnel // no credit; small HTTP and raw TCP
	large  *wire.Tunnel // large HTTP: a client that sends a large message sends nothing else meanwhile
	credit *wire.Tunnel // flow=credit

	// going is held for reading while a request is under way, so that whoever
	// holds it for writing sees all of them ended.
	going sync.RWMutex

	mu    sync.Mutex
	times map[string][]time.Duration // under mu, like all below
	fails map[string][]string
}

// What requests are answered with.
const (
	smallAnswer = "small"
	largeAnswer = 2 << 20 // bytes
)

// Run says where it is, and then, for each line that comes, how its
// requests went since the last one. The requests stop while it is asked.
func Run(server string) error {
	n := &neighbour{server: server, times: map[string][]time.Duration{}, fails: map[string][]string{}}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := n.start(ctx); err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(Place{Host: n.plain.Host, Raw: n.plain.Raw}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		n.going.Lock()
		report := n.report()
		n.going.Unlock()
		if err := out.Encode(report); err != nil {
			return err
		}
	}
	return nil
}

// report returns the measures and forgets them.
func (n *neighbour) report() map[string]Measure {
	n.mu.Lock()
	defer n.mu.Unlock()
	report := map[string]Measure{}
	var small []time.Duration
	for name, times := range n.times {
		m := Measure{Requests: len(times), Failures: len(n.fails[name]), Median: percentile(times, 50), P99: percentile(times, 99)}
		if m.Failures > 0 {
			m.Failure = n.fails[name][0]
		}
		report[name] = m
		if name != Large {
			small = append(small, times...)
		}
	}
	report[Small] = Measure{Requests: len(small), Median: percentile(small, 50), P99: percentile(small, 99)}
	clear(n.times)
	clear(n.fails)
	return report
}

// percentile returns the time that p of a hundred don't exceed.
func percentile(times []time.Duration, p int) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[(len(sorted)*p+99)/100-1]
}

// start opens the tunnels, and begins with the requests.
func (n *neighbour) start(ctx context.Context) error {
	service, err := net.Listen("tcp", net.JoinHostPort(wire.Source(wire.BlockNeighbour, 0), "0"))
	if err != nil {
		return err
	}
	go wire.ServeAll(service, func(c net.Conn) { _, _ = io.Copy(c, c) })

	large := []byte(strings.Repeat("0123456789abcdef", largeAnswer/16))
	n.plain = &wire.Tunnel{
		Request: func(t *wire.Tunnel, id, _ string) { _ = t.Answer(id, 200, []byte(smallAnswer)) },
		Data:    func(t *wire.Tunnel, id string, payload []byte) { _ = t.SendData(id, payload) },
	}
	n.large = &wire.Tunnel{Request: func(t *wire.Tunnel, id, _ string) { _ = t.Answer(id, 200, large) }}
	n.credit = &wire.Tunnel{Data: func(t *wire.Tunnel, id string, payload []byte) {
		credit := fmt.Sprintf(`{"type":"tcp_credit","connId":"%s","bytes":%d}`, id, len(payload))
		_ = t.Send(websocket.TextMessage, []byte(credit))
		_ = t.SendData(id, payload)
	}}
	for i, t := range []*wire.Tunnel{n.plain, n.large} {
		if err := t.Register(ctx, wire.Source(wire.BlockNeighbour, 10+i), n.server, "", true); err != nil {
			return err
		}
	}
	if err := n.credit.Register(ctx, wire.Source(wire.BlockNeighbour, 2), n.server, "flow=credit", true); err != nil {
		return err
	}
	for _, p := range n.probes(ctx, service.Addr()) {
		go n.run(ctx, p)
	}
	return nil
}

// run makes the requests of a probe, one at a time.
func (n *neighbour) run(ctx context.Context, p probe) {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		n.going.RLock()
		begun := time.Now()
		err := p.ask()
		n.note(p.name, time.Since(begun), err)
		n.going.RUnlock()
	}
}

func (n *neighbour) note(name string, took time.Duration, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.times[name] = append(n.times[name], took)
	if err != nil {
		n.fails[name] = append(n.fails[name], err.Error())
	}
}
