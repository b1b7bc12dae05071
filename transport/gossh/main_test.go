package gossh

import (
	"testing"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/buffers"
	"wsproxy/internal/testkit/tunnelrig"
	"wsproxy/transport/tunnel"
	"wsproxy/transport/wsock"
)

// pooled knows all buffers of the tests.
var pooled buffers.BufferCount

func TestMain(m *testing.M) {
	wsock.TrackBuffers(pooled.Made)
	testkit.VerifyMain(m)
}

// A rig is a Mux whose client is gossh-wasm.
type rig struct {
	*tunnelrig.Rig
	dialect *Dialect
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{}
	r.Rig = tunnelrig.New(t, func(m *tunnel.Mux) tunnel.Dialect {
		r.dialect = New(m, false)
		return r.dialect
	})
	return r
}

// barrier reads the request that comes right behind tcp_open, and returns the
// answer to it.
func (r *rig) barrier() (answer []byte) {
	r.T.Helper()
	m := r.Reads()
	if m.Type != "http_request" || m.Path != "-" {
		r.T.Fatalf("behind tcp_open comes %+v", m)
	}
	return []byte(`{"type":"http_response","id":"` + m.ID + `","status":400}`)
}

// dials opens a connection of the dialect's own, which can take bytes.
func (r *rig) dials() (*conn, *tunnelrig.Stream) {
	r.T.Helper()
	c, err := dial(r.T.Context(), r.Mux, tunnelrig.Peer)
	if err != nil {
		r.T.Fatal(err)
	}
	r.T.Cleanup(func() { c.UnixConn.Close() })
	s := r.Takes()
	r.barrier()
	r.Sends(tunnelrig.Data(s.ID(), []byte("!")))
	return c, s
}

func (d *Dialect) opening() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.openings)
}
