package pieces

import "runtime"

// chunkSize is how large a chunk of a message becomes that is joined, in bytes.
// What is allocated for it and not used stays below that.
const chunkSize = 1 << 20

// A Message is one that comes in pieces. It keeps them in chunks, for an
// array that grows would be copied five times over until it holds 20 MiB.
type Message struct {
	Chunks [][]byte // in order; its own
	Size   int      // bytes in all chunks
}

// Add adds a copy of a piece.
func (m *Message) Add(piece []byte) {
	m.Size += len(piece)
	if last := len(m.Chunks) - 1; last >= 0 {
		n := min(len(piece), cap(m.Chunks[last])-len(m.Chunks[last]))
		m.Chunks[last] = append(m.Chunks[last], piece[:n]...)
		piece = piece[n:]
	}
	if len(piece) == 0 {
		return
	}
	if len(m.Chunks) == 0 {
		m.Chunks = append(m.Chunks, append([]byte(nil), piece...)) // most messages are one piece
		return
	}
	chunk := make([]byte, 0, max(len(piece), min(m.Size, chunkSize)))
	m.Chunks = append(m.Chunks, append(chunk, piece...))
}

// Whole returns the message in one piece, which is the caller's.
func (m *Message) Whole() []byte {
	if len(m.Chunks) == 1 {
		return m.Chunks[0]
	}
	message := make([]byte, 0, m.Size)
	for i, chunk := range m.Chunks {
		message = append(message, chunk...)
		m.Chunks[i] = nil
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
