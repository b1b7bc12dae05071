package ledger

import (
	"fmt"
	"net/netip"
	"testing"
)

func holdings(pairs ...int64) (all []Holding) {
	for i := 0; i < len(pairs); i += 2 {
		source := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(pairs[i])}), 32)
		all = append(all, Holding{Order: uint64(i/2 + 1), Source: source, Held: pairs[i+1]})
	}
	return all
}

func TestNewestGiveWayFirst(t *testing.T) {
	for _, c := range []struct {
		all   []Holding
		bytes int64
		want  string
	}{
		{nil, 1, "[]"},
		{holdings(1, 100<<10, 1, 200<<10, 1, 300<<10), 0, "[]"},
		{holdings(1, 100<<10, 1, 200<<10, 1, 300<<10), 1, "[3]"},
		{holdings(1, 100<<10, 1, 200<<10, 1, 300<<10), 300 << 10, "[3]"},
		{holdings(1, 100<<10, 1, 200<<10, 1, 300<<10), 300<<10 + 1, "[3 2]"},
		{holdings(1, 100<<10, 1, 0, 1, 10), 1, "[1]"}, // which hold little are spared
		{holdings(1, 100<<10, 1, 0, 1, 10), 1 << 30, "[1 3]"},
		{holdings(1, GivesMuch, 1, GivesMuch-1), 1, "[1]"},
	} {
		got := []uint64{}
		for _, h := range ToFree(c.all, c.bytes) {
			got = append(got, h.Order)
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("to free %d: %v, want %s", c.bytes, got, c.want)
		}
	}
}

func TestCrowdIsTheAddressThatHoldsMost(t *testing.T) {
	for _, c := range []struct {
		all    []Holding
		newest uint64
		held   int64
	}{
		{nil, 0, 0},
		{holdings(1, 0, 2, 0), 0, 0},
		{holdings(1, 5, 2, 9, 1, 5, 2, 0, 1, 0), 3, 19},
		{holdings(1, 5, 2, 11, 1, 5), 2, 21},
		{holdings(7, 1), 1, 1},
	} {
		newest, held := Crowd(c.all)
		if held != c.held || (newest == nil) != (c.newest == 0) || newest != nil && newest.Order != c.newest {
			t.Errorf("%v: %v, %d", c.all, newest, held)
		}
	}
}
