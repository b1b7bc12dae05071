package tap

import (
	"bytes"
	"context"
	"io"
	"time"
)

// Bounds of what is still taken of a request that was refused, so that its client
// sees the answer and not a reset.
const (
	maxDrained  = 256 << 10
	maxDraining = 2 * time.Second
)

// heldRequests passes requests, each once its head is there and it was admitted. A
// connection that can't be followed ends: nothing must reach the service unseen.
func (c *conn) heldRequests(ctx context.Context, gate Gate) {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	var out []byte
	deaf := false
	for {
		n, err := c.stream.Read(buf[:])
		c.tap.Counters.In.Add(int64(n))
		for b := buf[:n]; len(b) > 0; {
			var more bool
			if b, out, more = c.held(ctx, gate, b, out[:0]); !more {
				return
			}
			if len(out) > 0 && !deaf {
				_, failed := c.guard.Write(c.service.Write, out)
				deaf = failed != nil
			}
		}
		if cap(out) > 2*bufferSize { // a large head was in it
			out = nil
		}
		if err == io.EOF {
			c.requestsEnded(nil)
			return
		}
		if err != nil {
			c.requestsEnded(err)
			return
		}
	}
}

// held takes a piece from the front of b, and returns what is left, and out with what
// of the piece may pass. It reports false when the connection is over.
func (c *conn) held(ctx context.Context, gate Gate, b, out []byte) (left, passed []byte, more bool) {
	w := c.w
	w.mu.Lock()
	p := w.request.next(b)
	raw, left := b[:p.n], b[p.n:]
	if p.kind != metHead {
		// A part of a head is kept by the framer until the rest is there.
		hold := p.kind == metNothing && w.request.stage == inHead && !p.done
		bad := p.kind == metGarbage || p.kind == metOpaque && w.upgraded == nil
		if !bad {
			w.requestPiece(p)
		}
		w.mu.Unlock()
		switch {
		case bad:
			return nil, nil, c.giveUp("a request in it is no HTTP/1.1 that can be followed")
		case hold:
			return left, out, true
		}
		return left, append(out, raw...), true
	}
	var head requestHead
	ok := parseRequest(p.span, &head) && head.authorized <= 1 && len(w.pending) == 0
	if !ok {
		w.mu.Unlock()
		return nil, nil, c.giveUp("a request in it is not of the strict form that the proxy sends")
	}
	// The lock is not held while the gate is asked: answers go on passing.
	authorization := string(head.authorization)
	out = withoutAuthorization(out, p.span, gate != nil && head.authorized > 0)
	w.mu.Unlock()

	admitted := gate == nil || gate.Admit(ctx, authorization)
	var down error
	if admitted && c.service == nil {
		down = c.dial(ctx)
	}

	w.mu.Lock()
	e := w.begin(out, &head)
	between := w.request.between()
	w.mu.Unlock()
	switch {
	case !admitted:
		more = c.answerOwn(e, unauthorized(gate.Challenge(), e.page), between)
	case down != nil:
		if c.tap.Watcher == nil { // else the line of the request says it
			c.tap.notice(down.Error())
		}
		more = c.answerOwn(e, unreachable(c.tap.Service.String(), down, e.page), between)
	default:
		return left, out, true
	}
	return left, out[:0], more
}

// withoutAuthorization appends a head to out, without its Authorization if it is to go.
func withoutAuthorization(out, head []byte, strip bool) []byte {
	if !strip {
		return append(out, head...)
	}
	for rest := head; len(rest) > 0; {
		line := rest[:bytes.IndexByte(rest, '\n')+1]
		rest = rest[len(line):]
		if name, _, ok := bytes.Cut(line, []byte(":")); ok && equalFold(name, "authorization") {
			continue
		}
		out = append(out, line...)
	}
	return out
}

// giveUp ends a connection that can't be followed. It returns false, for more.
func (c *conn) giveUp(why string) bool {
	c.tap.notice("a connection was ended: " + why)
	_ = c.stream.Reset()
	c.abort()
	return false
}

// answerOwn answers e in the place of the service, and reports whether the connection
// goes on. It does if the request was whole.
func (c *conn) answerOwn(e *Exchange, a ownAnswer, whole bool) bool {
	head := e.head
	b := a.encode(head, !whole)
	_, err := c.stream.Write(b)
	c.tap.Counters.Out.Add(int64(len(b)))
	c.w.ownAnswer(e, a, b)
	switch {
	case err != nil:
		c.abort()
		return false
	case whole:
		return true
	}
	_ = c.stream.CloseWrite()
	c.drain()
	c.close()
	return false
}

// drain takes what still comes of a request, within bounds.
func (c *conn) drain() {
	_ = c.stream.SetReadDeadline(time.Now().Add(maxDraining))
	_, _ = io.CopyN(io.Discard, c.stream, maxDrained)
}

// unserved answers the first request of a connection that the service has ended
// without a byte.
func (c *conn) unserved() {
	w := c.w
	w.mu.Lock()
	e := w.pending[0]
	w.mu.Unlock()
	a := unanswered(c.tap.Service.String(), e.page)
	b := a.encode(e.head, true)
	_, _ = c.stream.Write(b)
	c.tap.Counters.Out.Add(int64(len(b)))
	w.ownAnswer(e, a, b)
	_ = c.stream.Close()
}

// ownAnswer ends e with an answer that the service has not given.
func (w *watch) ownAnswer(e *Exchange, a ownAnswer, b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Ended {
		return
	}
	head, body, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	e.Status, e.Own, e.Hint, e.Out, e.FirstByte = a.status, true, a.hint, int64(len(body)), time.Since(e.Start)
	if k := w.tap.Keeper; k != nil && k.Grow(len(b)) {
		e.held += len(b)
		e.AnswerHead, e.AnswerBody = append(head[:len(head):len(head)], "\r\n\r\n"...), body
	}
	w.end(e, false)
}
