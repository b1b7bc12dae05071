package e2e

import (
	"fmt"
	"testing"
)

// A body that stops is always told, though net/http takes its end for that of the
// outside client.
func TestBytesBodiesStop(t *testing.T) {
	t.Parallel()
	r := newBytesRigTo(t, stalledService(t), "",
		"TUNNEL_HTTP_TIMEOUT=2s", "MAX_TUNNEL_HTTP=0", "MAX_TUNNEL_HTTP_PER_IP=0", "MAX_HTTP_CONNS_PER_IP=0")
	var wires []*tunnelWire
	for range 300 {
		wire := r.wire(t)
		_, _ = fmt.Fprintf(wire, "PUT / HTTP/1.1\r\nHost: %s\r\nContent-Length: 10\r\n\r\nbegin", r.c.host)
		wires = append(wires, wire)
	}
	for _, wire := range wires {
		if reply := wire.hear(t, "PUT"); reply.status != 408 {
			t.Errorf("the answer is %d %q", reply.status, reply.body)
		}
	}
}
