package wire

import (
	"bytes"
	"slices"
	"testing"
)

// take returns the first n bytes of a stream, taken in pieces.
func take(s *Stream, n, piece int) []byte {
	var all []byte
	for len(all) < n {
		all = append(all, s.Next(min(piece, n-len(all)))...)
	}
	return all
}

func TestStreamDoesNotDependOnPieces(t *testing.T) {
	const n = 3*Period + 17
	want := take(NewStream(5, LaneUp), n, 1<<20)
	for _, piece := range []int{1, 1000, 32 << 10, Period - 1, Period, Period + 1} {
		if !bytes.Equal(take(NewStream(5, LaneUp), n, piece), want) {
			t.Errorf("pieces of %d bytes make another stream", piece)
		}
		s := NewStream(5, LaneUp)
		for chunk := range slices.Chunk(want, piece) {
			if err := s.Check(chunk); err != nil {
				t.Fatalf("pieces of %d bytes: %v", piece, err)
			}
		}
	}
}

func TestCheckNoticesDamage(t *testing.T) {
	const n, at, block = 2 * Period, Period + 5000, 32 << 10
	damages := map[string]func(b []byte) []byte{
		"bit flipped":    func(b []byte) []byte { b[at] ^= 1; return b },
		"last bit":       func(b []byte) []byte { b[n-1] ^= 0x80; return b },
		"byte lost":      func(b []byte) []byte { return slices.Delete(b, at, at+1) },
		"block lost":     func(b []byte) []byte { return slices.Delete(b, 0, block) },
		"block repeated": func(b []byte) []byte { return slices.Insert(b, at, b[at-block:at]...) },
		"block zeroed":   func(b []byte) []byte { clear(b[at : at+block]); return b },
		"blocks swapped": func(b []byte) []byte {
			return slices.Concat(b[block:2*block], b[:block], b[2*block:])
		},
	}
	for name, damage := range damages {
		whole := take(NewStream(1, LaneDown), n, Period)
		if err := NewStream(1, LaneDown).Check(damage(whole)); err == nil {
			t.Errorf("%s: not noticed", name)
		}
	}
}

func TestStreamsDiffer(t *testing.T) {
	seen := make(map[string]bool)
	for id := range uint64(500) {
		for _, lane := range []int{LaneUp, LaneDown} {
			seen[string(NewStream(id, lane).Next(32))] = true
		}
	}
	if len(seen) != 1000 {
		t.Errorf("1000 streams start in only %d ways", len(seen))
	}
}

func BenchmarkCheck(b *testing.B) {
	data := take(NewStream(1, LaneUp), 1<<20, Period)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := NewStream(1, LaneUp).Check(data); err != nil {
			b.Fatal(err)
		}
	}
}
