package replay

import (
	"testing"
	"unsafe"

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

// So is what messages take up that stay apart, however short they are.
func TestSenderCountsMessages(t *testing.T) {
	for _, n := range []int{0, 1, 17, 25, 300, 5000} {
		s := NewSender(Messages)
		s.limit = 1 << 30
		for range 10_000 {
			s.Keep(Message{Payload: make([]byte, n)})
		}
		memory := int64(cap(s.kept)) * int64(unsafe.Sizeof(chunk{}))
		for _, c := range s.kept {
			memory += int64(cap(append([]byte(nil), c.payload...))) // as an allocation is rounded up
		}
		if memory > s.Held()/4*5 {
			t.Errorf("%d messages of %d bytes, counted as %d, take up %d", len(s.kept), n, s.Held(), memory)
		}
		if _ = s.Next(nil, 1<<30); s.Pending() || s.Acked(s.Position(), 0) != nil {
			t.Fatal("not all was sent")
		}
		if s.Wrote(); s.Held() != 0 {
			t.Errorf("%d bytes are held when all is acknowledged", s.Held())
		}
	}
}
