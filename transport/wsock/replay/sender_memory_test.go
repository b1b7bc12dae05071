package replay

import (
	"testing"

	"wsproxy/transport/wsock"
)

func TestSenderJoinsSmallPayloads(t *testing.T) {
	s := NewSender(Bytes)
	for s.Room() > 0 {
		keep(s, int(min(s.Room(), 100)))
	}
	if len(s.kept) != 3 { // of at most 28 KiB
		t.Errorf("64 KiB in small payloads are kept in %d chunks", len(s.kept))
	}
	for _, c := range s.kept {
		if cap(c.payload) > maxChunk || cap(c.payload) > 2*len(c.payload)+64 {
			t.Errorf("a chunk of %d bytes takes up %d", len(c.payload), cap(c.payload))
		}
	}
	write(t, s)
}

// Whatever sizes the payloads have: what they take up is little more than what they
// are counted as.
func TestSenderKeepsInLittleMemory(t *testing.T) {
	for _, sizes := range [][]int{{wsock.Poolable}, {wsock.Poolable, 1}, {wsock.Poolable - 1, 2}, {8300, 10}, {14_500, 10}, {20_000}, {Poolable}, {32_000}} {
		s := NewSender(Bytes)
		s.limit = 1 << 30
		for s.Held() < 1<<20 {
			for _, n := range sizes {
				s.Keep(inBuffer(s, n))
			}
		}
		memory := int64(0)
		for _, c := range s.kept {
			if memory += int64(cap(c.payload)); c.buf != nil {
				memory += wsock.BufferSize - int64(cap(c.payload))
			}
		}
		if memory > s.Held()/4*5 {
			t.Errorf("payloads of %d bytes, %d in all, take up %d", sizes, s.Held(), memory)
		}
		write(t, s)
		s.Drop()
	}
}
