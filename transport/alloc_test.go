package transport_test

import (
	"io"
	"runtime"
	"testing"
)

// mallocs returns how many allocations run makes for each of count messages,
// all goroutines of the process together. The lowest of several rounds counts:
// the runtime allocates for itself now and then.
func mallocs(count int, run func()) float64 {
	lowest := uint64(1 << 62)
	var before, after runtime.MemStats
	for range 5 {
		runtime.ReadMemStats(&before)
		run()
		runtime.ReadMemStats(&after)
		lowest = min(lowest, after.Mallocs-before.Mallocs)
	}
	return float64(lowest) / float64(count)
}

// In the steady state a message costs at most one allocation in each direction,
// the client's and the target's included, whatever its size.
func TestMessagesCostNoAllocations(t *testing.T) {
	target := listen(t)
	v := newStand(t).open(t, target)
	allowed := 1.0
	if raceDetector {
		allowed = 3 // the pools make a new buffer and a new call for every fourth that is given back, and this package's tests note it
	}
	for _, size := range messageSizes {
		count := min(400, 8<<20/size) // enough to drown what the test itself allocates
		pumpUp(t, v, size, count)     // fills the pools
		pumpDown(t, v, size, count)
		if got := mallocs(count, func() { pumpUp(t, v, size, count) }); got > allowed {
			t.Errorf("a message of %d bytes to the target costs %.2f allocations", size, got)
		}
		if got := mallocs(count, func() { pumpDown(t, v, size, count) }); got > allowed {
			t.Errorf("a message of %d bytes to the client costs %.2f allocations", size, got)
		}
	}
}

// One message at a time, each waking the pumps: the waiting costs nothing
// either.
func TestSingleMessagesCostNoAllocations(t *testing.T) {
	target := listen(t)
	v := newStand(t).open(t, target)
	frame, buf := upFrame(64), make([]byte, 64)
	trip := func() {
		if _, err := v.client.Write(frame); err != nil {
			t.Fatal(err)
		}
		if _, err := v.target.Read(buf); err != nil {
			t.Fatal(err)
		}
		if _, err := v.target.Write(buf); err != nil {
			t.Fatal(err)
		}
		if err := v.readPayload(64); err != nil {
			t.Fatal(err)
		}
	}
	trip()
	allowed := 2.0 // one in each direction
	if raceDetector {
		allowed = 4
	}
	if got := testing.AllocsPerRun(500, trip); got > allowed {
		t.Errorf("a round trip costs %v allocations", got)
	}
}

// openAllocations is how many allocations a session may cost from its client's SYN to the
// end of both connections, those of the client and the target of this test included: as
// measured, and a tenth for what the collector has pools make anew.
const openAllocations = 320

// A session is opened, used and closed without more allocations than are known.
func TestOpeningASessionAllocatesLittle(t *testing.T) {
	target := listen(t)
	s := newStand(t)
	frame, buf := upFrame(10), make([]byte, 10)
	const count = 50
	visit := func() {
		for range count {
			v := s.open(t, target)
			if _, err := v.client.Write(frame); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(v.target, buf); err != nil {
				t.Fatal(err)
			}
			v.close()
		}
	}
	visit()
	if got := mallocs(count, visit); got > openAllocations && !raceDetector {
		t.Errorf("a session costs %.0f allocations, %d are allowed", got, openAllocations)
	}
}
