package gossh

import (
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/buffers"
	"wsproxy/internal/testkit/tunnelrig"
	"wsproxy/messages"
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
	c, err := open(r.Mux, "127.0.0.1:4711")
	if err != nil {
		r.T.Fatal(err)
	}
	s := r.Takes()
	r.barrier()
	r.Sends(tunnelrig.Data(s.ID(), []byte("!")))
	testkit.Hears[*messages.Data](r.Handler)
	r.Mux.Handled(1)
	return c, s
}

// reads returns what comes from the service, if it comes within so long.
func (c *conn) reads(within time.Duration) (string, error) {
	stop := make(chan struct{})
	defer time.AfterFunc(within, func() { close(stop) }).Stop()
	chunk, err := c.Next(stop)
	if err != nil {
		return "", err
	}
	defer c.Passed(chunk)
	return string(chunk), nil
}

func (d *Dialect) opening() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.openings)
}
