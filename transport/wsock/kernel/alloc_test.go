//go:build !race && !windows

package kernel_test

import (
	"io"
	"testing"

	"wsproxy/transport/wsock/kernel"
)

func TestStreamsAllocateNothing(t *testing.T) {
	_, b, raw := pair(t)
	data, got := make([]byte, 48), make([]byte, 48)
	if allocs := testing.AllocsPerRun(200, func() {
		_, _ = kernel.Send(raw, data[:16], data[16:32], data[32:])
		_, _ = io.ReadFull(b, got)
		_, _ = b.Write(got[:1])
		_, _ = kernel.Receive(raw, got)
	}); allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// The keepalive asks with each ping, of thousands of sessions that do nothing else.
func TestAllocatesNothingToAskTheKernel(t *testing.T) {
	_, b, raw := pair(t)
	if _, err := b.Write(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if allocs := testing.AllocsPerRun(200, func() {
		_, _ = kernel.BytesWritten(raw), kernel.BytesAcked(raw)
		_ = kernel.Look(raw)
	}); allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}
