package e2e

import (
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Directions of a cutter's pumps.
const (
	toServer = iota
	toClient
)

// Where a cut falls.
const (
	cutNow     = iota // wherever the streams are
	cutRequest        // within the handshake
	cutHeader         // within the header of a frame
	cutPayload        // within a frame of data
	cutClosing        // within a close frame
	cutFirst          // within the first frame
	cutTail           // 1 to 8 bytes before the end of a frame of data
	cutWheres
)

// How a connection ends.
const (
	cutReset   = iota // RST both ways
	cutFIN            // FIN both ways
	cutSilence        // everything that still comes vanishes, both ways
	cutStall          // nothing is read any more
	cutClose          // a close frame (1001) is written wherever the streams are, then FIN
	cutHows
)

// A cut is one that is to come.
type cut struct {
	way, where, how int
	kept            int // cutTail: bytes before the end
}

// A cutter is a TCP proxy that cuts its connections.
type cutter struct {
	behind string
	l      net.Listener
	// plan is what happens to each new connection; nil does nothing. from, if not
	// nil, is the address from which the server is dialled. They and late are set
	// before the first one comes, by who makes it.
	plan func() *cut
	from func() net.IP
	late time.Duration // after which a cut falls anywhere
	calm atomic.Bool   // no more cuts

	all    sync.WaitGroup
	cuts   [cutWheres]atomic.Int32
	mu     sync.Mutex
	ended  bool              // under mu
	conns  map[*cutConn]bool // under mu: that pass bytes on
	held   []*cutConn        // under mu: silent and stalled ones, the oldest first
	closed chan struct{}
}

// cutHeld is how many connections stay open that are dead.
const cutHeld = 16

// newCutter starts one before a server, as set makes it. It ends with the test.
func newCutter(t testing.TB, behind string, set ...func(*cutter)) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &cutter{behind: behind, l: l, late: 300 * time.Millisecond, conns: map[*cutConn]bool{}, closed: make(chan struct{})}
	for _, change := range set {
		change(p)
	}
	p.all.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		close(p.closed)
		p.mu.Lock()
		p.ended = true
		open := slices.Clone(p.held)
		for c := range p.conns {
			open = append(open, c)
		}
		p.mu.Unlock()
		for _, c := range open {
			c.close()
		}
		p.all.Wait()
	})
	return p
}

func (p *cutter) via() resumeVia { return resumeVia{addr: p.l.Addr().String()} }

func (p *cutter) accept() {
	for {
		near, err := p.l.Accept()
		if err != nil {
			return
		}
		p.all.Go(func() { p.serve(near.(*net.TCPConn)) })
	}
}

func (p *cutter) serve(near *net.TCPConn) {
	dialer := net.Dialer{Timeout: patience}
	if p.from != nil {
		dialer.LocalAddr = &net.TCPAddr{IP: p.from()}
	}
	far, err := dialer.Dial("tcp", p.behind)
	if err != nil {
		near.Close()
		return
	}
	c := &cutConn{p: p, ends: [2]*net.TCPConn{far.(*net.TCPConn), near}}
	if p.plan != nil {
		c.arm(p.plan())
	}
	p.mu.Lock()
	p.conns[c] = true
	ended := p.ended
	p.mu.Unlock()
	if ended {
		c.close()
	}
	var both sync.WaitGroup
	both.Go(func() { c.pump(toServer) })
	both.Go(func() { c.pump(toClient) })
	both.Wait()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
	if c.how.Load() != cutStall+1 {
		c.close()
	}
}

// random returns a cut of any kind.
func (p *cutter) random() *cut {
	return &cut{way: rand.IntN(2), where: rand.IntN(cutWheres), how: rand.IntN(cutHows), kept: 1 + rand.IntN(8)}
}

// harass cuts a connection now and then, until the test ends.
func (p *cutter) harass(least, most time.Duration, next func() *cut) {
	p.all.Go(func() {
		for {
			select {
			case <-p.closed:
				return
			case <-time.After(least + rand.N(most-least)):
			}
			p.mu.Lock()
			for c := range p.conns { // in no order
				c.arm(next())
				break
			}
			p.mu.Unlock()
		}
	})
}

// hold keeps a dead connection open, and drops the oldest one.
func (p *cutter) hold(c *cutConn) {
	p.mu.Lock()
	delete(p.conns, c)
	p.held = append(p.held, c)
	var oldest *cutConn
	if len(p.held) > cutHeld || p.ended {
		oldest, p.held = p.held[0], p.held[1:]
	}
	p.mu.Unlock()
	if oldest != nil {
		oldest.close()
	}
}

// A cutConn is one connection through a cutter.
type cutConn struct {
	p    *cutter
	ends [2]*net.TCPConn // to which bytes go, by direction
	next atomic.Pointer[cut]
	how  atomic.Int32 // 1 + how it was cut, 0 as long as it passes bytes on
}

// arm says what is to happen. What needs a frame that doesn't come happens all the
// same a moment later.
func (c *cutConn) arm(next *cut) {
	if next == nil || c.p.calm.Load() || !c.next.CompareAndSwap(nil, next) {
		return
	}
	late := c.p.late
	if next.where == cutNow {
		late = 0
	}
	time.AfterFunc(late, func() {
		if c.next.CompareAndSwap(next, nil) {
			c.end(&cut{way: next.way, where: cutNow, how: next.how})
		}
	})
}

func (c *cutConn) close() {
	for _, end := range c.ends {
		end.Close()
	}
}

// end ends the connection in the way of the cut.
func (c *cutConn) end(cut *cut) {
	if !c.how.CompareAndSwap(0, int32(cut.how)+1) {
		return
	}
	c.p.cuts[cut.where].Add(1)
	switch cut.how {
	case cutReset:
		for _, end := range c.ends {
			_ = end.SetLinger(0)
		}
		c.close()
	case cutClose:
		for way, end := range c.ends {
			_ = end.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = end.Write(cutCloseFrame(way))
		}
		fallthrough
	case cutFIN:
		for _, end := range c.ends {
			end.CloseWrite()
			_ = end.SetReadDeadline(time.Now().Add(5 * time.Second)) // until then the pumps discard
		}
	case cutSilence, cutStall:
		c.p.hold(c)
	}
}

// cutCloseFrame is what a front proxy writes when it reloads. Some versions don't
// mask what goes to the server.
func cutCloseFrame(way int) []byte {
	var text string
	if rand.IntN(2) == 0 {
		text = "going away"
	}
	payload := closePayload(1001, text)
	if way == toServer && rand.IntN(2) == 0 {
		return frame(finBit|opClose, payload)
	}
	return append([]byte{finBit | opClose, byte(len(payload))}, payload...)
}

// pump passes on what comes for one direction.
func (c *cutConn) pump(way int) {
	to, from := c.ends[way], c.ends[1-way]
	scan := &cutScan{c: c, way: way}
	for buf := make([]byte, 32<<10); ; {
		n, err := from.Read(buf)
		switch c.how.Load() {
		case 0:
			pass, cut := scan.take(buf[:n])
			if _, werr := to.Write(pass); werr != nil && err == nil {
				err = werr
			}
			if cut != nil {
				c.end(cut)
			}
		case cutStall + 1:
			return
		}
		if err != nil {
			if c.how.Load() == 0 {
				_, _ = to.Write(scan.rest)
			}
			if c.how.Load() != cutSilence+1 {
				to.CloseWrite()
			}
			return
		}
	}
}
