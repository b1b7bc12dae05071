package recent

import (
	"fmt"
	"testing"
)

func TestRecentIDsAreThoseOfTheLastUse(t *testing.T) {
	r := New(3)
	for i, step := range []struct {
		id  string
		new bool
	}{
		{"a", true}, {"b", true}, {"c", true}, {"a", false}, {"d", true}, // b goes, which was used longest ago
		{"a", false}, {"c", false}, {"b", true}, // d goes
		{"a", false}, {"c", false}, {"d", true},
	} {
		if got := r.Add(step.id); got != step.new {
			t.Errorf("step %d: %s is new: %v", i, step.id, got)
		}
	}
	if len(r.known) != 3 || r.order.Len() != 3 {
		t.Errorf("%d ids are known, %d in order", len(r.known), r.order.Len())
	}
}

func TestEndedIDsAreTheLast(t *testing.T) {
	var r Ended
	for i := range 3 * remembered {
		r.Add(fmt.Sprint(i))
		if oldest := max(0, i+1-remembered); !r.Has(fmt.Sprint(i)) || !r.Has(fmt.Sprint(oldest)) || r.Has(fmt.Sprint(oldest-1)) {
			t.Fatalf("after %d: %d is known: %v, %d: %v, %d: %v", i, i, r.Has(fmt.Sprint(i)),
				oldest, r.Has(fmt.Sprint(oldest)), oldest-1, r.Has(fmt.Sprint(oldest-1)))
		}
	}
}
