package actors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

const (
	// stallLooks is how often a peer is looked at within the stall time-out: that
	// much later at most is it found out.
	stallLooks = 16
	// stallWorth is from how many bytes that wait a connection is followed. What
	// a hundred have that are never followed is small beside a tunnel's memory.
	stallWorth = 64 << 10
	// requestPatience is the part of the stall time-out after which requests give
	// way that hold up their tunnel. Unlike a raw peer, which can't be asked to come
	// back, an outside client gets a 503; and some read as slowly as they like.
	requestPatience = 4
)

// judgeStalls asks a handler to look at its slow connections.
type judgeStalls struct{}

// A stallWatch follows the connections that have much waiting, and finds the one
// to close when the tunnel can't be read on because of it. Progress is what the
// peer's kernel has acknowledged: completed writes advance in steps of megabytes.
type stallWatch struct {
	timeout time.Duration
	slow    map[string]*slowConn // by connId
	timer   *time.Timer          // nil while there is nothing to watch
	full    time.Time            // since when every look has found the tunnel full; zero if the last has not
}

type slowConn struct {
	acked int64
	since time.Time // when acked last changed
}

// add begins to watch a connection.
func (w *stallWatch) add(ctx actor.Context, id string) {
	if w.slow[id] != nil {
		return
	}
	if w.slow == nil {
		w.slow = make(map[string]*slowConn)
	}
	w.slow[id] = &slowConn{acked: -1, since: time.Now()}
	w.begin(ctx)
}

// begin sees to it that a look is due.
func (w *stallWatch) begin(ctx actor.Context) {
	if w.timer == nil {
		self, root := ctx.Self(), ctx.ActorSystem().Root
		w.timer = time.AfterFunc(w.timeout/stallLooks, func() { root.Send(self, &judgeStalls{}) })
	}
}

func (w *stallWatch) end() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// judgeStalls looks at the slow connections, and closes the one with the most
// waiting if the tunnel is held up and its peer has stalled.
func (a *handler) judgeStalls(ctx actor.Context) {
	w := &a.stalls
	w.timer = nil
	now := time.Now()
	var worst *rawConn
	var worstWaiting int64
	var worstSince time.Time
	for id, s := range w.slow {
		c := a.conns[id]
		if c == nil {
			delete(w.slow, id)
			continue
		}
		waiting, acked := c.stream.Waiting()
		if waiting <= stallWorth {
			delete(w.slow, id)
			continue
		}
		if acked != s.acked {
			s.acked, s.since = acked, now
		}
		if waiting > worstWaiting {
			worst, worstWaiting, worstSince = c, waiting, s.since
		}
	}
	full := a.mux.Full()
	switch {
	case !full:
		w.full = time.Time{}
	case w.full.IsZero():
		w.full = now
	}
	if full && worst != nil && now.Sub(worstSince) >= w.timeout {
		ctx.Send(worst.pid, &abortConn{messages.CloseSlow})
	} else if full && now.Sub(w.full) >= w.timeout/requestPatience {
		a.clearCrowd(ctx)
	}
	if full || len(w.slow) > 0 {
		w.begin(ctx)
	}
}
