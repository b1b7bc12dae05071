package wsock

import (
	"testing"

	"wsproxy/internal/testkit"
)

// What a client does not read waits in the kernel too, which containers are
// charged for.
func TestKernelHoldsLittleOfAWebSocket(t *testing.T) {
	_, far := testkit.TCPPair(t)
	if _, err := NewConn(far); err != nil {
		t.Fatal(err)
	}
	testkit.WantSendBuffer(t, far, SendBuffer)
	if SendBuffer != 1<<20 {
		t.Errorf("the protocol grants 1 MiB, not %d bytes", SendBuffer)
	}
}
