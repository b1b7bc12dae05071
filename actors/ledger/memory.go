package ledger

import (
	"cmp"
	"net/netip"
	"slices"
)

// GivesMuch is from how many bytes ending what holds them is worth it. Less is
// ended only if there is nothing that holds so much.
const GivesMuch = 64 << 10

// A Holding is what one request or raw connection holds of its tunnel's memory.
type Holding struct {
	Order  uint64       // of its coming
	Source netip.Prefix // what is counted for its source address
	Held   int64        // bytes
	End    func()       // has it give way
}

// ToFree returns what must give way so that about so many bytes come back: the
// newest first, of those that hold much.
func ToFree(all []Holding, bytes int64) (chosen []Holding) {
	slices.SortFunc(all, func(a, b Holding) int {
		if a, b := a.Held >= GivesMuch, b.Held >= GivesMuch; a != b {
			if a {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.Order, a.Order)
	})
	for _, h := range all {
		if bytes <= 0 {
			break
		}
		if h.Held > 0 {
			bytes -= h.Held
			chosen = append(chosen, h)
		}
	}
	return chosen
}

// Crowd returns the newest holding of the source address that holds most, and how
// many bytes all together hold. It is nil if that is nothing.
func Crowd(all []Holding) (newest *Holding, held int64) {
	by := make(map[netip.Prefix]int64)
	for _, h := range all {
		held += h.Held
		by[h.Source] += h.Held
	}
	for i := range all {
		h := &all[i]
		if h.Held == 0 {
			continue
		}
		if newest == nil || by[h.Source] > by[newest.Source] || h.Source == newest.Source && h.Order > newest.Order {
			newest = h
		}
	}
	return newest, held
}
