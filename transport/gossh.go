package transport

import (
	"maps"
	"sync"
	"time"

	"wsproxy/messages"
)

// What is different for gossh-wasm, an SSH client that is a Go program in a web
// page (control=gossh). Nothing of it touches other clients. All numbers were
// measured with that client in a browser.
//
//   - It sends everything in binary messages of at most 4,096 bytes, the rest
//     of a longer one as the next message: see gosshJoiner.
//   - It knows a raw connection only when its own SSH channel is open, and
//     drops without a word what comes before; it has no message that says so:
//     see announce.
//   - It takes a message above 64 KiB for several; and of a raw connection it
//     queues 256 frames, whatever their size, and drops the connection beyond:
//     see gosshMessage and gosshPace.
//   - Some HTTP requests it can't pass on as http_request: see carriesGossh.
//   - It ignores tcp_close, and holds one of its 100 slots for a raw connection
//     until the service has ended and a write has failed: see insideConn.
const (
	// gosshCut is where it cuts what it sends, in bytes.
	gosshCut = 4096
	// gosshMessage is the longest message that it reads as one, in bytes.
	gosshMessage = 64 << 10
	// gosshSettles is how long after a barrier's answer the SSH channel may
	// still take to open.
	gosshSettles = 150 * time.Millisecond
	// gosshPatience is how long a barrier, which it answers at once, may go
	// unanswered: then the connection is reset, rather than held for ever.
	gosshPatience = 30 * time.Second
	// gosshRemembers is how many ids are remembered for certain, so that the
	// start of a message is told from the rest of one. 100 requests may wait
	// for a minute while others come and go.
	gosshRemembers = 16 << 10
	// gosshBarriers is how many barriers wait for an answer before those that
	// nobody needs any more are forgotten.
	gosshBarriers = 1024
)

// A gossh is what a link remembers for such a client. Any goroutine may use it.
type gossh struct {
	mu       sync.Mutex
	recent   map[string]struct{} // ids of requests and connections
	earlier  map[string]struct{} // those before recent
	barriers map[string]*opening // by the id of the http_request
	openings map[string]*opening // by connId
	outside  bytesProxy          // carries requests that http_request can't
}

// An opening is a raw connection whose bytes are held back until the client
// can take them. It belongs to gossh.mu.
type opening struct {
	stream *stream
	timer  *time.Timer
	over   bool // the bytes go, or will never go; the barrier's answer may still come
}

func newGossh(l *link) *gossh {
	return &gossh{
		outside:  newBytesProxy(l),
		recent:   make(map[string]struct{}),
		barriers: make(map[string]*opening), openings: make(map[string]*opening),
	}
}

// remember notes an id that the client may use from now on.
func (g *gossh) remember(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.recent) >= gosshRemembers {
		g.recent, g.earlier = make(map[string]struct{}), g.recent
	}
	g.recent[id] = struct{}{}
}

// knows reports whether an id was given to the client. One that has ended
// counts: what the client still sends about it is a message, too.
func (g *gossh) knows(id []byte) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.openings[string(id)]; ok {
		return true
	}
	if _, ok := g.recent[string(id)]; ok {
		return true
	}
	_, ok := g.earlier[string(id)]
	return ok
}

// announce holds a new raw connection's bytes back, and returns the barrier to
// be sent right behind its tcp_open: a request whose path is invalid, which the
// client answers at once and in turn. Thus its answer shows that tcp_open has
// been read, and the SSH channel is under way.
func (g *gossh) announce(s *stream) (barrier []byte) {
	id := messages.NewID(messages.IDBytes)
	g.remember(s.id)
	g.remember(id)
	o := &opening{stream: s}
	g.mu.Lock()
	if len(g.barriers) >= gosshBarriers {
		maps.DeleteFunc(g.barriers, func(_ string, o *opening) bool { return o.over })
	}
	g.openings[s.id], g.barriers[id] = o, o
	o.timer = time.AfterFunc(gosshPatience, func() { s.Abort(messages.CloseReset) })
	g.mu.Unlock()
	return messages.EncodeRequest(messages.Request{ID: id, Method: "GET", Path: "-"})
}

// answered reports whether a response answers a barrier. Then the bytes go soon,
// if they wait for it.
func (g *gossh) answered(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.barriers[id]
	if o == nil {
		return false
	}
	delete(g.barriers, id)
	if o.over {
		return true
	}
	o.timer.Stop()
	o.timer = time.AfterFunc(gosshSettles, func() { g.open(o.stream) })
	return true
}

// open lets a connection's bytes go: the client can take them.
func (g *gossh) open(s *stream) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if o := g.openings[s.id]; o != nil {
		close(s.held)
		g.drop(o)
	}
}

// heard is open for a connection of which the client has sent bytes: it has a
// channel for it.
func (g *gossh) heard(connID string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if o := g.openings[connID]; o != nil {
		close(o.stream.held)
		g.drop(o)
	}
}

// forget ends an opening that came to nothing.
func (g *gossh) forget(s *stream) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if o := g.openings[s.id]; o != nil {
		g.drop(o)
	}
}

func (g *gossh) drop(o *opening) {
	o.timer.Stop()
	o.over = true
	delete(g.openings, o.stream.id)
}

// A gosshPace keeps a raw connection from being cut into more frames than the
// client queues: small ones that come fast wait a little, and are read as one.
// What is typed, or asked and answered, is never that fast for that long.
type gosshPace struct {
	used float64   // frames of the allowance that are used up
	last time.Time // when that was so
}

const (
	gosshBurst = 32                   // frames that may come at once
	gosshStep  = 5 * time.Millisecond // for each further one
	gosshSmall = bufferSize / 2       // bytes of payload from which on a frame is not small
)

// next returns how long to wait after a frame with n bytes of payload. It may
// be called on nil.
func (p *gosshPace) next(n int) time.Duration {
	if p == nil || n >= gosshSmall {
		return 0
	}
	now := time.Now()
	p.used = max(p.used-float64(now.Sub(p.last))/float64(gosshStep), 0) + 1
	p.last = now
	return max(time.Duration((p.used-gosshBurst)*float64(gosshStep)), 0)
}
