package stalls

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

const (
	// Looks is how often a peer is looked at within the stall time-out: that much later at
	// most is it found out.
	Looks = 16
	// Worth is from how many bytes that wait a connection is followed. What a hundred have
	// that are never followed is small beside a tunnel's memory.
	Worth = 64 << 10
	// RequestPatience is the part of the stall time-out after which requests give way that
	// hold up their tunnel. Unlike a raw peer, which can't be asked to come back, an outside
	// client gets a 503; and some read as slowly as they like.
	RequestPatience = 4
)

// Look asks a handler to look at its slow connections, by [Watch.Judge].
type Look struct{}

// A Watch follows the connections that have much waiting, and finds the one to close when
// the tunnel can't be read on because of it. Progress is what the peer's kernel has
// acknowledged: completed writes advance in steps of megabytes. It belongs to the handler
// that it is part of.
type Watch struct {
	Timeout time.Duration // after which a peer that acknowledges nothing has stalled

	slow  map[string]*slowConn // by connId
	timer *time.Timer          // nil while there is nothing to watch
	full  time.Time            // since when every look has found the tunnel full; zero if the last has not
}

type slowConn struct {
	acked int64
	since time.Time // when acked last changed
}

// Add begins to watch a connection.
func (w *Watch) Add(ctx actor.Context, id string) {
	if w.slow[id] != nil {
		return
	}
	if w.slow == nil {
		w.slow = make(map[string]*slowConn)
	}
	w.slow[id] = &slowConn{acked: -1, since: time.Now()}
	w.Begin(ctx)
}

// Begin sees to it that a look is due.
func (w *Watch) Begin(ctx actor.Context) {
	if w.timer == nil {
		self, root := ctx.Self(), ctx.ActorSystem().Root
		w.timer = time.AfterFunc(w.Timeout/Looks, func() { root.Send(self, &Look{}) })
	}
}

// End ends the looking.
func (w *Watch) End() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// Judge looks at the slow connections. full says that the tunnel can't be read on, and state
// how many bytes wait for the peer of a connection and how many its kernel has acknowledged;
// nothing waits for one that there is not. It returns the connection with the most waiting if
// its peer holds the tunnel up and has stalled, else "", or that the tunnel was full for so
// long that requests are to give way.
func (w *Watch) Judge(ctx actor.Context, full bool, state func(id string) (waiting, acked int64)) (stalled string, crowded bool) {
	w.timer = nil
	now := time.Now()
	var worst string
	var worstWaiting int64
	var worstSince time.Time
	for id, s := range w.slow {
		waiting, acked := state(id)
		if waiting <= Worth {
			delete(w.slow, id)
			continue
		}
		if acked != s.acked {
			s.acked, s.since = acked, now
		}
		if waiting > worstWaiting {
			worst, worstWaiting, worstSince = id, waiting, s.since
		}
	}
	switch {
	case !full:
		w.full = time.Time{}
	case w.full.IsZero():
		w.full = now
	}
	if full && worst != "" && now.Sub(worstSince) >= w.Timeout {
		stalled = worst
	} else {
		crowded = full && now.Sub(w.full) >= w.Timeout/RequestPatience
	}
	if full || len(w.slow) > 0 {
		w.Begin(ctx)
	}
	return stalled, crowded
}
