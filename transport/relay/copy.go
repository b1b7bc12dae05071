package relay

import (
	"errors"
	"io"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// An upPump passes on to the target what the client sends. It belongs to the
// reading pump.
type upPump struct {
	pair *Pair
	to   upstream // nil until the target is there
	kept bool     // something of the client's has waited for the target
	full bool     // the target takes no more, or there will be none
}

// pumpUp starts to read the client. boundaries says whether the target is told
// where messages end.
func (p *Pair) pumpUp(boundaries bool) {
	up := upPump{pair: p}
	p.session.Read("up", wsock.Receiver{Boundaries: boundaries, Payload: up.take, Ended: up.ended})
}

// take takes a piece of what the client sends. A target that takes no more may
// still have sent bytes that the client is to get; the down pump finds their
// end.
func (u *upPump) take(data []byte, _, end bool) (refused messages.Reason) {
	for u.to == nil && !u.full {
		var kept bool
		if u.to, kept = u.pair.early.add(data, end); kept {
			u.kept = true
			return ""
		}
		if u.to == nil {
			u.full = !u.awaitTarget()
		}
	}
	if u.full {
		return ""
	}
	if err := u.to.write(data, end); err != nil {
		u.full = true
		return ""
	}
	u.pair.movedUp(int64(len(data)))
	return ""
}

const (
	// leftLook is how often a client that has sent more than can wait is looked
	// at while its target is dialled.
	leftLook = 250 * time.Millisecond
	// lastChance is how long dialling goes on for what a client has sent that
	// has left: most targets are there by then. With leftLook it is less than
	// the second within which a client that has left is to be noticed.
	lastChance = 500 * time.Millisecond
)

// awaitTarget waits for the end of dialling, but not long for a client that has
// left, and reports whether the target is there.
func (u *upPump) awaitTarget() bool {
	look := time.NewTicker(leftLook)
	defer look.Stop()
	var late <-chan time.Time
	for {
		select {
		case <-u.pair.dialed:
			return u.pair.upstream != nil
		case <-late:
			return false
		case <-look.C:
			if late == nil && u.pair.session.HasLeft() {
				late = time.After(lastChance)
			}
		}
	}
}

// ended gives what the client has sent a last chance to reach its target.
func (u *upPump) ended() {
	if !u.kept || u.full {
		return
	}
	late := time.NewTimer(lastChance)
	defer late.Stop()
	select {
	case <-u.pair.dialed:
	case <-u.pair.session.Closing().Done():
	case <-late.C:
	}
}

// startPumpDown starts what copies from the target to the client, for which downing waits.
func (p *Pair) startPumpDown() {
	pump := p.pumpDown
	if p.lasting != nil {
		pump = p.pumpDownLasting
	}
	reason, again := messages.ReasonInternal, false
	wsock.StartPump(p.life.Log(), "down", func() { reason, again = pump() }, func() {
		if again {
			p.upstream.again(p.startPumpDown)
			return
		}
		if reason != "" {
			p.life.Tell(&messages.PumpEnded{Reason: reason})
		}
		p.downing.Done()
	})
}

// pumpDown copies from the target to the client until one of them has ended,
// or the pair closes, and returns why. again says that it is to go on in another
// goroutine.
func (p *Pair) pumpDown() (reason messages.Reason, again bool) {
	client := p.session.Conn()
	for !p.session.Discarding() {
		chunk, err := p.upstream.readChunk()
		if err == wsock.ErrAfresh {
			return "", true
		}
		if errors.Is(err, io.EOF) {
			return messages.ReasonTargetEnded, false
		}
		if err != nil {
			return messages.ReasonTargetReset, false
		}
		if err := client.WriteChunk(chunk); err != nil {
			if !p.session.Discarding() {
				// What the client sent before it went away still reaches the
				// target; the up pump ends when it has passed that on. Once
				// the pair closes it passes nothing on, and may read for as
				// long as a client sends that reads nothing.
				p.session.AwaitReader()
			}
			return client.Failure(err), false
		}
		p.movedDown(int64(chunk.Len()))
		client.AwaitTurn()
	}
	return messages.ReasonTargetEnded, false
}
