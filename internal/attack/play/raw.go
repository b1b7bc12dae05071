package play

import (
	"net"
	"sync"
	"time"

	"wsproxy/internal/attack/wire"
)

// peersOf is how many raw connections a tunnel's peers open from an address, so
// that no limit of an address holds them up.
const peersOf = 25

// peer dials the j-th raw connection of the i-th tunnel.
func (p *playing) peer(t *wire.Tunnel, i, j, receiveBuffer int) (net.Conn, error) {
	return wire.DialFrom(p.ctx, wire.Source(wire.BlockOutside, 10*i+j/peersOf), t.Raw, receiveBuffer)
}

// noCredit: the client of a tunnel with credit gives none, and takes no request.
func noCredit(p *playing) error {
	tunnels := p.ofTunnels(1, "flow=credit", true, one, nil)
	p.senders(tunnels, 100)
	return nil
}

// clientUnread: what waits on the way to clients that read nothing.
func clientUnread(p *playing) error {
	tunnels := p.ofTunnels(4, "", false, one, nil)
	p.senders(tunnels, 100)
	body := make([]byte, 1<<20)
	p.hold(20*len(tunnels), 100, func(i int) (net.Conn, error) {
		t := tunnels[i%len(tunnels)]
		return p.write(wire.Source(wire.BlockOutside, 200+i%10), p.Server, 0, head("POST", t.Host, "Content-Length: 1048576\r\n\r\n"), body)
	})
	return nil
}

// senders opens raw connections to tunnels, which send all they can.
func (p *playing) senders(tunnels []*wire.Tunnel, perTunnel int) {
	chunk := make([]byte, 64<<10)
	for i, t := range tunnels {
		p.paced(perTunnel, 500, func(j int) {
			c, err := p.peer(t, i, j, 0)
			if !p.check(err) {
				return
			}
			p.count("peers", 1)
			// What waits is to wait in the server, and not here.
			_ = c.(*net.TCPConn).SetWriteBuffer(len(chunk))
			go func() {
				for p.pause(10 * time.Millisecond) {
					if _, err := c.Write(chunk); err != nil {
						return
					}
					p.count("KiB", len(chunk)>>10)
				}
			}()
		})
	}
}

// rawUnread: peers that read nothing, for each of which the client sends what
// needs no room beyond its own; or, if endless, all that the server takes.
func rawUnread(endless bool) func(p *playing) error {
	return func(p *playing) error {
		const share = 1<<20 - 4096
		const peers = 99
		chunk := make([]byte, 32<<10)
		queues := make([]*peerQueue, 10)
		tunnels := p.ofTunnels(10, "", true, each, func(i int, t *wire.Tunnel) {
			q := &peerQueue{left: map[string]int{}, endless: endless}
			queues[i] = q
			t.Open = func(_ *wire.Tunnel, id string) { q.set(id, share) }
			t.Closed = func(_ *wire.Tunnel, id string) { p.count("closed", q.remove(id)) }
		})
		for i, t := range tunnels {
			go func() {
				for p.ctx.Err() == nil {
					id, n := queues[i].next(len(chunk))
					if id == "" {
						p.pause(5 * time.Millisecond)
						continue
					}
					if t.SendData(id, chunk[:n]) != nil {
						return
					}
					p.count("KiB", n>>10)
				}
			}()
		}
		if len(tunnels) == 0 {
			return nil
		}
		p.paced(peers*len(tunnels), 700, func(k int) {
			c, err := p.peer(tunnels[k%len(tunnels)], k%len(tunnels), k/len(tunnels), wire.SmallBuffer)
			if p.check(err) {
				p.keep(c)
				p.count("peers", 1)
			}
		})
		return nil
	}
}

// A peerQueue says to whom a tunnel's client sends next, in turns.
type peerQueue struct {
	endless bool

	mu    sync.Mutex
	turns []string       // under mu
	left  map[string]int // under mu: bytes still to send
}

func (q *peerQueue) set(id string, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.left[id] = n
	q.turns = append(q.turns, id)
}

// remove returns how many it has removed.
func (q *peerQueue) remove(id string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, known := q.left[id]; !known {
		return 0
	}
	delete(q.left, id)
	return 1
}

func (q *peerQueue) next(most int) (id string, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.turns) > 0 {
		id, q.turns = q.turns[0], q.turns[1:]
		left, known := q.left[id]
		if !known || left == 0 {
			continue
		}
		n = min(left, most)
		if !q.endless {
			q.left[id] = left - n
		}
		q.turns = append(q.turns, id)
		return id, n
	}
	return "", 0
}

// rawIdle: connections that take the slots of somebody else's raw port.
func rawIdle(p *playing) error {
	p.hold(110, 400, func(int) (net.Conn, error) {
		return wire.DialFrom(p.ctx, wire.Source(wire.BlockOutside, 0), p.Neighbour.Raw, 0)
	})
	return nil
}

// rawGlobal: connections that take the slots of all tunnels together.
func rawGlobal(p *playing) error {
	tunnels := p.ofTunnels(10, "", true, one, nil)
	if len(tunnels) == 0 {
		return nil
	}
	p.hold(100*len(tunnels), 1500, func(k int) (net.Conn, error) {
		i, j := k%len(tunnels), k/len(tunnels)
		return p.peer(tunnels[i], i, j, 0)
	})
	return nil
}

// rawChurn: connections that come and go.
func rawChurn(p *playing) error {
	t, err := p.silent()
	if err != nil {
		return err
	}
	rate := 8750
	if p.Short { // then there may be others on the machine
		rate = 2500
	}
	p.paced(8*rate, rate, func(i int) {
		c, err := wire.DialFrom(p.ctx, wire.Source(wire.BlockOutside, i%1000), t.Raw, 0)
		if p.check(err) {
			p.count("connections", 1)
			_ = c.(*net.TCPConn).SetLinger(0) // no port of ours is left waiting
			c.Close()
		}
	})
	return nil
}
