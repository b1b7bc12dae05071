package pieces

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"wsproxy/internal/testkit"
)

// Whatever a message is cut into, it is whole again, and takes up little more
// than it has.
func TestJoinedMessageIsWhole(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, 100, 32 << 10, 32<<10 + 1, 1 << 20, 5<<20 + 3} {
		for range 10 {
			all := testkit.Pattern(size)
			var j Message
			for rest := all; len(rest) > 0; {
				n := 1 + random.IntN(min(len(rest), 32<<10))
				piece := bytes.Clone(rest[:n])
				j.Add(piece)
				clear(piece) // it is the reader's
				rest = rest[n:]
			}
			taken := 0
			for _, chunk := range j.Chunks {
				taken += cap(chunk)
			}
			if taken > 2*size+32<<10 || taken > size+chunkSize+64<<10 {
				t.Errorf("%d bytes take up %d", size, taken)
			}
			if got := j.Whole(); j.Size != size || !bytes.Equal(got, all) {
				t.Errorf("of %d bytes %d are there", size, len(got))
			}
		}
	}
}

// Few go over large messages at once, and small ones wait for nobody.
func TestHeavyWorkLeavesProcessors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy, most atomic.Int64
		var all sync.WaitGroup
		release := make(chan struct{})
		for range 10 * cap(heavyWork) {
			all.Go(func() {
				Heavily(heavyFrom, func() {
					now := busy.Add(1)
					for was := most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
					}
					<-release
					busy.Add(-1)
				})
			})
		}
		Heavily(heavyFrom-1, func() {})
		close(release)
		all.Wait()
		if got := most.Load(); got < 1 || got > int64(cap(heavyWork)) {
			t.Errorf("%d at once, there is room for %d", got, cap(heavyWork))
		}
	})
}
