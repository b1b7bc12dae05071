package server

import (
	"testing"
	"time"

	"wsproxy/config"
)

func TestTrimIsDue(t *testing.T) {
	for _, c := range []struct {
		name                    string
		allocated, latest, live uint64
		gone, calmed            bool
		since                   time.Duration
		want                    bool
	}{
		{"at rest", 1 << 20, 0, 1 << 20, true, false, time.Hour, false},
		{"behind a burst", trimAfter, trimQuiet - 1, 1 << 20, false, false, time.Second, true},
		{"a fifth of what lives", trimAfter, 0, 5 * trimAfter, false, false, time.Hour, false},
		{"a fourth of it", 2 * trimAfter, 0, 8 * trimAfter, false, false, time.Second, true},
		{"within it", trimAfter, trimQuiet, 1 << 20, true, false, time.Second, false},
		{"light traffic", trimAfter, trimQuiet, 1 << 20, false, false, trimPause, true},
		{"busy", 1 << 40, busyAllocation, 1 << 30, true, false, time.Hour, false},
		{"what was live may be garbage", 0, 0, trimAgainFrom, true, false, trimAgain, true},
		{"it was looked at just now", 0, 0, trimAgainFrom, true, false, trimAgain - 1, false},
		{"little was live", 0, 0, trimAgainFrom - 1, true, false, time.Hour, false},
		{"the sessions stay", 0, 0, 1 << 30, false, false, time.Hour, false},
		{"many have gone to rest", 0, 0, 0, false, true, trimPause, true},
		{"they go and come", 0, 0, 0, false, true, trimPause - 1, false},
	} {
		if got := isTrimDue(c.allocated, c.latest, c.live, c.gone, c.calmed, c.since); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestCollectorPace(t *testing.T) {
	for _, c := range []struct {
		live uint64
		rest int
		busy int
	}{
		{0, 200, 400}, // before the first collection
		{1, 200, 400}, {12 << 20, 200, 400},
		{16 << 20, 200, 300}, {24 << 20, 200, 200},
		{30 << 20, 160, 160},
		{48 << 20, 100, 100}, {49 << 20, 100, 100}, {1 << 40, 100, 100}, // Go's own pace
	} {
		if rest, busy := gcPercent(c.live, false), gcPercent(c.live, true); rest != c.rest || busy != c.busy {
			t.Errorf("with %d bytes live: %d percent at rest, %d busy, want %d and %d", c.live, rest, busy, c.rest, c.busy)
		}
	}
}

// What sessions keep for their next WebSocket is memory that the budgets let wait.
func TestMemoryOfSessionsThatCanBeTakenUp(t *testing.T) {
	c := config.Config{TunnelBufferTotal: 128 << 20, ResumeBufferTotal: 64 << 20, ResumeTimeout: time.Minute}
	if got := counted(c); got != 192<<20 {
		t.Errorf("it is %d MiB, want 192", got>>20)
	}
	c.ResumeTimeout = 0
	if got := counted(c); got != 128<<20 {
		t.Errorf("without such sessions it is %d MiB, want 128", got>>20)
	}
}

func TestMemoryLimit(t *testing.T) {
	for _, c := range []struct {
		pool       int64
		sessions   int64
		goroutines int
		want       int64 // MiB
	}{
		{256 << 20, 0, 0, 384}, {256 << 20, 0, 20, 384}, {256 << 20, 0, 2000, 416}, {0, 0, 0, 128}, {64 << 20, 0, 100_000, 2528},
		{512 << 20, 5000, 0, 1248}, {192 << 20, 1000, 3000, 512},
	} {
		if got := memoryLimit(c.pool, c.sessions, c.goroutines); got != c.want<<20 {
			t.Errorf("%d bytes, %d sessions and %d goroutines: %d MiB, want %d", c.pool, c.sessions, c.goroutines, got>>20, c.want)
		}
	}
}
