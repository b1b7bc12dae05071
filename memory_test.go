package main

import "testing"

func TestCollectorPace(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 200}, // before the first collection
		{1, 200}, {4 << 20, 200}, {16 << 20, 200},
		{20 << 20, 160},
		{32 << 20, 100}, {33 << 20, 100}, {1 << 40, 100}, // Go's own pace
	} {
		if got := gcPercent(c.live); got != c.want {
			t.Errorf("with %d bytes live: %d percent, want %d", c.live, got, c.want)
		}
	}
}
