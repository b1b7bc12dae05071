package e2e

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"
)

// received takes a message, of which the socket has judged what it can.
func (c *resumeClient) received(m resumeMessage) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.changed.Broadcast()
	c.heard, c.asked = time.Now(), time.Time{}
	if m.note != nil {
		return c.noted(*m.note)
	}
	position := c.position + uint64(len(m.payload))
	if c.tunnel {
		position = c.position + 1
	}
	if !m.isJSON(c.tunnel) && m.position != position {
		return torn("a message says position %d, its end is at %d", m.position, position)
	}
	if position > c.granted {
		c.t.Errorf("the server sends up to position %d, granted are %d", position, c.granted)
	}
	if c.inEnd && len(m.payload) > 0 {
		c.t.Errorf("%d bytes come behind the server's eof", len(m.payload))
	}
	c.position = position
	if !c.tunnel {
		c.in = append(c.in, m.payload...)
		return nil
	}
	c.mu.Unlock()
	c.take(m.opcode, m.payload)
	c.mu.Lock()
	c.pass(1)
	return nil
}

// noted takes a message of the section.
func (c *resumeClient) noted(n resumeNote) error {
	switch n.kind {
	case "ack":
		if n.position > c.next {
			return torn("position %d is acknowledged, %d were sent", n.position, c.next)
		}
		if n.position < c.base || n.limit < c.limit {
			c.t.Errorf("ack %d with limit %d comes after %d with limit %d", n.position, n.limit, c.base, c.limit)
			return nil
		}
		first := map[bool]uint64{false: resumeFirst, true: resumeFirstMessages}[c.tunnel]
		if n.limit < n.position+first || n.limit > n.position+max(first, c.buffer) {
			c.t.Errorf("ack %d grants up to %d", n.position, n.limit)
		}
		if c.tunnel {
			c.queue = c.queue[n.position-c.base:]
		} else {
			c.out = c.out[n.position-c.base:]
		}
		c.base, c.limit = n.position, n.limit
	case "ping":
		c.pongs++
	case "pong":
	case "eof":
		c.inEnd = true
	default:
		return torn("a message of type %q in the middle", n.kind)
	}
	return nil
}

// pass says that n more were passed on. Under mu.
func (c *resumeClient) pass(n uint64) {
	if c.passed == c.acked {
		c.ackedAt = time.Now()
	}
	c.passed += n
}

// Read reads what the target sends.
func (c *resumeClient) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for begin := time.Now(); len(c.in) == 0 && !c.inEnd && c.err == nil; c.changed.Wait() {
		if time.Since(begin) > resumeStuck {
			return 0, fmt.Errorf("nothing has come for %v, position is %d", resumeStuck, c.position)
		}
	}
	if len(c.in) == 0 && c.inEnd {
		return 0, io.EOF
	}
	if len(c.in) == 0 {
		return 0, c.err
	}
	n := copy(p, c.in)
	c.in = c.in[n:]
	c.pass(uint64(n))
	c.changed.Broadcast()
	return n, nil
}

// Write sends to the target.
func (c *resumeClient) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for written := 0; ; {
		for begin := time.Now(); len(c.out) >= resumeAhead && c.err == nil; c.changed.Wait() {
			if time.Since(begin) > resumeStuck {
				return written, fmt.Errorf("nothing goes for %v, %d is acknowledged of %d", resumeStuck, c.base, c.next)
			}
		}
		if c.err != nil || c.outEnd || c.bye != 0 {
			return written, errors.Join(net.ErrClosed, c.err)
		}
		n := min(len(p)-written, resumeAhead-len(c.out))
		c.out = append(c.out, p[written:written+n]...)
		c.changed.Broadcast()
		if written += n; written == len(p) {
			return written, nil
		}
	}
}

// send sends a tunnel's message.
func (c *resumeClient) send(opcode byte, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) >= resumeBufferMessages && c.err == nil {
		c.changed.Wait()
	}
	if c.err != nil || c.bye != 0 {
		return errors.Join(net.ErrClosed, c.err)
	}
	c.queue = append(c.queue, resumeSent{opcode, append([]byte(nil), payload...)})
	c.changed.Broadcast()
	return nil
}

// CloseWrite sends eof behind what was written.
func (c *resumeClient) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outEnd = true
	c.changed.Broadcast()
	return nil
}

// Close closes with 1000, behind what was written. It does not wait.
func (c *resumeClient) Close() error {
	c.closeWith(1000)
	return nil
}

func (c *resumeClient) closeWith(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bye == 0 {
		c.bye = code
	}
	c.changed.Broadcast()
}

func (c *resumeClient) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *resumeClient) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *resumeClient) SetDeadline(time.Time) error      { return nil }
func (c *resumeClient) SetReadDeadline(time.Time) error  { return nil }
func (c *resumeClient) SetWriteDeadline(time.Time) error { return nil }

// ackDue reports whether an acknowledgement is to be sent. Under mu.
func (c *resumeClient) ackDue() bool {
	step := min(c.window/4, map[bool]uint64{false: 32 << 10, true: 32}[c.tunnel])
	return c.owesAck || c.passed-c.acked >= step || c.passed > c.acked && time.Since(c.ackedAt) > resumeAckAfter
}

// end is the position behind all that is to be sent. Under mu.
func (c *resumeClient) outUpTo() uint64 {
	if c.tunnel {
		return c.base + uint64(len(c.queue))
	}
	return c.base + uint64(len(c.out))
}

// writeAll sends what there is as long as the WebSocket lives.
func (c *resumeClient) writeAll(sock *resumeSocket) {
	for {
		c.mu.Lock()
		var send func() error
		for c.live == sock && send == nil {
			if send = c.nextToSend(sock); send == nil {
				c.changed.Wait()
			}
		}
		c.mu.Unlock()
		if send == nil || send() != nil {
			return
		}
	}
}

// nextToSend returns what is to be sent next, nil if there is nothing. Under mu.
func (c *resumeClient) nextToSend(sock *resumeSocket) func() error {
	rest := c.outUpTo() - min(c.next, c.outUpTo())
	switch {
	case c.byeSent:
		return nil
	case c.pongs > 0:
		c.pongs = 0
		return func() error { return sock.note(fields{"type": "pong"}) }
	case c.ackDue():
		passed, limit := c.passed, max(c.granted, c.passed+c.window)
		c.owesAck, c.acked, c.granted = false, passed, limit
		return func() error { return sock.ack(passed, limit) }
	case c.ping:
		c.ping = false
		return func() error { return sock.note(fields{"type": "ping"}) }
	case rest > 0 && c.next < c.limit:
		return c.nextData(sock, min(rest, c.limit-c.next))
	case rest == 0 && c.outEnd && !c.endSent:
		c.endSent, c.endEver = true, true
		return func() error { return sock.note(fields{"type": "eof"}) }
	case rest == 0 && c.bye != 0:
		c.byeSent = true
		code := c.bye
		return func() error { return sock.bye(code) }
	}
	return nil
}

// nextData sends some of what may be sent: where messages of a relay begin and
// end means nothing, so it is always elsewhere.
func (c *resumeClient) nextData(sock *resumeSocket, most uint64) func() error {
	at := c.next
	if c.tunnel {
		m := c.queue[at-c.base]
		c.next++
		c.most = max(c.most, c.next)
		next := c.next
		return func() error {
			if resumeIsJSON(true, m.opcode, m.payload) {
				return sock.write(finBit|m.opcode, m.payload)
			}
			return sock.data(next, m.payload)
		}
	}
	n := min(most, resumeMost)
	if rand.IntN(4) == 0 {
		n = 1 + rand.Uint64N(n)
	}
	payload := c.out[at-c.base:][:n]
	c.next += n
	c.most = max(c.most, c.next)
	next := c.next
	return func() error { return sock.data(next, payload) }
}

// tick looks at the clock: acks that are due, and WebSockets that are dead.
func (c *resumeClient) tick() {
	ticker := time.NewTicker(resumeTick)
	defer ticker.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-ticker.C:
		}
		c.mu.Lock()
		switch now := time.Now(); {
		case c.live == nil:
		case c.asked.IsZero() && now.Sub(c.heard) > c.quiet:
			c.asked, c.ping = now, true
		case !c.asked.IsZero() && now.Sub(c.asked) > 3*c.quiet:
			c.live.cut()
		}
		c.changed.Broadcast()
		c.mu.Unlock()
	}
}
