package ledger

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// requestOf returns a request of a source that has arrived.
func requestOf(s *Slots, id, source string) *Slot {
	r := &Slot{ID: id, Source: netip.MustParsePrefix(source)}
	s.Arrive(r)
	return r
}

func TestNewestOfTheAddressThatHasMostGivesWay(t *testing.T) {
	s := NewSlots(6, 3)
	for i, source := range []string{"192.0.2.1/32", "192.0.2.1/32", "192.0.2.2/32", "192.0.2.1/32", "192.0.2.3/32", "192.0.2.2/32"} {
		if s.Full() {
			t.Fatalf("full with %d", i)
		}
		s.Take(requestOf(s, fmt.Sprint(i), source))
	}
	waits := requestOf(s, "waits", "192.0.2.1/32") // has no slot to give
	for _, c := range []struct{ source, want string }{
		{"192.0.2.4/32", "3"}, {"192.0.2.3/32", "3"},
		{"192.0.2.2/32", ""}, // would have as many
		{"192.0.2.1/32", ""}, // its own
	} {
		got := ""
		if r := s.Yielding(netip.MustParsePrefix(c.source)); r != nil {
			got = r.ID
		}
		if got != c.want || !s.Full() {
			t.Errorf("to %s gives way %q, want %q", c.source, got, c.want)
		}
	}
	s.Leave(waits)
	s.Leave(s.Yielding(netip.MustParsePrefix("192.0.2.4/32")))
	if s.Full() {
		t.Error("full without the one that gave way")
	}
	s.Take(requestOf(s, "new", "192.0.2.4/32"))
	if r := s.Yielding(netip.MustParsePrefix("192.0.2.5/32")); r == nil || r.ID != "5" {
		t.Errorf("of two addresses with as many the newest is %v", r)
	}
}

// A /48 that has a slot for each of its /64s has more than anybody else.
func TestAddressesOfOneNetworkGiveWay(t *testing.T) {
	s := NewSlots(8, 4)
	for i := range 8 {
		s.Take(requestOf(s, fmt.Sprint(i), fmt.Sprintf("2001:db8:0:%d::/64", i)))
	}
	if r := s.Yielding(netip.MustParsePrefix("192.0.2.1/32")); r == nil || r.ID != "7" {
		t.Errorf("%v gives way", r)
	}
	if r := s.Yielding(netip.MustParsePrefix("2001:db8:0:9::/64")); r != nil {
		t.Errorf("%v gives way to its own network", r)
	}
}

func TestBodiesOfOneAddressAreBounded(t *testing.T) {
	s := NewSlots(2, 1)
	var read []*Slot
	for i := range 5 {
		r := requestOf(s, fmt.Sprint(i), "192.0.2.1/32")
		if may := s.Reads(r); may != (i < 4) {
			t.Errorf("number %d may be read: %t", i, may)
		}
		read = append(read, r)
	}
	if !s.Reads(requestOf(s, "other", "192.0.2.2/32")) {
		t.Error("another's may not")
	}
	s.Take(read[0])
	s.Leave(read[1])
	for i, want := range []bool{true, true, false} {
		if may := s.Reads(requestOf(s, fmt.Sprint("late", i), "192.0.2.1/32")); may != want {
			t.Errorf("then number %d may be read: %t", i, may)
		}
	}
	for i := range 17 { // of a /48 four times as many
		r := requestOf(s, fmt.Sprint("six", i), fmt.Sprintf("2001:db8:0:%d::/64", i))
		if may := s.Reads(r); may != (i < 16) {
			t.Errorf("of a /48 number %d may be read: %t", i, may)
		}
	}
}

// Whatever comes and goes, order and counts are those of a list.
func TestSlotsAgreeWithAList(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	s := NewSlots(5, 3)
	var all []*Slot
	for step := range 20_000 {
		switch op := random.IntN(3); {
		case op == 0 && len(all) < 20:
			all = append(all, requestOf(s, fmt.Sprint(step), fmt.Sprintf("2001:db8:%d:%d::/64", random.IntN(2), random.IntN(3))))
			s.Reads(all[len(all)-1])
		case op == 1 && len(all) > 0:
			if r := all[random.IntN(len(all))]; !r.held {
				s.Take(r)
			}
		case op == 2 && len(all) > 0:
			i := random.IntN(len(all))
			s.Leave(all[i])
			all = append(all[:i], all[i+1:]...)
		}
		i, taken := len(all), 0
		for r := range s.Newest() {
			if i--; i < 0 || r != all[i] {
				t.Fatalf("step %d: the order is another", step)
			}
			if r.held {
				taken++
			}
		}
		if i != 0 || taken != s.taken || s.Full() != (taken >= 5) {
			t.Fatalf("step %d: %d are missing; %d taken, counted %d", step, i, taken, s.taken)
		}
	}
	for _, r := range all {
		s.Leave(r)
	}
	if len(s.held)+len(s.reads) > 0 || s.first != nil || s.last != nil {
		t.Errorf("left are %v, %v", s.held, s.reads)
	}
}
