package soak

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"wsproxy/internal/bench/measure"
	"wsproxy/internal/bench/wire"
)

// How much of each kind there is. All together they keep about half a processor of the
// server busy.
const (
	pinging     = 50 // relays
	lasting     = 20 // relays that outlive their WebSocket, and lose it
	transfers   = 2  // relays that move bytes, one after the other
	connecting  = 4  // who open and close relays
	clients     = 8  // of HTTP, for each tunnel
	raws        = 8  // raw connections that ping
	churning    = 2  // who open and close tunnels
	pingEvery   = 100 * time.Millisecond
	cutEvery    = 2 * time.Second
	rest        = 50 * time.Millisecond // between two of those that come and go
	moved       = 4 << 20               // bytes of a transfer each way
	smallBody   = 1 << 10
	largeBody   = 256 << 10
	pingSize    = 512
	messageSize = 16 << 10
	ports       = 10_000 // as for so many connections of a peer
)

// work is what is done until a time.
type work struct {
	*wire.Run
	end  time.Time
	peer *wire.Peer

	pings                              measure.Histogram
	bytes, requests, opened, resumed   atomic.Int64
	tunnelsOpened, rawPings, transfers atomic.Int64
}

// all does everything until the end, and returns what failed.
func (w *work) all() error {
	var err error
	if w.peer, err = w.NewPeer(ports); err != nil {
		return err
	}
	json, err := w.OpenTunnel(0, wire.TunnelOptions{Body: smallBody})
	if err != nil {
		return err
	}
	bytes, err := w.OpenTunnel(1, wire.TunnelOptions{Body: largeBody, Bytes: true, NoRaw: true})
	if err != nil {
		return err
	}
	var kinds []func(i int) error
	add := func(n int, f func(i int) error) {
		for range n {
			kinds = append(kinds, f)
		}
	}
	add(pinging, w.ping)
	add(lasting, w.last)
	add(transfers, w.transfer)
	add(connecting, w.connect)
	add(churning, w.churn)
	add(clients, func(i int) error { return w.ask(i, json.Host, smallBody) })
	add(clients, func(i int) error { return w.ask(i, bytes.Host, largeBody) })
	add(raws, func(i int) error { return w.raw(i, json) })
	return w.Parallel(len(kinds), len(kinds), func(i int) error { return kinds[i](i) })
}

// repeat calls f until the end, with a rest between.
func (w *work) repeat(rest time.Duration, f func(n int) error) error {
	for n := 0; time.Now().Before(w.end); n++ {
		err := f(n)
		if err == nil {
			err = w.Sleep(rest)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *work) open(i int, resume bool) (wire.Client, error) {
	return w.peer.OpenClient(i, resume, wire.Buffers{Read: 4 << 10, Write: messageSize + 100})
}

// ping keeps a relay that pings.
func (w *work) ping(i int) error {
	c, err := w.open(i, false)
	if err != nil {
		return err
	}
	return w.Paced(wire.ClientPinger(c, pingSize), w.end, pingEvery, func(d time.Duration, _ bool) { w.pings.Record(d) })
}

// last keeps a relay that loses its WebSocket again and again, also in the middle of a
// ping.
func (w *work) last(i int) error {
	c, err := w.open(i, true)
	if err != nil {
		return err
	}
	s := c.(*wire.Session)
	over := make(chan struct{})
	defer close(over)
	go func() {
		tick := time.NewTicker(cutEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.Cut()
			case <-over:
				return
			}
		}
	}()
	err = w.Paced(wire.ClientPinger(c, pingSize), w.end, pingEvery, func(time.Duration, bool) {})
	w.resumed.Add(s.TakeUps())
	return err
}

// transfer moves bytes both ways through relays, one after the other.
func (w *work) transfer(i int) error {
	return w.repeat(rest, func(n int) error {
		r, err := w.peer.Open(i, n%2 == 1, wire.Buffers{Read: 64 << 10, Write: messageSize + 100})
		if err != nil {
			return err
		}
		// The last byte down follows the last byte up: until then the client reads, and
		// hears what it may send.
		arrived := make(chan struct{})
		down := wire.NewStream(r.ID, wire.LaneDown)
		flows := []func() error{
			func() error {
				return wire.SendClient(r.Client, wire.NewStream(r.ID, wire.LaneUp), moved, messageSize)
			},
			func() error {
				defer close(arrived)
				return wire.ReceiveTCP(r.Target, wire.NewStream(r.ID, wire.LaneUp), moved)
			},
			func() error {
				err := wire.SendTCP(r.Target, down, moved)
				<-arrived
				return errors.Join(err, wire.SendTCP(r.Target, down, 1))
			},
			func() error { return wire.ReceiveClient(r.Client, wire.NewStream(r.ID, wire.LaneDown), moved+1) },
		}
		if err := w.Parallel(len(flows), len(flows), func(k int) error { return flows[k]() }); err != nil {
			return fmt.Errorf("a transfer: %w", err)
		}
		w.transfers.Add(1)
		w.bytes.Add(2 * moved)
		r.Client.Close()
		return r.Target.Close()
	})
}

// connect opens relays, uses them and closes them.
func (w *work) connect(i int) error {
	return w.repeat(rest, func(n int) error {
		c, err := w.open(i, n%2 == 1)
		if err != nil {
			return err
		}
		_, _, err = wire.ClientPinger(c, pingSize).Ping()
		w.opened.Add(1)
		c.Close()
		return err
	})
}

// churn opens tunnels, asks them for something and closes them.
func (w *work) churn(i int) error {
	return w.repeat(rest, func(n int) error {
		t, err := w.OpenTunnel(i, wire.TunnelOptions{Body: smallBody, Bytes: n%2 == 1, NoRaw: n%3 != 0})
		if err != nil {
			return err
		}
		defer t.Close()
		w.tunnelsOpened.Add(1)
		c := w.NewRequester(i, t.Host, smallBody)
		defer c.Close()
		return w.do(c)
	})
}

// ask asks a tunnel again and again, over a connection that stays for some time.
func (w *work) ask(i int, host string, body int64) error {
	const perConnection = 100
	c := w.NewRequester(i, host, body)
	return w.repeat(rest, func(n int) error {
		if n%perConnection == 0 {
			c.Close()
		}
		return w.do(c)
	})
}

func (w *work) do(c *wire.Requester) error {
	status, err := c.Do()
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("the status is %d", status)
	}
	if err != nil {
		return fmt.Errorf("a request: %w", err)
	}
	w.requests.Add(1)
	return nil
}

// raw keeps raw connections that ping, each for a while.
func (w *work) raw(i int, t *wire.Tunnel) error {
	const perConnection = 50
	return w.repeat(rest, func(int) error {
		r, err := t.OpenRaw(i)
		if err != nil {
			return err
		}
		defer r.Peer.Close()
		if err := r.Client.Echo(); err != nil {
			return err
		}
		p := wire.ConnPinger(r.Peer, pingSize)
		for range perConnection {
			if _, _, err := p.Ping(); err != nil {
				return fmt.Errorf("a raw connection: %w", err)
			}
			w.rawPings.Add(1)
			if err := w.Sleep(rest); err != nil {
				return err
			}
		}
		return nil
	})
}
