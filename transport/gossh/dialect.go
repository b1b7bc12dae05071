package gossh

import (
	"maps"
	"sync"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/tunnel"
	"wsproxy/transport/wsock"
)

const (
	// cutAt is where it cuts what it sends, in bytes.
	cutAt = 4096
	// maxMessage is the longest message that it reads as one, in bytes.
	maxMessage = 64 << 10
	// settles is how long after a barrier's answer the SSH channel may
	// still take to open.
	settles = 150 * time.Millisecond
	// barrierPatience is how long a barrier, which it answers at once, may go
	// unanswered: then the connection is reset, rather than held for ever.
	barrierPatience = 30 * time.Second
	// idsRemembered is how many ids are remembered for certain, so that the
	// start of a message is told from the rest of one. 100 requests may wait
	// for a minute while others come and go.
	idsRemembered = 16 << 10
	// maxBarriers is how many barriers wait for an answer before those that
	// nobody needs any more are forgotten.
	maxBarriers = 1024
)

// A Dialect is what a tunnel remembers for such a client. See [tunnel.Dialect]
// and [forward.Dialect] for its methods.
type Dialect struct {
	requests

	mu       sync.Mutex          // of what follows
	recent   map[string]struct{} // ids of requests and connections
	earlier  map[string]struct{} // those before recent
	barriers map[string]*opening // by the id of the http_request
	openings map[string]*opening // by connId
}

// An opening is a raw connection whose bytes are held back until the client
// can take them. It belongs to Dialect.mu.
type opening struct {
	stream *tunnel.Stream
	ready  chan struct{} // closed when the client can take the bytes
	timer  *time.Timer
	over   bool // the bytes go, or will never go; the barrier's answer may still come
}

// New returns the dialect of one tunnel. credentials says whether cookies pass
// in both directions (TUNNEL_FORWARD_CREDENTIALS).
func New(mux *tunnel.Mux, credentials bool) *Dialect {
	return &Dialect{
		requests: newRequests(mux, credentials),
		recent:   make(map[string]struct{}),
		barriers: make(map[string]*opening), openings: make(map[string]*opening),
	}
}

// ControlOpcode is binary: a text message reaches the client as nothing.
func (d *Dialect) ControlOpcode() byte { return wsock.OpBinary }

// MaxCoalesced fills a message that the client reads as one.
func (d *Dialect) MaxCoalesced() int { return maxMessage - messages.DataHeader }

// Reassemble joins what the client has cut.
func (d *Dialect) Reassemble(next tunnel.Pieces) tunnel.Pieces {
	r := reassembler{piece: next, knows: d.knows}
	return r.take
}

// RequestSent notes an id that the client may use from now on.
func (d *Dialect) RequestSent(id string) { d.remember(id) }

// remember notes an id that the client may use from now on.
func (d *Dialect) remember(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.recent) >= idsRemembered {
		d.recent, d.earlier = make(map[string]struct{}), d.recent
	}
	d.recent[id] = struct{}{}
}

// knows reports whether an id was given to the client. One that has ended
// counts: what the client still sends about it is a message, too.
func (d *Dialect) knows(id []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.openings[string(id)]; ok {
		return true
	}
	if _, ok := d.recent[string(id)]; ok {
		return true
	}
	_, ok := d.earlier[string(id)]
	return ok
}

// Announce holds a new stream's bytes back, and asks for a barrier to be sent
// right behind its tcp_open: a request whose path is invalid, which the client
// answers at once and in turn. Thus its answer shows that tcp_open has been
// read, and the SSH channel is under way.
func (d *Dialect) Announce(s *tunnel.Stream) tunnel.Announcement {
	id := messages.NewID(messages.IDBytes)
	d.remember(s.ID())
	d.remember(id)
	o := &opening{stream: s, ready: make(chan struct{})}
	d.mu.Lock()
	if len(d.barriers) >= maxBarriers {
		maps.DeleteFunc(d.barriers, func(_ string, o *opening) bool { return o.over })
	}
	d.openings[s.ID()], d.barriers[id] = o, o
	o.timer = time.AfterFunc(barrierPatience, func() { s.Abort(messages.CloseReset) })
	d.mu.Unlock()
	var p pace
	return tunnel.Announcement{
		Message: messages.EncodeRequest(messages.Request{ID: id, Method: "GET", Path: "-"}),
		Ready:   o.ready,
		Pause:   p.next,
		Ended:   func() { d.forget(s.ID()) },
	}
}

// Answered reports whether a response answers a barrier. Then the bytes go soon,
// if they wait for it.
func (d *Dialect) Answered(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.barriers[id]
	if o == nil {
		return false
	}
	delete(d.barriers, id)
	if o.over {
		return true
	}
	o.timer.Stop()
	o.timer = time.AfterFunc(settles, func() { d.DataReceived(o.stream.ID()) })
	return true
}

// DataReceived lets a stream's bytes go: the client can take them. If it has
// sent bytes of it, it has a channel for it.
func (d *Dialect) DataReceived(connID string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if o := d.openings[connID]; o != nil {
		close(o.ready)
		d.drop(o)
	}
}

// forget ends an opening that came to nothing.
func (d *Dialect) forget(connID string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if o := d.openings[connID]; o != nil {
		d.drop(o)
	}
}

func (d *Dialect) drop(o *opening) {
	o.timer.Stop()
	o.over = true
	delete(d.openings, o.stream.ID())
}
