package resume

import (
	"encoding/binary"

	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/replay"
)

// An assembly is what has come of a message that no single read has brought. It
// belongs to the reading pump.
type assembly struct {
	buffers []*wsock.Buffer // all full but the last one
	size    int             // bytes
}

// maxMessage is the longest message, its trailer included.
const maxMessage = replay.MaxPayload + replay.TrailerSize

// add appends data, and reports whether a message may be as long as it is now.
func (a *assembly) add(data []byte) bool {
	if a.size+len(data) > maxMessage {
		return false
	}
	for len(data) > 0 {
		at := a.size % wsock.BufferSize
		if at == 0 {
			a.buffers = append(a.buffers, wsock.TakeBuffer())
		}
		n := copy(a.buffers[len(a.buffers)-1][at:], data)
		data = data[n:]
		a.size += n
	}
	return true
}

// chunks returns what has come, until release.
func (a *assembly) chunks() (all [][]byte) {
	left := a.size
	for _, b := range a.buffers {
		n := min(left, wsock.BufferSize)
		all = append(all, b[:n])
		left -= n
	}
	return all
}

// release gives the buffers back.
func (a *assembly) release() {
	for _, b := range a.buffers {
		wsock.GiveBuffer(b)
	}
	*a = assembly{}
}

// cutTrailer takes the position from the end of a message.
func cutTrailer(message [][]byte, size int) (payload [][]byte, position uint64, ok bool) {
	if size < replay.TrailerSize {
		return nil, 0, false
	}
	var trailer [replay.TrailerSize]byte
	for left := len(trailer); left > 0; {
		last := message[len(message)-1]
		n := min(left, len(last))
		copy(trailer[left-n:left], last[len(last)-n:])
		left -= n
		if n == len(last) {
			message = message[:len(message)-1]
		} else {
			message[len(message)-1] = last[:len(last)-n]
		}
	}
	return message, binary.BigEndian.Uint64(trailer[:]), true
}
