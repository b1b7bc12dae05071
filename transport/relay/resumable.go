package relay

import (
	"errors"
	"io"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/resume"
	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/replay"
)

// Announce tells the client by which token it can take the session up: see
// [messages.Resumable].
func (p *Pair) Announce(token string) { p.lasting.Announce(token) }

// TakeUp goes on with another WebSocket: see [messages.Resumable].
func (p *Pair) TakeUp(ws messages.WebSocket, number uint32, position uint64) messages.Reason {
	conn, ok := ws.(*wsock.Conn)
	if !ok || p.lasting == nil {
		return messages.ReasonNoSession
	}
	return p.lasting.TakeUp(conn, number, position)
}

// A lastingUp passes on to the target what the client of a session that outlives
// its WebSocket sends. It is a [resume.Sink].
type lastingUp struct {
	pair *Pair
	full bool // the target takes no more, or there will be none; of who passes on
}

func (u *lastingUp) Try(data []byte, _, end bool) (n int) {
	if u.full {
		return len(data)
	}
	p := u.pair
	select {
	case <-p.dialed:
	default:
		return 0
	}
	if p.upstream == nil {
		u.full = true
		return len(data)
	}
	n, err := p.upstream.try(data, end)
	p.movedUp(int64(n))
	if err != nil {
		u.full = true
		return len(data)
	}
	return n
}

func (u *lastingUp) Take(data []byte, _, end bool) {
	p := u.pair
	<-p.dialed // it ends with the session at the latest
	if u.full = u.full || p.upstream == nil; u.full {
		return
	}
	if err := p.upstream.write(data, end); err != nil {
		u.full = true // it may still have sent bytes; the down pump finds their end
		return
	}
	p.movedUp(int64(len(data)))
}

func (u *lastingUp) End() {
	p := u.pair
	<-p.dialed
	if p.upstream != nil {
		p.upstream.closeWrite()
	}
	p.ended()
}

// Leaving gives what the client has sent a last chance to reach its target.
func (u *lastingUp) Leaving() {
	p := u.pair
	if !p.lasting.Waits() {
		return
	}
	late := time.NewTimer(lastChance)
	defer late.Stop()
	select {
	case <-p.dialed:
	case <-p.lasting.Closing().Done():
	case <-late.C:
	}
}

// ended notes that one direction has ended in order, and tells the owner when both
// have.
func (p *Pair) ended() {
	if p.ends.Add(1) == 2 {
		p.lasting.Tell(&messages.PumpEnded{Reason: messages.ReasonTargetEnded})
	}
}

// pumpDownLasting is pumpDown for a session that outlives its WebSocket. It returns
// "" if the target has ended in order: the other direction goes on. again says that
// it is to go on in another goroutine.
func (p *Pair) pumpDownLasting() (reason messages.Reason, again bool) {
	p.upstream.afresh()
	want := 1
	for {
		room := p.lasting.AwaitRoom(want)
		if room <= 0 {
			break
		}
		first, second, err := p.upstream.readPair(want > 1 && room >= int64(want))
		if err == wsock.ErrAfresh {
			return "", true
		}
		if errors.Is(err, io.EOF) && !p.upstream.broke() {
			p.lasting.End()
			p.ended()
			return "", false
		}
		if err != nil {
			return messages.ReasonTargetReset, false
		}
		if !p.sendLasting(first, second) {
			break
		}
		n := first.Len() + second.Len()
		p.movedDown(int64(n))
		if want = 1; n >= wsock.BufferSize-wsock.ServerHeader { // a buffer was filled
			want = wsock.PairSize
		}
	}
	return messages.ReasonTargetEnded, false // the session closes, for whatever reason
}

// sendLasting sends what readPair has read, and reports false if the session closes.
func (p *Pair) sendLasting(first, second wsock.Chunk) bool {
	payload, buf := first.Bytes()
	all := [2]replay.Message{{Payload: payload, Buf: buf}}
	if second.Len() == 0 {
		return p.lasting.Send(all[:1]...)
	}
	payload, buf = second.Bytes()
	all[1] = replay.Message{Payload: payload, Buf: buf}
	return p.lasting.Send(all[:]...)
}

// finishLasting ends a pair whose session outlives its WebSocket: the target's side,
// and beside it the client's, which may take as long as a client is waited for.
func (p *Pair) finishLasting(reason messages.Reason) {
	if p.finishing {
		return
	}
	p.finishing = true
	orderly := isOrderly(reason) || reason == messages.ReasonClientAborted && p.lasting.EndCame()
	p.lasting.Finish(reason, func(reason messages.Reason) { p.sideClosed(reason) })
	p.settings.Host.StartBrief("upstream linger", func() { p.endUpstream(reason, orderly) }, func() { p.sideClosed(reason) })
}

// sideClosed tells the owner when both sides are closed.
func (p *Pair) sideClosed(reason messages.Reason) {
	if p.sides.Add(1) == 2 {
		p.life.Tell(&messages.PairClosed{Reason: reason})
	}
}

// isOrderly reports whether a target is to take a session that ends for reason for one
// that has ended: its client has said so, or it has itself.
func isOrderly(reason messages.Reason) bool {
	return reason == messages.ReasonClientClosed || reason == messages.ReasonTargetEnded
}

// endUpstream passes on to the target what has come for it, and closes it. Half of what
// a client wanted to send must not look like all: so it is reset unless the client has
// said that nothing follows, and it has taken all of that.
func (p *Pair) endUpstream(reason messages.Reason, orderly bool) {
	late := time.Now().Add(messages.Linger)
	if p.dialed == nil {
		return
	}
	<-p.dialed // soon, since its context has ended
	if p.upstream == nil {
		return
	}
	defer p.upstream.Close()
	_ = p.upstream.SetReadDeadline(wsock.LongAgo)
	p.downing.Wait()
	if !orderly && !p.lasting.EndPassed() {
		p.upstream.abort()
		_ = p.upstream.SetWriteDeadline(wsock.LongAgo)
		return
	}
	if raw, err := p.upstream.raw(); err == nil {
		linger := wsock.NewLinger(raw, func() { _ = p.upstream.SetWriteDeadline(wsock.LongAgo) })
		p.lasting.AwaitPassed()
		linger.Stop()
	}
	if p.sink.full { // of nobody else's any more
		p.upstream.abort()
		return
	}
	p.upstream.closeWrite()
	p.finishUpstream(reason, late)
}

var _ resume.Sink = (*lastingUp)(nil)
