package server

import (
	"os"
	"runtime"
	"runtime/debug"
	runtimes "runtime/metrics"
	"time"

	"wsproxy/config"
	"wsproxy/transport/wsock/rest"
)

// When memory is given back. A burst of handshakes leaves garbage that the
// collector gets round to when as much again was allocated, which a server full
// of idle sessions never does: 3,000 of them then held half as much again.
const (
	memoryLook = time.Second // how often is looked
	trimAfter  = 8 << 20     // bytes allocated since the last time: less is not worth a collection
	trimShare  = 4           // and that part of what is live, all of which a collection looks through
	trimQuiet  = 256 << 10   // bytes allocated within a look: with more, the server is busy and collects by itself
	// trimPause is how long is waited for a quiet second. After a storm with
	// light traffic behind it there is none, and a collection of what is live then
	// costs some milliseconds.
	trimPause = 10 * time.Second
	// What was live at the last collection may be garbage since, and nobody
	// allocates what would start another one: connections that strangers held and
	// let go of left 50 MiB for minutes. So it is looked through again when many
	// have gone, which shows in the goroutines. A server whose sessions stay has
	// nothing to collect.
	trimAgain     = 20 * time.Second
	trimAgainFrom = 32 << 20 // bytes live
	trimGone      = 8        // of how many parts of the goroutines one is gone
	// The stacks of those that have gone to rest go back with the next collection, too: not
	// sooner than trimPause behind another one. Less than trimRest connections are not worth
	// one: some 2 MiB.
	trimRest = 1 << 10
)

// What the process takes beside what the budgets count. The protocol
// (section 12) grants it 128 MiB, 64 KiB a session, or 192, and 32 KiB a connection,
// and each of these has a goroutine or two; a part of it is not the heap's. The
// collector works harder as the heap comes near to this.
const (
	memoryBeside       = 104 << 20 // bytes
	memoryOfAGoroutine = 24 << 10
	// memoryOfASession is what one that outlives its WebSocket holds for certain, for
	// its client and of it: it may do so without a goroutine.
	memoryOfASession = 128 << 10
	memoryStep       = 32 << 20 // in what steps the limit is set, for that stops the world
)

// How often the collector runs. By default it does when the heap has doubled,
// which for a heap of a few megabytes is dozens of times a second and took a
// tenth of the processor time of tunnelled requests. So a small heap may grow
// by heapRoom first, but at rest never beyond three times its size: with five
// times idle sessions held a tenth more after a burst. While the server is busy
// it may grow to five times; what that holds goes back when it is at rest. With
// nine times, requests of 1 KiB took up to a fiftieth less time, and half as much
// memory again: 56 MiB of the process instead of 40.
const (
	heapRoom       = 48 << 20 // bytes
	restGCPercent  = 200
	busyGCPercent  = 400
	busyAllocation = 64 << 20 // bytes allocated within a look
	leastGCChange  = 25       // percent: less is not worth stopping the world for
)

// givenMemoryLimit is that of GOMEMLIMIT; without it there is none.
var givenMemoryLimit = debug.SetMemoryLimit(-1)

// counted returns how many bytes the budgets let wait in memory.
func counted(c config.Config) int64 {
	if c.ResumeTimeout == 0 { // nothing is kept
		return c.TunnelBufferTotal
	}
	return c.TunnelBufferTotal + c.ResumeBufferTotal
}

// tendMemory sets the collector's pace and its limit, and collects garbage and
// gives memory back to the kernel after each burst, until stop is closed. pool is
// how many bytes the budgets let wait; sessions says how many outlive their
// WebSocket. An operator who sets GOGC has that pace, and
// GOMEMLIMIT may set a lower limit.
func tendMemory(stop <-chan struct{}, pool int64, sessions func() int64) {
	samples := []runtimes.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	_, paced := os.LookupEnv("GOGC")
	if !paced {
		// The process gets its pace back for what else runs in it.
		defer debug.SetGCPercent(debug.SetGCPercent(restGCPercent))
	}
	defer debug.SetMemoryLimit(givenMemoryLimit)
	percent, limit := restGCPercent, int64(0)
	trimmedAt := time.Now()
	look := time.NewTicker(memoryLook)
	defer look.Stop()
	var latest, trimmed uint64
	most := 0   // goroutines at a look since the last trim, or connections at rest in their place
	rested := 0 // connections at rest, at the look since the last trim that found least
	for {
		select {
		case <-stop:
			return
		case <-look.C:
		}
		resting := rest.Count()
		goroutines := runtime.NumGoroutine() + resting // each has a goroutine at other times
		rested = min(rested, resting)
		most = max(most, goroutines)
		if want := min(givenMemoryLimit, memoryLimit(pool, sessions(), goroutines)); want != limit {
			limit = want
			debug.SetMemoryLimit(limit)
		}
		runtimes.Read(samples)
		allocated, live := samples[0].Value.Uint64(), samples[1].Value.Uint64()
		busy := allocated-latest >= busyAllocation
		if want := gcPercent(live, busy); !paced && max(want-percent, percent-want) >= leastGCChange {
			percent = want
			debug.SetGCPercent(percent)
		}
		gone := goroutines <= most-most/trimGone && most >= trimGone
		calmed := resting-rested >= max(trimRest, goroutines/trimGone)
		if isTrimDue(allocated-trimmed, allocated-latest, live, gone, calmed, time.Since(trimmedAt)) {
			debug.FreeOSMemory()
			trimmed, trimmedAt, most, rested = allocated, time.Now(), goroutines, resting
		}
		latest = allocated
	}
}

// isTrimDue reports whether garbage is to be collected and given back: so many
// bytes were allocated since the last time, which is so long ago, and so many of
// them within a look. gone is whether many have gone since then, calmed whether many have
// gone to rest.
func isTrimDue(allocated, latest, live uint64, gone, calmed bool, since time.Duration) bool {
	quiet := latest < trimQuiet || latest < busyAllocation && since >= trimPause
	return quiet && (allocated >= max(trimAfter, live/trimShare) || calmed && since >= trimPause || gone && live >= trimAgainFrom && since >= trimAgain)
}

// memoryLimit returns what the Go runtime is to keep below, in bytes.
func memoryLimit(pool, sessions int64, goroutines int) int64 {
	most := pool + memoryBeside + memoryOfASession*sessions + memoryOfAGoroutine*int64(goroutines)
	return (most + memoryStep - 1) / memoryStep * memoryStep
}

// gcPercent returns by how many percent a heap may grow, of which so many
// bytes were live at the last collection.
func gcPercent(live uint64, busy bool) int {
	most := restGCPercent
	if busy {
		most = busyGCPercent
	}
	if live == 0 {
		return most
	}
	return int(min(max(heapRoom*100/live, 100), uint64(most)))
}
