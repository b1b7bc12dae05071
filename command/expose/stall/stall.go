package stall

import (
	"sync/atomic"
	"time"
)

// interval is how often a write that is still under way is looked after. It costs
// nothing while writes are short.
const interval = time.Second

// A Guard looks after writes of one goroutine.
type Guard struct {
	// Broken reports whether the other side has ended by force. It must not block.
	Broken func() bool
	// Abort ends the write.
	Abort func()

	writing atomic.Bool
	armed   atomic.Bool
}

// Write calls write with b.
func (g *Guard) Write(write func([]byte) (int, error), b []byte) (int, error) {
	g.writing.Store(true)
	if !g.armed.Load() {
		g.arm()
	}
	n, err := write(b)
	g.writing.Store(false)
	return n, err
}

func (g *Guard) arm() {
	g.armed.Store(true)
	time.AfterFunc(interval, func() {
		switch {
		case !g.writing.Load():
			g.armed.Store(false)
		case g.Broken():
			g.Abort()
		default:
			g.arm()
		}
	})
}
