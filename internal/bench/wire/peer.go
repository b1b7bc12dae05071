package wire

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Every connection through a server begins with a hello, which tells the other end what
// the connection is: a mark, and a number. To echoID the other end sends back all that
// comes, hello and all.
const (
	helloMark = "wsbench!"
	helloSize = len(helloMark) + 8
	echoID    = 0
)

func appendHello(b []byte, id uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, helloMark...), id)
}

func parseHello(b []byte) (id uint64, ok bool) {
	if len(b) != helloSize || string(b[:len(helloMark)]) != helloMark {
		return 0, false
	}
	return binary.BigEndian.Uint64(b[len(helloMark):]), true
}

// A rendezvous hands the two ends of a connection to each other: one end is announced
// before it is opened, the other delivered when its hello comes.
type rendezvous[T any] struct {
	mu      sync.Mutex
	last    uint64            // under mu
	waiting map[uint64]chan T // under mu
}

func (r *rendezvous[T]) announce() (id uint64, arrival <-chan T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == nil {
		r.waiting = make(map[uint64]chan T)
	}
	r.last++
	ch := make(chan T, 1)
	r.waiting[r.last] = ch
	return r.last, ch
}

func (r *rendezvous[T]) deliver(id uint64, end T) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	ch, found := r.waiting[id]
	if found {
		delete(r.waiting, id)
		ch <- end
	}
	return found
}

// await waits until the other end of a connection through the server arrives.
func await[T any](r *Run, arrival <-chan T) (end T, err error) {
	timer := time.NewTimer(dialTimeout)
	defer timer.Stop()
	select {
	case end = <-arrival:
		return end, nil
	case <-timer.C:
		return end, fmt.Errorf("a connection through the server did not reach its other end within %v", dialTimeout)
	case <-r.ctx.Done():
		return end, r.Err()
	}
}

// connsPerPort is how many connections a peer takes at one port: the server's come from
// one address, which has some 28,000 ports towards each.
const connsPerPort = 5000

// A Peer is the target that relays lead to.
type Peer struct {
	rendezvous[net.Conn]
	run   *Run
	addrs []string
}

// NewPeer begins to listen, for so many connections. The end of the run ends it.
func (r *Run) NewPeer(conns int) (*Peer, error) {
	p := &Peer{run: r}
	for range 1 + conns/connsPerPort {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("the peer cannot listen: %w", err)
		}
		p.addrs = append(p.addrs, l.Addr().String())
		context.AfterFunc(r.ctx, func() { l.Close() })
		go p.accept(l)
	}
	return p, nil
}

func (p *Peer) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			if p.run.ctx.Err() == nil {
				p.run.Fail(fmt.Errorf("the peer can accept no more connections: %w", err))
			}
			return
		}
		go p.serve(p.run.closeAtEnd(conn))
	}
}

func (p *Peer) serve(conn *runConn) {
	buf := make([]byte, 2<<10)
	n, err := io.ReadFull(conn, buf[:helloSize])
	id, ok := parseHello(buf[:n])
	switch {
	case err != nil || !ok:
		conn.Close()
	case id == echoID:
		echo(conn, buf, n)
	case !p.deliver(id, conn):
		conn.Close()
	}
}

// echo sends the first n bytes of buf, and then all it reads, back.
func echo(conn net.Conn, buf []byte, n int) {
	defer conn.Close()
	for {
		if _, err := conn.Write(buf[:n]); err != nil {
			return
		}
		var err error
		if n, err = conn.Read(buf); n == 0 && err != nil {
			return
		}
	}
}

// Addr is where the i-th connection goes: the ports take turns.
func (p *Peer) Addr(i int) string { return p.addrs[i%len(p.addrs)] }

// path is that of the i-th relay.
func (p *Peer) path(i int) string {
	host, port, _ := net.SplitHostPort(p.Addr(i))
	return "/relay?host=" + host + "&port=" + port
}

// A Relay is a relay with both its ends.
type Relay struct {
	ID     uint64
	Client Client
	Target net.Conn
}

// Open opens the i-th relay, and waits for its target's end.
func (p *Peer) Open(i int, resume bool, buffers Buffers) (*Relay, error) {
	c, err := p.OpenClient(i, resume, buffers)
	if err != nil {
		return nil, err
	}
	id, arrival := p.announce()
	if err := c.Send(appendHello(nil, id)); err != nil {
		return nil, fmt.Errorf("a relay cannot be written to: %w", err)
	}
	target, err := await(p.run, arrival)
	if err != nil {
		return nil, err
	}
	return &Relay{id, c, target}, nil
}

// OpenClient opens the i-th relay, whose first message says what it is: a ping asks for an echo. resume
// says whether it outlives its WebSocket.
func (p *Peer) OpenClient(i int, resume bool, buffers Buffers) (Client, error) {
	if resume {
		return p.begin(i, buffers)
	}
	ws, err := p.run.OpenSocket(i, p.path(i), buffers)
	if err != nil {
		return nil, err
	}
	return &plain{ws: ws}, nil
}
