package tunnel

import "runtime"

// joinedChunk is how large a chunk of a message becomes that is joined, in bytes.
// What is allocated for it and not used stays below that.
const joinedChunk = 1 << 20

// A joined is a message that comes in pieces. It keeps them in chunks, for an
// array that grows would be copied five times over until it holds 20 MiB.
type joined struct {
	chunks [][]byte
	size   int // bytes in all chunks
}

// add adds a copy of a piece.
func (j *joined) add(piece []byte) {
	j.size += len(piece)
	if last := len(j.chunks) - 1; last >= 0 {
		n := min(len(piece), cap(j.chunks[last])-len(j.chunks[last]))
		j.chunks[last] = append(j.chunks[last], piece[:n]...)
		piece = piece[n:]
	}
	if len(piece) == 0 {
		return
	}
	if len(j.chunks) == 0 {
		j.chunks = append(j.chunks, append([]byte(nil), piece...)) // most messages are one piece
		return
	}
	chunk := make([]byte, 0, max(len(piece), min(j.size, joinedChunk)))
	j.chunks = append(j.chunks, append(chunk, piece...))
}

// whole returns the message in one piece, which is the caller's.
func (j *joined) whole() []byte {
	if len(j.chunks) == 1 {
		return j.chunks[0]
	}
	message := make([]byte, 0, j.size)
	for i, chunk := range j.chunks {
		message = append(message, chunk...)
		j.chunks[i] = nil
	}
	return message
}

// heavyFrom is from how many bytes going over a message takes so long that others
// would notice it: 64 KiB of JSON take some 100 µs.
const heavyFrom = 64 << 10

// heavyWork has room for who goes over large messages: half of the processors. All
// others at once would have everybody else wait, at each step of what they do, until
// each has had its 10 ms.
var heavyWork = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

// Heavily does what goes over n bytes. If those are many, it may wait for others.
func Heavily(n int, do func()) {
	if n < heavyFrom {
		do()
		return
	}
	heavyWork <- struct{}{}
	defer func() { <-heavyWork }()
	do()
}
