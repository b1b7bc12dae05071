package main

import (
	"runtime/debug"
	runtimes "runtime/metrics"
	"time"
)

// When memory is given back. A burst of handshakes leaves garbage that the
// collector gets round to when as much again was allocated, which a server full
// of idle sessions never does: 3,000 of them then held half as much again.
const (
	trimLook  = time.Second // how often is looked
	trimAfter = 8 << 20     // bytes allocated since the last time: less is not worth a collection
	trimQuiet = 256 << 10   // bytes allocated within a look: with more, the server is busy and collects by itself
)

// trimWhenQuiet collects garbage and gives memory back to the kernel after each
// burst, until stop is closed.
func trimWhenQuiet(stop <-chan struct{}) {
	sample := []runtimes.Sample{{Name: "/gc/heap/allocs:bytes"}}
	look := time.NewTicker(trimLook)
	defer look.Stop()
	var latest, trimmed uint64
	for {
		select {
		case <-stop:
			return
		case <-look.C:
		}
		runtimes.Read(sample)
		allocated := sample[0].Value.Uint64()
		if allocated-trimmed >= trimAfter && allocated-latest < trimQuiet {
			debug.FreeOSMemory()
			trimmed = allocated
		}
		latest = allocated
	}
}
