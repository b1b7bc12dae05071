package config

import "testing"

func TestDefaultOfHTTPConns(t *testing.T) {
	for descriptors, want := range map[uint64]int{0: 1, 5: 1, 256: 85, 1024: 341, 12_287: 4095, 12_288: 4096, 1 << 63: 4096} {
		if got := defaultHTTPConns(descriptors); got != want {
			t.Errorf("of %d descriptors %d", descriptors, got)
		}
	}
}
