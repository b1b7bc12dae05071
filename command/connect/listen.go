package connect

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// retryAccept is how long a listener waits that has no descriptor left.
const retryAccept = 200 * time.Millisecond

// serve relays each connection of a listener until ctx ends, and then waits for those
// that are under way, which it resets. It owns the listener. trouble is told why a
// connection has not ended in order.
func serve(ctx context.Context, listener net.Listener, dial func(context.Context) (Relay, error), trouble func(net.Addr, error)) error {
	var all sync.WaitGroup
	defer all.Wait()
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	for {
		conn, err := listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case isTemporary(err):
			select {
			case <-time.After(retryAccept):
			case <-ctx.Done():
			}
			continue
		case err != nil:
			return fmt.Errorf("no connection can be accepted any more: %w", err)
		}
		all.Go(func() {
			if err := join(ctx, conn.(*net.TCPConn), dial); err != nil && ctx.Err() == nil {
				trouble(conn.RemoteAddr(), err)
			}
		})
	}
}

func isTemporary(err error) bool {
	temporary, ok := err.(interface{ Temporary() bool })
	return ok && temporary.Temporary()
}

// join takes one connection through a relay. One that doesn't end in order is reset.
func join(ctx context.Context, conn *net.TCPConn, dial func(context.Context) (Relay, error)) error {
	relay, err := dial(ctx)
	if err == nil {
		err = pipe(ctx, relay, conn, sendingSide{conn}, false)
	}
	if err != nil {
		_ = conn.SetLinger(0)
	}
	conn.Close()
	return err
}

// A sendingSide is a connection whose close ends its sending side alone.
type sendingSide struct{ *net.TCPConn }

func (s sendingSide) Close() error { return s.CloseWrite() }
