package wire

import (
	"bytes"
	"fmt"
)

// Period is the length of the repeating byte pattern every transfer is made
// of. It is prime, so that a block of any usual buffer size that is lost,
// repeated or moved shifts the pattern and is noticed.
const Period = 65521

// table holds the pattern twice in a row: any Period bytes of it, from any
// position, are one slice that needs no copying.
var table = makeTable()

func makeTable() []byte {
	t := make([]byte, 2*Period)
	state := uint64(1)
	for i := range Period {
		// A 64-bit linear congruential step; its top byte is well mixed.
		state = state*6364136223846793005 + 1442695040888963407
		t[i] = byte(state >> 56)
	}
	copy(t[Period:], t[:Period])
	return t
}

// The lanes of a connection's streams.
const (
	LaneUp = iota
	LaneDown
	lanePing
)

// A Stream is a position in the pattern. The sender and the receiver of a
// transfer each walk their own copy of the same stream.
type Stream struct {
	start int
	done  int64
}

// NewStream returns the stream of one direction (lane) of a connection.
// Connections and lanes start at different places of the pattern, so bytes
// that reach the wrong one are noticed.
func NewStream(id uint64, lane int) *Stream {
	return &Stream{start: int((id*40503 + uint64(lane)*25717) % Period)}
}

func (s *Stream) at() int {
	return int((int64(s.start) + s.done) % Period)
}

// Next returns the next n bytes of the stream, or the next Period bytes if n
// is more than that. The bytes must not be changed.
func (s *Stream) Next(n int) []byte {
	n = min(n, Period)
	from := s.at()
	s.done += int64(n)
	return table[from : from+n]
}

// Check compares p with the next len(p) bytes of the stream.
func (s *Stream) Check(p []byte) error {
	for len(p) > 0 {
		before := s.done
		want := s.Next(len(p))
		got := p[:len(want)]
		if !bytes.Equal(got, want) {
			for i := range got {
				if got[i] != want[i] {
					return fmt.Errorf("byte %d of the transfer arrived as 0x%02x, not as 0x%02x", before+int64(i), got[i], want[i])
				}
			}
		}
		p = p[len(want):]
	}
	return nil
}
