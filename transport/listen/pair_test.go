package listen

import (
	"testing"

	"wsproxy/internal/testkit"
)

// What the kernel holds of a pair's bytes is bounded both ways: it counts as nobody's
// memory, and there is the peer's own connection beside.
func TestKernelHoldsLittleOfAPair(t *testing.T) {
	edge, front, err := newPair()
	if err != nil {
		t.Fatal(err)
	}
	defer edge.Close()
	defer front.Close()
	testkit.WantSendBuffer(t, front, pairBuffer)
	// It grows only while somebody reads, so that fill would not find it.
	testkit.WantReceiveBuffer(t, front, pairBuffer)
	testkit.WantReceiveBuffer(t, edge, pairBuffer)
	// Unbounded, it takes megabytes. Small writes cost the kernel more than they have bytes,
	// and large ones may go beyond a bound once.
	const bound = 4 * pairBuffer
	if n := fill(front); n > bound {
		t.Errorf("up: %d bytes were taken, want %d at most", n, bound)
	}
}
