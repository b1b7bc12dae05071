package play

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"wsproxy/internal/attack/neighbour"
	"wsproxy/internal/attack/wire"
)

// politeness is the attacker's nice value. What it takes of the processor is not
// what the attacks are about.
const politeness = 10

// OrderVariable is the variable of the environment that has the Order, as JSON.
const OrderVariable = "ATTACK_ORDER"

// An Order says what the attacker does.
type Order struct {
	Name      string
	Server    string // host:port
	Neighbour neighbour.Place
	Short     bool
	Access    *AccessFiles // nil where there can be no such service
}

// A playing is an attack under way.
type playing struct {
	Order
	ctx context.Context // ends with the attack

	mu    sync.Mutex
	done  map[string]int // under mu: what the attack did, for the table
	kept  []net.Conn     // under mu
	error string         // under mu: the first thing that went wrong; many attacks are refused, so it's only told
}

// Run plays an attack until its standard input ends, and then says what it did.
func Run() error {
	var o Order
	if err := json.Unmarshal([]byte(os.Getenv(OrderVariable)), &o); err != nil {
		return err
	}
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, politeness); err != nil {
		return err
	}
	a, known := Named(o.Name)
	if !known {
		return fmt.Errorf("there is no attack %q", o.Name)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &playing{Order: o, ctx: ctx, done: map[string]int{}}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	p.check(a.play(p))
	<-ctx.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	return json.NewEncoder(os.Stdout).Encode(Deeds{p.done, p.error})
}

// Deeds are what an attack did, and the first thing that went wrong.
type Deeds struct {
	Done  map[string]int
	Error string
}

func (p *playing) count(what string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done[what] += n
}

// keep holds a connection that nobody reads or writes any more: one that nobody
// holds is closed by the garbage collection.
func (p *playing) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = append(p.kept, c)
}

// check notes an error, and reports whether there was none.
func (p *playing) check(err error) bool {
	if err == nil {
		return true
	}
	if p.ctx.Err() == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.error == "" {
			p.error = err.Error()
		}
	}
	return false
}

// pause waits; it reports whether the attack still goes on.
func (p *playing) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// paced calls do with 0, 1, ... at a rate a second, up to n times, until the
// attack ends. Calls run side by side, as many as many may wait.
func (p *playing) paced(n, rate int, do func(i int)) {
	const atOnce = 256
	const step = 10 * time.Millisecond
	room := make(chan struct{}, atOnce)
	begun := time.Now()
	for next := 0; next < n; {
		due := min(n, int(time.Since(begun).Seconds()*float64(rate))+1)
		for i := next; i < due; i++ {
			select {
			case room <- struct{}{}:
			case <-p.ctx.Done():
				return
			}
			go func() {
				defer func() { <-room }()
				do(i)
			}()
		}
		next = max(next, due)
		if !p.pause(step) {
			return
		}
	}
	for range atOnce { // until all have returned
		select {
		case room <- struct{}{}:
		case <-p.ctx.Done():
			return
		}
	}
}

// hold keeps n connections, opened at a rate a second, and opens another one
// for each that ends. It reads what comes on them and counts answers by status.
func (p *playing) hold(n, rate int, open func(i int) (net.Conn, error)) {
	free := make(chan int, n)
	for i := range n {
		free <- i
	}
	// More than anyone opens in an attack.
	const most = 1 << 30
	p.paced(most, rate, func(int) {
		var i int
		select {
		case i = <-free:
		case <-p.ctx.Done():
			return
		}
		c, err := open(i)
		if !p.check(err) {
			p.count("refused", 1)
			free <- i
			return
		}
		p.count("opened", 1)
		go func() {
			defer c.Close()
			p.readAnswers(c)
			free <- i
		}()
	})
}

// readAnswers reads until the connection ends.
func (p *playing) readAnswers(c net.Conn) {
	buffer := make([]byte, 512)
	for first := true; ; first = false {
		n, err := c.Read(buffer)
		if first && n >= 12 && string(buffer[:5]) == "HTTP/" {
			p.count(string(buffer[9:12]), 1)
		}
		if err != nil {
			return
		}
	}
}

// ofTunnels opens n tunnels, each from the address that from names, and returns
// those that the server granted.
func (p *playing) ofTunnels(n int, query string, reads bool, from func(i int) string, with func(i int, t *wire.Tunnel)) (tunnels []*wire.Tunnel) {
	for i := range n {
		t := &wire.Tunnel{}
		if with != nil {
			with(i, t)
		}
		if p.check(t.Register(p.ctx, from(i), p.Server, query, reads)) {
			tunnels = append(tunnels, t)
			p.count("tunnels", 1)
		}
	}
	return tunnels
}

// one gives every tunnel the same address.
func one(int) string { return wire.Source(wire.BlockUser, 0) }

// each gives every tunnel an address of its own.
func each(i int) string { return wire.Source(wire.BlockUser, 1+i) }

// write dials and writes.
func (p *playing) write(from, to string, receiveBuffer int, pieces ...[]byte) (net.Conn, error) {
	c, err := wire.DialFrom(p.ctx, from, to, receiveBuffer)
	if err != nil {
		return nil, err
	}
	_ = c.SetWriteDeadline(time.Now().Add(wire.RequestLimit))
	for _, piece := range pieces {
		if _, err := c.Write(piece); err != nil {
			c.Close()
			return nil, err
		}
	}
	_ = c.SetWriteDeadline(time.Time{})
	return c, nil
}
