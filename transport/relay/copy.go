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
	full bool     // the target takes no more
}

// take takes a piece of what the client sends. A target that takes no more may
// still have sent bytes that the client is to get; the down pump finds their
// end.
func (u *upPump) take(data []byte, _, end bool) (refused messages.Reason) {
	for u.to == nil {
		to, kept := u.pair.early.add(data, end)
		if kept {
			return ""
		}
		if to == nil {
			if refused = u.awaitTarget(); refused != "" {
				return refused
			}
			continue
		}
		u.to = to
	}
	if u.full {
		return ""
	}
	if err := u.to.write(data, end); err != nil {
		u.full = true
		return ""
	}
	u.pair.up.Add(int64(len(data)))
	return ""
}

// leftLook is how often a client that has sent more than can wait is looked at
// while its target is dialled: that much later at most it is found to be gone.
const leftLook = 250 * time.Millisecond

// awaitTarget waits for the end of dialling, and returns a reason if the client
// is gone meanwhile.
func (u *upPump) awaitTarget() messages.Reason {
	look := time.NewTicker(leftLook)
	defer look.Stop()
	for {
		select {
		case <-u.pair.dialed:
			if u.pair.upstream == nil {
				return messages.ReasonTargetUnreachable // told already, by the dialling pump
			}
			return ""
		case <-look.C:
			if u.pair.session.Conn().HasEnded() {
				return messages.ReasonClientGone
			}
		}
	}
}

// pumpDown copies from the target to the client until one of them has ended,
// or the pair closes, and returns why.
func (p *Pair) pumpDown() messages.Reason {
	client := p.session.Conn()
	for !p.session.Discarding() {
		buf, n, err := p.upstream.read()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return messages.ReasonTargetEnded
			}
			return messages.ReasonTargetReset
		}
		start := wsock.PutHeader(buf[:], wsock.OpBinary, n)
		err = client.Write(buf[start : wsock.ServerHeader+n])
		wsock.GiveBuffer(buf)
		if err != nil {
			if !p.session.Discarding() {
				// What the client sent before it went away still reaches the
				// target; the up pump ends when it has passed that on. Once
				// the pair closes it passes nothing on, and may read for as
				// long as a client sends that reads nothing.
				<-p.session.ReaderDone()
			}
			return client.Failure(err)
		}
		p.down.Add(int64(n))
	}
	return messages.ReasonTargetEnded
}
