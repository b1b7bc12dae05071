package tunnel

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// queued returns how many bytes wait in the stream, and how many those take up.
func (s *Stream) queued() (carried, taken int) {
	const header = 24 // of a slice
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, chunk := range s.chunks {
		carried += len(chunk)
		taken += cap(chunk)
	}
	return carried, taken + header*cap(s.chunks)
}

// What waits for a peer takes up about what it is counted as, whatever it was
// cut into.
func TestSmallDataTakesUpWhatItCarries(t *testing.T) {
	for _, size := range []int{1, 2, 7, 100, 1000, 4096, 9000, 20_000} {
		r := startRig(t, rigOptions{})
		c := r.accept() // its pumps don't run yet
		total := 0
		for total < 400_000 {
			piece := wsock.Retain(make([]byte, size))
			c.Hold(piece)
			c.Write(piece)
			total += size
		}
		carried, taken := c.queued()
		if waiting, _ := c.Waiting(); carried != total || waiting != int64(total) {
			t.Errorf("of %d bytes %d wait and %d are counted", total, carried, waiting)
		}
		if held := c.Held(); held < int64(taken)-int64(cap(c.chunks)*24) || held > int64(taken) {
			t.Errorf("%d bytes in pieces of %d take up %d, and %d are counted", total, size, taken, held)
		}
		if taken > 2*total {
			t.Errorf("%d bytes in pieces of %d take up %d", total, size, taken)
		}
	}
}

// Joined or not, bytes keep their order, and buffers of the pool their owner.
func TestDataOfAllSizesKeepsItsOrder(t *testing.T) {
	r := startRig(t, rigOptions{})
	c := r.accept()
	all, sizes := testkit.Pattern(3<<20), []int{1, 1, 3, 700, joinable - 1, joinable, 5000, wsock.Poolable - 1, wsock.Poolable, wsock.BufferSize}
	random := rand.New(rand.NewPCG(5, 5))
	for rest := all; len(rest) > 0; {
		n := min(sizes[random.IntN(len(sizes))], len(rest))
		piece := wsock.Retain(rest[:n])
		c.Hold(piece)
		c.Write(piece)
		if rest = rest[n:]; len(rest) < len(all)/2 && !c.opened {
			c.Open() // what comes now is taken while it comes
		}
	}
	c.EndWrite()
	if got, err := io.ReadAll(c.outside); err != nil || !bytes.Equal(got, all) {
		t.Errorf("the peer reads %d bytes of %d, %v", len(got), len(all), err)
	}
}

// Credit comes back in time, however large the pieces are that wait.
func TestWhatIsWrittenAtOnceIsBelowAHalfWindow(t *testing.T) {
	r := startRig(t, rigOptions{credit: true})
	c := r.accept()
	all := testkit.Pattern(messages.Window)
	for rest := all; len(rest) > 0; { // two make more than a quarter
		n := min(messages.Window/4-10_000, len(rest))
		piece := bytes.Clone(rest[:n])
		c.Hold(piece)
		c.Write(piece)
		rest = rest[n:]
	}
	c.EndWrite()
	c.Open()
	if got, err := io.ReadAll(c.outside); err != nil || !bytes.Equal(got, all) {
		t.Errorf("the peer reads %d bytes of %d, %v", len(got), len(all), err)
	}
	for flushed := 0; flushed < len(all); {
		n := testkit.Hears[*messages.Flushed](c.ear).N
		if flushed += n; n > messages.Window/4 {
			t.Errorf("%d bytes are written before a word is said", n)
		}
	}
}
