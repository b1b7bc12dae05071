// Package wire is what the attacker and its neighbour speak with the server by:
// connections from addresses of their own, WebSockets, and the client of a
// tunnel. It is written from the contract alone, and imports nothing of the
// server.
package wire

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// The blocks of source addresses. Each is 127.BLOCK.0.0/16.
const (
	BlockNeighbour = 9  // the neighbour's clients and services
	BlockUser      = 10 // the attacker's own relays and tunnels
	BlockOutside   = 11 // the attacker's outside clients
)

const (
	// RequestLimit is how long the neighbour waits for anything.
	RequestLimit = 10 * time.Second
	// SmallBuffer is the receive buffer of a client that reads nothing: what
	// waits for it then waits in the server and not here.
	SmallBuffer = 4096
)

// Source returns the i-th address of a block.
func Source(block, i int) string {
	return fmt.Sprintf("127.%d.%d.%d", block, i/250, 1+i%250)
}

// ServeAll gives each connection of a listener to serve, until the listener is
// closed.
func ServeAll(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}
}
