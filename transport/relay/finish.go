package relay

import (
	"time"

	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// Finish ends the pair. Resolving and dialling stop, the pumps forward no
// more, and both connections are seen to their ends.
func (p *Pair) Finish(reason messages.Reason) {
	p.unbound()
	if p.lasting != nil {
		p.finishLasting(reason)
		return
	}
	p.session.Finish(reason, p.finish, func(reason messages.Reason) {
		if p.upstream != nil {
			p.upstream.Close()
		}
		p.session.Tell(&messages.PairClosed{Reason: reason})
	})
}

// finish closes both connections, and returns why in the light of all that is
// known. The client gets its last bytes and the close frame, the target its
// last bytes and FIN; then both are read to their ends.
func (p *Pair) finish(reason messages.Reason) messages.Reason {
	late := time.Now().Add(messages.Linger)
	if p.dialed != nil {
		<-p.dialed // soon, since its context has ended
	}
	p.session.BeginClose(reason)
	if p.upstream != nil {
		_ = p.upstream.SetReadDeadline(wsock.LongAgo)
		_ = p.upstream.SetWriteDeadline(wsock.LongAgo)
		p.upstream.closeWrite() // a client that reads slowly does not hold it up
	}
	p.downing.Wait()
	if p.upstream == nil {
		p.session.Close(reason)
		return reason
	}
	if reason == messages.ReasonTargetEnded && p.upstream.broke() {
		reason = messages.ReasonTargetReset
	}
	// Beside each other: the target may wait for its words to be read before
	// it reads on.
	targetDone := make(chan struct{})
	p.settings.Host.StartBrief("upstream linger", func() { p.finishUpstream(reason, late) }, func() {
		_ = p.upstream.SetWriteDeadline(wsock.LongAgo) // once more: a write may just have begun
		close(targetDone)
	})
	p.session.Close(reason)
	<-targetDone
	return reason
}

// Cut ends the waiting for both sides of a pair that closes.
func (p *Pair) Cut() {
	p.life.Cut()
	if p.dialed == nil {
		return
	}
	select {
	case <-p.dialed:
		if p.upstream != nil {
			_ = p.upstream.SetReadDeadline(wsock.LongAgo)
			if p.lasting != nil { // what has come for the target may wait for it
				_ = p.upstream.SetWriteDeadline(wsock.LongAgo)
			}
		}
	default: // the dial ends with the session
	}
}

// finishUpstream lets the target read what it was sent: it has as long as its
// kernel acknowledges something new, until late if the end is forced.
func (p *Pair) finishUpstream(reason messages.Reason, late time.Time) {
	if raw, err := p.upstream.raw(); reason.IsForced() || err != nil {
		_ = p.upstream.SetReadDeadline(late)
	} else {
		_ = p.upstream.SetReadDeadline(time.Time{})
		linger := wsock.NewLinger(raw, func() { _ = p.upstream.SetReadDeadline(wsock.LongAgo) })
		defer linger.Stop()
	}
	if p.life.WasCut() { // maybe before the deadline was moved
		return
	}
	p.upstream.drain()
}
