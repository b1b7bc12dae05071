package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// A RawConn is the tunnel client's end of a connection through the tunnel.
type RawConn struct {
	t      *Tunnel
	id     string
	http   bool   // one of the proxy's own, for HTTP
	prefix []byte // of each data message: the id and its length
	closed chan struct{}

	// Only the tunnel's reader uses these.
	head     []byte // what has come of a hello, or of a request's head
	open     bool   // the hello has come
	consumed int64  // since credit was given last

	mu      sync.Mutex
	onData  func([]byte) error // under mu, like all below
	pending [][]byte           // what came before onData was set
	credit  int64              // what may still be sent

	credited chan struct{} // tells the sender of more credit
}

func newRawConn(t *Tunnel, id string, http bool) *RawConn {
	c := &RawConn{t: t, id: id, http: http, closed: make(chan struct{}), credit: t.window, credited: make(chan struct{}, 1)}
	c.prefix = append(binary.BigEndian.AppendUint32(nil, uint32(len(id))), id...)
	return c
}

// allow adds to what may be sent.
func (c *RawConn) allow(n int64) {
	c.mu.Lock()
	c.credit += n
	c.mu.Unlock()
	select {
	case c.credited <- struct{}{}:
	default:
	}
}

// spend waits until n bytes may be sent, or the connection is closed.
func (c *RawConn) spend(n int64) {
	for c.t.window > 0 {
		c.mu.Lock()
		enough := c.credit >= n
		if enough {
			c.credit -= n
		}
		c.mu.Unlock()
		if enough {
			return
		}
		select {
		case <-c.credited:
		case <-c.closed:
			return
		case <-c.t.run.ctx.Done():
			return
		}
	}
}

// receive takes what has come; the buffer is the reader's.
func (c *RawConn) receive(data []byte) error {
	if c.http {
		return c.request(data)
	}
	if !c.open {
		n := min(helloSize-len(c.head), len(data))
		c.head, data = append(c.head, data[:n]...), data[n:]
		if len(c.head) < helloSize {
			return nil
		}
		c.open = true
		id, ok := parseHello(c.head)
		if !ok || !c.t.deliver(id, c) {
			return errors.New("a raw connection began with bytes that were not sent")
		}
	}
	if len(data) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.onData == nil {
		c.pending = append(c.pending, bytes.Clone(data))
		return nil
	}
	return c.onData(data)
}

// request takes a part of a request, which has no body, and answers it when it is whole.
func (c *RawConn) request(data []byte) error {
	c.head = append(c.head, data...)
	if len(c.head) > 16<<10 {
		return errors.New("the proxy sent a request's head without an end")
	}
	if bytes.HasSuffix(c.head, []byte("\r\n\r\n")) {
		c.head = c.head[:0]
		// Not here: a write that blocks must not keep this end from reading.
		go func() { _ = c.sendAll(c.t.response) }()
	}
	return nil
}

// handle sets what is done with what comes. The function must not block, nor keep the
// data.
func (c *RawConn) handle(onData func([]byte) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onData = onData
	for _, data := range c.pending {
		if err := onData(data); err != nil {
			return err
		}
	}
	c.pending = nil
	return nil
}

// messageSize is how much an answer puts into one message.
const messageSize = 32 << 10

func (c *RawConn) sendAll(data []byte) error {
	for len(data) > 0 {
		n := min(len(data), messageSize)
		if err := c.send(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// send sends data as one message.
func (c *RawConn) send(data []byte) error {
	c.spend(int64(len(data)))
	return c.t.write(websocket.BinaryMessage, c.prefix, data)
}

// SendStream sends n bytes of s to the outside peer, in messages of a size.
func (c *RawConn) SendStream(s *Stream, n, message int64) error {
	for n > 0 {
		select {
		case <-c.closed:
			return fmt.Errorf("the server closed a raw connection with %d bytes still to send", n)
		default:
		}
		size := min(n, message)
		if err := c.send(s.Next(int(size))); err != nil {
			return err
		}
		n -= size
	}
	return nil
}

// Expect prepares for n bytes of s from the outside peer. The function that it returns
// waits for them.
func (c *RawConn) Expect(s *Stream, n int64) (wait func() error, err error) {
	done := make(chan struct{})
	err = c.handle(func(data []byte) error {
		if err := s.Check(data); err != nil {
			return err
		}
		if n -= int64(len(data)); n < 0 {
			return errors.New("a raw connection brought more bytes than were sent")
		}
		if n == 0 {
			close(done)
		}
		return nil
	})
	return func() error {
		select {
		case <-done:
			return nil
		case <-c.closed:
			select {
			case <-done: // both, in either order
				return nil
			default:
				return errors.New("the server closed a raw connection before all its bytes had come")
			}
		case <-c.t.run.ctx.Done():
			return c.t.run.Err()
		}
	}, err
}

// Echo sends back all that comes, until the connection is closed.
func (c *RawConn) Echo() error {
	back := make(chan []byte, 1<<10) // more than a pinger has under way
	go func() {
		for {
			select {
			case data := <-back:
				_ = c.send(data)
			case <-c.closed:
				return
			case <-c.t.run.ctx.Done():
				return
			}
		}
	}()
	return c.handle(func(data []byte) error {
		select {
		case back <- bytes.Clone(data):
			return nil
		default:
			return errors.New("an echo got more than was sent")
		}
	})
}

// A Raw is a raw connection with both its ends.
type Raw struct {
	ID     uint64
	Client *RawConn // the tunnel client's end
	Peer   net.Conn // the outside peer's end
}

// OpenRaw opens the i-th raw connection to the tunnel.
func (t *Tunnel) OpenRaw(i int) (*Raw, error) {
	if t.rawAddr == "" {
		return nil, errors.New("the server gave the tunnel no raw port")
	}
	// The server may still be about to listen.
	peer, err := t.run.Dial(i, t.rawAddr)
	for tries := 0; errors.Is(err, syscall.ECONNREFUSED) && tries < 20; tries++ {
		if err := t.run.Sleep(50 * time.Millisecond); err != nil {
			return nil, err
		}
		peer, err = t.run.Dial(i, t.rawAddr)
	}
	if err != nil {
		return nil, fmt.Errorf("the tunnel's raw port cannot be reached: %w", err)
	}
	id, arrival := t.announce()
	if _, err := peer.Write(appendHello(nil, id)); err != nil {
		return nil, fmt.Errorf("a raw connection broke at once: %w", err)
	}
	client, err := await(t.run, arrival)
	if err != nil {
		return nil, err
	}
	return &Raw{id, client, peer}, nil
}
