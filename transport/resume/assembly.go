package resume

import (
	"encoding/binary"

	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/replay"
)

// An assembly is what has come of a message that no single read has brought. It
// belongs to the reading pump.
type assembly struct {
	chunks [][]byte // each in a buffer of the pool, but for a trailer that none has room for; all full but the last one
	size   int      // bytes
	// dropped says that the message is to be refused, and is only counted.
	dropped bool
	tail    [replay.TrailerSize]byte // of what was dropped, the last bytes
}

// maxMessage is the longest message, its trailer included.
const maxMessage = replay.MaxPayload + replay.TrailerSize

// add appends data, and reports whether a message may be as long as it is now.
func (a *assembly) add(data []byte) bool {
	if a.size+len(data) > maxMessage {
		return false
	}
	if a.dropped {
		a.size += len(data)
		a.keepTail(data)
		return true
	}
	for len(data) > 0 {
		switch {
		case a.size == replay.MaxPayload: // a trailer needs no buffer
			a.chunks = append(a.chunks, make([]byte, 0, replay.TrailerSize))
		case a.size%wsock.BufferSize == 0:
			a.chunks = append(a.chunks, wsock.TakeBuffer()[:0])
		}
		last := &a.chunks[len(a.chunks)-1]
		n := min(len(data), wsock.BufferSize-len(*last))
		*last = append(*last, data[:n]...)
		data = data[n:]
		a.size += n
	}
	return true
}

// drop keeps no more of the message than how long it is, and what may be its trailer.
func (a *assembly) drop() {
	a.dropped = true
	for _, chunk := range a.chunks {
		a.keepTail(chunk)
		giveChunk(chunk)
	}
	a.chunks = nil
}

func (a *assembly) keepTail(data []byte) {
	if n := len(data); n < len(a.tail) {
		copy(a.tail[:], a.tail[n:])
		copy(a.tail[len(a.tail)-n:], data)
		return
	}
	copy(a.tail[:], data[len(data)-len(a.tail):])
}

// cutTrailer takes the position from the end, if the message is long enough.
func (a *assembly) cutTrailer() (position uint64, ok bool) {
	if a.size < replay.TrailerSize {
		return 0, false
	}
	trailer := a.tail
	for left := len(trailer); left > 0 && !a.dropped; {
		last := &a.chunks[len(a.chunks)-1]
		n := min(left, len(*last))
		copy(trailer[left-n:left], (*last)[len(*last)-n:])
		left -= n
		if *last = (*last)[:len(*last)-n]; len(*last) == 0 && len(a.chunks) > 1 {
			giveChunk(*last)
			a.chunks = a.chunks[:len(a.chunks)-1]
		}
	}
	a.size -= replay.TrailerSize
	return binary.BigEndian.Uint64(trailer[:]), true
}

// pass makes the chunks the caller's.
func (a *assembly) pass() (chunks [][]byte) {
	chunks = a.chunks
	*a = assembly{}
	return chunks
}

// release gives the buffers back.
func (a *assembly) release() {
	for _, chunk := range a.pass() {
		giveChunk(chunk)
	}
}

func giveChunk(chunk []byte) {
	if cap(chunk) == wsock.BufferSize {
		wsock.GiveBuffer((*wsock.Buffer)(chunk[:wsock.BufferSize]))
	}
}
