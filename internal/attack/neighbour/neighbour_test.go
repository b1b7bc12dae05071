package neighbour

import (
	"errors"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	t.Parallel()
	var times []time.Duration
	for i := range 100 {
		times = append(times, time.Duration(100-i))
	}
	for p, want := range map[int]time.Duration{1: 1, 50: 50, 99: 99, 100: 100} {
		if got := percentile(times, p); got != want {
			t.Errorf("of 1 to 100, %d percent are within %d", p, got)
		}
	}
	if got := percentile(times[:1], 99); got != 100 {
		t.Errorf("of one, it is %d", got)
	}
	if got := percentile(nil, 99); got != 0 {
		t.Errorf("of none, it is %d", got)
	}
}

// A report has each kind, and all small ones together, and forgets.
func TestReport(t *testing.T) {
	t.Parallel()
	n := &neighbour{times: map[string][]time.Duration{}, fails: map[string][]string{}}
	n.note("relay", 1, nil)
	n.note("relay", 3, errors.New("first"))
	n.note("raw", 2, nil)
	n.note(Large, 100, nil)
	report := n.report()
	if m := report["relay"]; m != (Measure{Requests: 2, Failures: 1, Failure: "first", Median: 1, P99: 3}) {
		t.Errorf("relay: %+v", m)
	}
	if m := report[Small]; m.Requests != 3 || m.P99 != 3 || m.Failures != 0 {
		t.Errorf("the small ones: %+v", m)
	}
	if m := report[Large]; m.P99 != 100 {
		t.Errorf("the large ones: %+v", m)
	}
	if m := n.report()["relay"]; m.Requests != 0 {
		t.Errorf("it is told again: %+v", m)
	}
}
