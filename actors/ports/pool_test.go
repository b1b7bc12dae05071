package ports

import (
	"fmt"
	"slices"
	"testing"
)

// 65535 is a port too: a loop over uint16 would never end behind it.
func TestPortsReachTheHighestPort(t *testing.T) {
	if pool := newPool(65534, 65535); !slices.Equal(pool.free, []uint16{65534, 65535}) {
		t.Errorf("the pool has %v", pool.free)
	}
	if pool := newPool(7, 7); !slices.Equal(pool.free, []uint16{7}) {
		t.Errorf("the pool of one has %v", pool.free)
	}
}

// Whatever happens, each port is either free or held by one, and none is there
// twice.
func TestPortPoolNeverLosesOrDoublesAPort(t *testing.T) {
	pool := newPool(1, 4)
	seed := uint32(7)
	random := func(n int) int { seed = seed*1664525 + 1013904223; return int(seed>>16) % n }
	for step := range 20000 {
		holder := fmt.Sprint(random(6))
		switch random(3) {
		case 0:
			pool.end(holder)
		case 1:
			pool.take(holder, uint16(random(5)))
		default:
			if before := pool.held[holder]; before != 0 {
				if port, _ := pool.take(holder, before); port == before {
					t.Fatalf("step %d: the busy port %d is lent again", step, port)
				}
			}
		}
		all := slices.Clone(pool.free)
		for _, port := range pool.held {
			all = append(all, port)
		}
		slices.Sort(all)
		if !slices.Equal(all, []uint16{1, 2, 3, 4}) {
			t.Fatalf("step %d: the ports are %v", step, all)
		}
	}
}
