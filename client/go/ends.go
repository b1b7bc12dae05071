package wsproxy

import (
	"context"

	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

// Resumable reports whether the connection outlives its WebSocket.
func (c *Conn) Resumable() bool { return c.session.Resumable() }

// CloseWrite ends the sending side behind what was written: the target reads its
// end, and what it sends can still be read. If the connection isn't [Conn.Resumable]
// there is no such thing: the error is errors.ErrUnsupported.
func (c *Conn) CloseWrite() error {
	if !c.session.Resumable() {
		return errHalf
	}
	c.mu.Lock()
	err := c.writeErr()
	if c.finished {
		err = nil // twice is as good as once
	}
	c.finished = true
	c.writable.Broadcast()
	c.mu.Unlock()
	c.session.CloseWrite()
	return err
}

// Close ends the connection. It returns at once. What was written before is still
// sent in the background, and the target then reads its end; but if nothing of that
// makes progress for two minutes, it is given up, and the target is reset. What was
// not read is lost.
func (c *Conn) Close() error {
	c.leave()
	c.session.Bound(closeStall)
	return nil
}

// Shutdown is Close, and waits: until the target has been sent everything and the
// server has ended the connection in order, which nil says and nothing else, or
// until ctx ends.
func (c *Conn) Shutdown(ctx context.Context) error {
	c.leave()
	select {
	case <-c.session.Done():
	case <-ctx.Done():
		c.session.Bound(closeStall)
		return context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && c.lost > 0 {
		return errEnded
	}
	return c.err
}

// leave is what Close and Shutdown have in common.
func (c *Conn) leave() {
	c.mu.Lock()
	c.closed = true
	unread := c.forget()
	c.mu.Unlock()
	c.session.Passed(int64(unread))
	c.session.Close(messages.CloseNormal, "")
}

// forget drops what was not read, and wakes everybody. Under mu.
func (c *Conn) forget() (unread int) {
	c.readable.Broadcast()
	c.writable.Broadcast()
	return c.in.drop()
}

// Reset ends the connection at once: the target is reset, and what it has not got is
// lost. If the connection isn't [Conn.Resumable] the server knows no such thing, and
// the target reads an end behind what the server has got.
func (c *Conn) Reset() error {
	c.mu.Lock()
	c.closed = true
	unread := c.forget()
	c.lost += c.out.drop()
	c.mu.Unlock()
	c.session.Passed(int64(unread))
	c.session.Abort(closeReset, "")
	return nil
}

// What the session calls.

// A relay is a Conn as its session sees it.
type relay struct{ *Conn }

// Next returns what to send next.
func (c relay) Next(units int64) (m replay.Message, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out.size == 0 {
		c.hungry = true
		return m, false
	}
	if first := &c.out.chunks[0]; int64(first.end-first.start) > units {
		m.Payload = append([]byte(nil), first.bytes()[:units]...) // the buffer is not its alone
		first.start += int(units)
		c.out.size -= int(units)
	} else {
		all := c.out.pop()
		m.Payload, m.Buf = all.bytes(), all.buf
	}
	if c.out.size <= writeAhead/2 { // who waits is not woken for little
		c.writable.Broadcast()
	}
	return m, true
}

// Take gets what has come.
func (c relay) Take(payload []byte, _ bool) {
	if unread := c.take(payload); unread > 0 {
		c.session.Passed(int64(unread))
	}
}

// take keeps what has come for Read, and returns how much nobody will read.
func (c relay) take(payload []byte) (unread int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return len(payload)
	}
	if c.into != nil && c.got == 0 && c.in.size == 0 {
		c.got = copy(c.into, payload)
		payload = payload[c.got:]
		c.readable.Broadcast() // one of them waits for it
	}
	c.in.append(payload)
	if len(payload) > 0 {
		c.readable.Signal()
	}
	return 0
}

// PeerEnded says that the target sends nothing more.
func (c relay) PeerEnded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peerEnd = true
	c.readable.Broadcast()
}

// Ended says how the session has ended.
func (c relay) Ended(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended, c.err = true, err
	c.lost += c.out.drop()
	c.readable.Broadcast()
	c.writable.Broadcast()
}
