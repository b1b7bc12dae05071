package measure

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// A Histogram counts durations in buckets whose width grows with the value,
// so that it takes a fixed amount of memory and its quantiles are within a
// quarter of a percent of the true ones. Many goroutines may record at once.
type Histogram struct {
	counts [bucketCount]atomic.Uint64
	total  atomic.Uint64
	max    atomic.Int64
}

const (
	subBits     = 8 // each power of two is cut into 1<<subBits buckets
	bucketCount = (64-subBits-1)<<subBits + 2<<subBits
)

// bucketOf returns the bucket of v: the leading subBits+1 bits of v, and how
// far they are shifted.
func bucketOf(v uint64) int {
	shift := max(bits.Len64(v)-(subBits+1), 0)
	return shift<<subBits + int(v>>shift)
}

// bucketMiddle returns the value that stands for all values in a bucket.
func bucketMiddle(b int) uint64 {
	shift := max(b>>subBits-1, 0)
	lowest := uint64(b-shift<<subBits) << shift
	return lowest + (uint64(1)<<shift)/2
}

// Record counts a duration; a negative one is none.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(uint64(d))].Add(1)
	h.total.Add(1)
	for {
		m := h.max.Load()
		if int64(d) <= m || h.max.CompareAndSwap(m, int64(d)) {
			return
		}
	}
}

// Count returns how many there were.
func (h *Histogram) Count() int { return int(h.total.Load()) }

// Quantile returns the smallest recorded duration that at least the fraction
// q of all recorded durations do not exceed, and 0 if there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	total := h.total.Load()
	if total == 0 {
		return 0
	}
	rank := min(max(uint64(math.Ceil(q*float64(total))), 1), total)
	if rank == total {
		return time.Duration(h.max.Load())
	}
	var seen uint64
	for b := range h.counts {
		seen += h.counts[b].Load()
		if seen >= rank {
			return min(time.Duration(bucketMiddle(b)), time.Duration(h.max.Load()))
		}
	}
	return time.Duration(h.max.Load())
}

// Longest returns the longest duration.
func (h *Histogram) Longest() time.Duration { return time.Duration(h.max.Load()) }
