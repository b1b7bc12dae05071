package e2e

import (
	"io"
	"net"
	"time"
)

// A gosshRaw is a raw connection of a double, with an SSH channel to the
// service, for which a TCP connection stands: what one end says of its end is
// all that the other learns, and a write fails only some time after the
// service has gone.
type gosshRaw struct {
	c      *gosshClient
	id     string
	openAt time.Time // from when on data reaches it

	conn   gosshChannel // under c.mu, like all below; nil until the channel is open
	frames [][]byte     // that wait for the service
	eof    bool         // the outside peer has ended its sending side
	done   bool         // nothing more is done
}

// open begins to open a channel, for which nothing waits.
func (c *gosshClient) open(id string) {
	if !c.takeSlot() {
		c.sendClose(id)
		return
	}
	r := &gosshRaw{c: c, id: id}
	if c.habits.dropsEarly {
		// By the clock, since a busy machine may open it only later.
		r.openAt = time.Now().Add(c.script.opening)
	}
	c.mu.Lock()
	c.conns[id], c.past[id] = r, true
	c.mu.Unlock()
	c.running.Go(func() {
		if !c.channelOpens() {
			r.end()
			return
		}
		conn, err := c.channel()
		if err != nil {
			c.sendClose(id)
			r.end()
			return
		}
		r.run(conn)
	})
}

// closed handles tcp_close.
func (c *gosshClient) closed(m tunnelMessage) {
	c.mu.Lock()
	r := c.conns[m.ConnID]
	if r != nil && m.Reason == "eof" {
		r.eof = true
		c.changed.Broadcast()
		r = nil
	}
	c.mu.Unlock()
	if r != nil {
		r.end()
	}
}

// run joins the connection to its open channel until that has ended.
func (r *gosshRaw) run(conn gosshChannel) {
	c := r.c
	// What waits in the kernel waits at the other end of the SSH connection,
	// and is bounded there.
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(256 << 10)
	}
	c.mu.Lock()
	gone := r.done || c.over
	r.conn = conn
	c.mu.Unlock()
	if gone {
		conn.Close()
		r.end()
		return
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		if !r.writeAll() {
			c.sendClose(r.id)
			r.end()
		}
	}()
	read := conn.Read
	if c.script.full {
		read = func(p []byte) (int, error) { return io.ReadFull(conn, p) }
	}
	for {
		frame := tunnelFrame(r.id, make([]byte, c.script.buffer))
		n, err := read(frame[4+len(r.id):])
		if n > 0 {
			c.emit(frame[:4+len(r.id)+n])
		}
		if err != nil {
			break
		}
	}
	if !c.habits.silentEnd {
		c.sendClose(r.id)
		r.end()
	}
	<-written
	if c.habits.silentEnd {
		c.sendClose(r.id) // both directions have ended
		r.end()
	}
}

// writeAll writes to the service what comes, until the connection has ended or
// a write fails, for which it returns false.
func (r *gosshRaw) writeAll() (ok bool) {
	c := r.c
	for {
		c.mu.Lock()
		for len(r.frames) == 0 && !r.eof && !r.done {
			c.changed.Wait()
		}
		if r.done {
			c.mu.Unlock()
			return true
		}
		if len(r.frames) == 0 {
			r.eof = false
			c.mu.Unlock()
			_ = r.conn.CloseWrite()
			continue
		}
		frame := r.frames[0]
		r.frames = r.frames[1:]
		c.mu.Unlock()
		if _, err := r.conn.Write(frame); err != nil {
			return false
		}
	}
}

// enqueue lets data wait for the service. When too much waits, the connection
// is dropped.
func (r *gosshRaw) enqueue(payload []byte) {
	c := r.c
	c.mu.Lock()
	full := c.habits.queue > 0 && len(r.frames) >= c.habits.queue
	if !full && !r.done {
		r.frames = append(r.frames, payload)
		c.changed.Broadcast()
	}
	c.mu.Unlock()
	if full {
		c.record(gosshEvent{kind: "overflow", id: r.id})
		c.sendClose(r.id)
		r.end()
	}
}

// end ends the connection and frees its slot, once.
func (r *gosshRaw) end() {
	c := r.c
	c.mu.Lock()
	first := !r.done
	r.done = true
	delete(c.conns, r.id)
	conn := r.conn
	c.changed.Broadcast()
	c.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
	if first {
		c.freeSlot()
	}
}
