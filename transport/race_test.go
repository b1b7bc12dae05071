//go:build race

package transport_test

// raceDetector says that sync.Pool drops a quarter of what it is given, on
// purpose, so that allocations can't be counted exactly.
const raceDetector = true
