package forward

import (
	"wsproxy/transport/outside"
	"wsproxy/transport/service"
)

// directWorth is from how many bytes on what is left of a body, behind its first chunk,
// goes past the buffers of net/http. What comes with the head is sent with it.
const directWorth = 16 << 10

// bodyChunks are the chunks in which the body comes.
type bodyChunks struct {
	*service.Lease
	rt *roundTrip
}

// Next waits for the next one.
func (c bodyChunks) Next() ([]byte, error) {
	if c.Waits() {
		c.rt.watchOutside()
	}
	return c.Lease.Next(c.rt.stop)
}

// passDirectly passes on so many bytes of the body, of which none has come.
func (rt *roundTrip) passDirectly(left int64) error {
	if err := rt.flush(); err != nil {
		return err
	}
	rt.conn.Passed(rt.chunk)
	body := outside.Body{Left: left, Chunks: bodyChunks{rt.conn, rt}, Patience: rt.patience}
	chunk, rest, err := body.Pass(rt.x.w)
	if rt.chunk, rt.rest = chunk, rest; err != nil {
		return notEnd(err)
	}
	return rt.finish(false)
}
