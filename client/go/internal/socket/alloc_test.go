// The race detector makes pools lose what they have, so that allocations can't be counted.

//go:build !race

package socket

import (
	"testing"

	"wsproxy/transport/wsock/replay"
)

// A message with its trailer is written without an allocation.
func TestWriteDoesNotAllocate(t *testing.T) {
	c := &Conn{wire: newWire(&road{nowhere{}, nowhere{}}, false)}
	c.wire.holds = true
	payload, trailer := make([]byte, replay.MaxPayload), make([]byte, replay.TrailerSize)
	pieces := [][]byte{payload, trailer}
	if n := testing.AllocsPerRun(100, func() {
		pieces[0] = payload[:1000]
		c.Write(Binary, pieces...)
		c.Write(Text, trailer)
		_ = c.Flush()
		pieces[0] = payload
		c.Write(Binary, pieces...)
		_ = c.Flush()
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
