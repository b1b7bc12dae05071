package measure

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestQuantilesOfSmallValuesAreExact(t *testing.T) {
	var h Histogram
	for i := 100; i >= 1; i-- {
		h.Record(time.Duration(i))
	}
	for _, c := range []struct {
		q    float64
		want time.Duration
	}{{0, 1}, {0.01, 1}, {0.5, 50}, {0.505, 51}, {0.9, 90}, {0.99, 99}, {0.999, 100}, {1, 100}} {
		if got := h.Quantile(c.q); got != c.want {
			t.Errorf("quantile(%v) = %d, want %d", c.q, got, c.want)
		}
	}
	if h.Count() != 100 || h.Longest() != 100 {
		t.Errorf("count %d and longest %d, want 100 and 100", h.Count(), h.Longest())
	}
}

func TestQuantilesOfLargeValuesAreClose(t *testing.T) {
	var h Histogram
	const n = 100000
	order := rand.New(rand.NewPCG(1, 2)).Perm(n)
	for _, i := range order {
		h.Record(time.Duration(i+1) * time.Microsecond)
	}
	for _, q := range []float64{0.001, 0.1, 0.5, 0.9, 0.99, 0.999} {
		want := q * n * 1000
		if got := float64(h.Quantile(q)); math.Abs(got/want-1) > 0.0025 {
			t.Errorf("quantile(%v) = %v, want %v within a quarter of a percent", q, got, want)
		}
	}
	if got := h.Quantile(1); got != n*time.Microsecond {
		t.Errorf("quantile(1) = %v, want the exact maximum", got)
	}
}

func TestEmptyHistogram(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Longest() != 0 || h.Count() != 0 {
		t.Error("an empty histogram has values")
	}
}

func TestOneValue(t *testing.T) {
	var h Histogram
	h.Record(1234567)
	for _, q := range []float64{0, 0.5, 0.99, 1} {
		if got := h.Quantile(q); got != 1234567 {
			t.Errorf("quantile(%v) = %d, want the only value", q, got)
		}
	}
}

func TestBucketsHoldTheirMiddle(t *testing.T) {
	previous := -1
	for _, v := range []uint64{0, 1, 255, 256, 511, 512, 513, 1023, 1024, 99999, 1 << 40, math.MaxInt64, math.MaxUint64} {
		b := bucketOf(v)
		if b < previous || b >= bucketCount {
			t.Errorf("bucketOf(%d) = %d, out of order or range", v, b)
		}
		previous = b
		if got := bucketOf(bucketMiddle(b)); got != b {
			t.Errorf("the middle %d of bucket %d is in bucket %d", bucketMiddle(b), b, got)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{[]float64{7}, 7}, {[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := Median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
}
