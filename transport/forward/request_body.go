package forward

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/budget"
	"wsproxy/transport/wsock"
)

// bodyPiece is how many bytes of a body each deadline of TUNNEL_HTTP_TIMEOUT is
// for, on its way in and out: one that moves less holds memory and a slot for
// nothing. Fixed by the protocol, section 7.
const bodyPiece = 256 << 10

// bodyPause is how long nothing may come of a body: one that pauses for longer
// holds memory, and a place of its address, for nothing. Fixed by the protocol.
const bodyPause = 15 * time.Second

// bodyStep is how much room a body gets first; then it is doubled.
const bodyStep = 16 << 10

// body reads the request's body, each piece of it within TUNNEL_HTTP_TIMEOUT and
// something of it every bodyPause. Its capacity is charged to the tunnel's memory
// as it grows, so that it is bounded by what has come and not by what was
// announced; the caller gives it back.
func (x *exchange) body(memory *budget.Budget) (body []byte, refusal messages.Reason) {
	control := http.NewResponseController(x.w)
	var interrupted atomic.Bool
	gone := x.watch(func() {
		interrupted.Store(true)
		_ = control.SetReadDeadline(wsock.LongAgo)
	})
	var piece time.Time // by when the piece under way must be there
	extend := func(now time.Time) {
		deadline := now.Add(bodyPause)
		if piece.Before(deadline) {
			deadline = piece
		}
		_ = control.SetReadDeadline(deadline)
		if interrupted.Load() { // maybe just before
			_ = control.SetReadDeadline(wsock.LongAgo)
		}
	}
	defer func() {
		if gone() {
			refusal = messages.ReasonTunnelGone
		}
		if refusal == "" {
			_ = control.SetReadDeadline(time.Time{})
			x.r.Body = http.NoBody // so that whoever answers knows that nothing is left of it
			return
		}
		// The deadline stays: nobody waits for the rest.
		memory.Add(int64(-cap(body)))
		x.held.Store(0)
		body = nil
	}()

	in := http.MaxBytesReader(x.w, x.r.Body, x.gateway.settings.MaxBody)
	due := 0 // how much of the body must have come before the next deadline begins
	for {
		now := time.Now()
		if len(body) >= due {
			due, piece = len(body)+bodyPiece, now.Add(x.gateway.settings.HTTPTimeout)
		}
		extend(now)
		if len(body) == cap(body) {
			grown := max(bodyStep, 2*cap(body))
			if announced := x.r.ContentLength; announced > 0 {
				grown = min(grown, int(announced)+1) // room to see the end
			}
			if !memory.Try(int64(grown)) {
				return body, messages.ReasonMemory
			}
			larger := make([]byte, len(body), grown)
			copy(larger, body)
			memory.Add(int64(-cap(body)))
			body = larger
			x.held.Store(int64(cap(body)))
		}
		n, err := in.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		var tooBig *http.MaxBytesError
		var broken *net.OpError
		switch {
		case err == nil:
		case err == io.EOF:
			return body, ""
		case errors.As(err, &tooBig):
			return body, messages.ReasonBodyTooBig
		case errors.Is(err, os.ErrDeadlineExceeded):
			return body, messages.ReasonBodyLate
		case errors.As(err, &broken):
			return body, messages.ReasonAbandoned
		default: // its framing makes no sense, or its end came too early
			return body, messages.ReasonBodyBad
		}
	}
}

// watch calls interrupt if the request is answered from now on, which means
// that the tunnel has ended, until the function that it returns is called.
// That one reports whether interrupt was called.
func (x *exchange) watch(interrupt func()) (stop func() bool) {
	enough, ended := make(chan struct{}), make(chan struct{})
	answered := false
	wsock.StartPump(x.gateway.settings.Log, "body", func() {
		select {
		case answer := <-x.answer:
			select {
			case x.answer <- answer:
			default: // a failure has left another one there
			}
			answered = true
			interrupt()
		case <-enough:
		}
	}, func() { close(ended) })
	return func() bool {
		close(enough)
		<-ended
		return answered
	}
}
