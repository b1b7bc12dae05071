package wsproxy

import "wsproxy/transport/wsock"

// A queue holds bytes in buffers of the pool. An empty one holds none.
type queue struct {
	chunks []chunk
	size   int
}

// A chunk is a buffer of which a part is used.
type chunk struct {
	buf        *wsock.Buffer
	start, end int
}

func (c *chunk) bytes() []byte { return c.buf[c.start:c.end:c.end] }

// append copies bytes.
func (q *queue) append(b []byte) {
	for len(b) > 0 {
		if n := len(q.chunks); n == 0 || q.chunks[n-1].end == wsock.BufferSize {
			q.push(chunk{buf: wsock.TakeBuffer()})
		}
		last := &q.chunks[len(q.chunks)-1]
		n := copy(last.buf[last.end:], b)
		last.end += n
		q.size += n
		b = b[n:]
	}
}

// push appends a chunk, whose buffer is the queue's.
func (q *queue) push(c chunk) {
	q.chunks = append(q.chunks, c)
	q.size += c.end - c.start
}

// pop returns the first chunk, whose buffer is the caller's. There must be one.
func (q *queue) pop() chunk {
	c := q.chunks[0]
	q.size -= c.end - c.start
	n := copy(q.chunks, q.chunks[1:])
	q.chunks[n] = chunk{}
	q.chunks = q.chunks[:n]
	return c
}

// read moves bytes to b.
func (q *queue) read(b []byte) (n int) {
	for n < len(b) && q.size > 0 {
		first := &q.chunks[0]
		m := copy(b[n:], first.bytes())
		n += m
		first.start += m
		q.size -= m
		if first.start == first.end {
			wsock.GiveBuffer(q.pop().buf)
		}
	}
	return n
}

// drop gives everything back, and returns how much that was.
func (q *queue) drop() (size int) {
	size = q.size
	for len(q.chunks) > 0 {
		wsock.GiveBuffer(q.pop().buf)
	}
	q.chunks = nil
	return size
}
