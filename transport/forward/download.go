package forward

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/fields"
	"wsproxy/transport/http1"
	"wsproxy/transport/outside"
)

const (
	// maxAnswerHead is how long an answer's head may be, in bytes: what its fields may
	// have (messages.MaxAnswerHeader), its first line, and what stands between them.
	maxAnswerHead = messages.MaxAnswerHeader + 4<<10
	// maxInterim is how many interim answers may come before the final one. Services
	// send one or two.
	maxInterim = 16
)

// receive reads the answer and passes it on. It returns nil when the answer was passed
// on whole.
func (rt *roundTrip) receive() error {
	for range maxInterim + 1 {
		head, err := rt.readHead()
		if err != nil {
			return err
		}
		switch {
		case head.Status == http.StatusSwitchingProtocols:
			rt.stopWaiting()
			rt.switched = true
			rt.conn.Answered(&head, rt.rest, true)
			return rt.join(head)
		case head.Status < 200:
			if err := rt.passInterim(head); err != nil {
				return err
			}
		case head.Status > 599:
			return fields.Unfit(messages.ReasonBadAnswer, errStatus.Error())
		default:
			rt.stopWaiting()
			rt.closes = !head.Keep
			rt.conn.Answered(&head, rt.rest, rt.upload == nil || rt.upload.sent.Load())
			return rt.pass(head)
		}
	}
	return fields.Unfit(messages.ReasonBadAnswer, "too many interim answers came before it")
}

// stopWaiting notes that the answer's head has come.
func (rt *roundTrip) stopWaiting() {
	rt.headCame.Store(true)
	rt.late.Stop()
	if rt.upload != nil {
		rt.upload.interim.end()
		rt.upload.mayPause()
	}
}

// readHead reads the head of an answer, which may come in pieces.
func (rt *roundTrip) readHead() (http1.Answer, error) {
	var pieces []byte
	held := rt.mux.Reserve(0)
	defer func() { held.Keep(0) }()
	for {
		if len(rt.rest) == 0 {
			if err := rt.more(); err != nil {
				return http1.Answer{}, err
			}
		}
		head, from := rt.rest, 0
		if pieces != nil {
			from = len(pieces)
			pieces = append(pieces, rt.rest...)
			head = pieces
		}
		if end := http1.HeadEnd(head, from); end >= 0 {
			rt.rest = rt.rest[len(rt.rest)-(len(head)-end):]
			answer, err := http1.ParseAnswer(head[:end], rt.x.r.Method)
			switch {
			case errors.Is(err, http1.ErrFields):
				err = fields.Unfit(messages.ReasonAnswerHeaders, err.Error())
			case err != nil:
				err = fields.Unfit(messages.ReasonBadAnswer, err.Error())
			}
			return answer, err
		}
		switch {
		case len(head) > maxAnswerHead:
			return http1.Answer{}, fields.Unfit(messages.ReasonAnswerHeaders, "its head is too long")
		case !held.Try(int64(len(head))):
			return http1.Answer{}, fields.Unfit(messages.ReasonMemory, "there is no memory for its head")
		}
		if pieces == nil {
			pieces = append(make([]byte, 0, 2*len(head)), head...)
		}
		rt.rest = nil
	}
}

// more waits for more from the service. What it has got before has been passed on: the
// client may send as much again.
func (rt *roundTrip) more() (err error) {
	if rt.chunk != nil {
		rt.conn.Passed(rt.chunk)
		rt.chunk = nil
	}
	rt.chunk, err = rt.conn.Next(rt.stop)
	rt.rest = rt.chunk
	rt.heard = rt.heard || err == nil
	return err
}

// passInterim passes an interim answer on (RFC 9110, section 15.2). One that asks for
// the body is the client's if it waits for that.
func (rt *roundTrip) passInterim(head http1.Answer) error {
	w, r := rt.x.w, rt.x.r
	if head.Status == http.StatusContinue {
		if rt.upload == nil || rt.upload.asked == nil {
			return nil
		}
		defer rt.upload.ask()
	}
	if !r.ProtoAtLeast(1, 1) { // knows of none (RFC 9110, section 15.2)
		return nil
	}
	write := func() error {
		out := w.Header()
		defer clear(out)
		if _, unfit := rt.x.gateway.fields.Answer(head.Fields, out); unfit != nil {
			return unfit
		}
		rt.patience.Begin()
		w.WriteHeader(head.Status)
		return rt.patience.End(nil)
	}
	if rt.upload == nil {
		return write()
	}
	return rt.upload.interim.say(head.Status, write)
}

// pass passes the final answer on.
func (rt *roundTrip) pass(head http1.Answer) error {
	w, r := rt.x.w, rt.x.r
	out := w.Header()
	f, unfit := rt.x.gateway.fields.Answer(head.Fields, out)
	if unfit != nil {
		clear(out)
		return unfit
	}
	if _, given := out["Content-Type"]; !given {
		out["Content-Type"] = nil // the proxy doesn't guess for the service
	}
	switch {
	case r.Method == http.MethodHead || head.Status == http.StatusNotModified:
		if length, ok := f.ContentLength(); ok {
			out["Content-Length"] = []string{strconv.FormatInt(length, 10)}
		}
	case head.Length >= 0 && head.Status != http.StatusNoContent:
		out["Content-Length"] = []string{strconv.FormatInt(head.Length, 10)}
	}
	if head.Status == http.StatusNotModified {
		outside.KeepInNotModified(r, out)
	}
	if rt.upload != nil && !rt.upload.held && !rt.upload.sent.Load() {
		// If the body is not wanted to its end, nobody can tell where it ends.
		out["Connection"] = []string{"close"}
	}
	rt.x.begin(w, r)
	rt.passed = true
	w.WriteHeader(head.Status)
	if rt.upload != nil {
		_, _ = w.Write(nil) // from here on net/http says no 100 by itself when the body is read
		rt.upload.ask()
	}
	if err := rt.passBody(head); err != nil {
		return err
	}
	// Some services ignore a body that has no meaning, and take it for their next request.
	odd := rt.upload != nil && isSafe(rt.x.r.Method)
	if head.Keep && len(rt.rest) == 0 && !odd && !fields.Authenticates(rt.x.r, head.Fields) {
		rt.life = rt.services.KeepFor(head.Fields)
	}
	return nil
}

// passBody passes the body on as it comes.
func (rt *roundTrip) passBody(head http1.Answer) error {
	switch head.Length {
	case http1.Chunked:
		return rt.passChunks()
	case http1.UntilClose:
		for {
			if err := rt.moreOf(); err != nil {
				if err == io.EOF {
					return rt.finish(true)
				}
				return err
			}
			if err := rt.writeBody(rt.rest); err != nil {
				return err
			}
			rt.rest = nil
		}
	}
	for left := head.Length; left > 0; {
		if err := rt.moreOf(); err != nil {
			return notEnd(err)
		}
		n := min(left, int64(len(rt.rest)))
		if err := rt.writeBody(rt.rest[:n]); err != nil {
			return err
		}
		left, rt.rest = left-n, rt.rest[n:]
		if left >= directWorth {
			return rt.passDirectly(left)
		}
	}
	return rt.finish(false)
}

func (rt *roundTrip) passChunks() error {
	var chunks http1.Chunks
	for !chunks.Done() {
		if err := rt.moreOf(); err != nil {
			return notEnd(err)
		}
		data, rest, err := chunks.Next(rt.rest)
		if err != nil {
			return fields.Unfit(messages.ReasonBadAnswer, err.Error())
		}
		if err := rt.writeBody(data); err != nil {
			return err
		}
		rt.rest = rest
	}
	lines, err := chunks.Trailer()
	if err != nil {
		return fields.Unfit(messages.ReasonAnswerHeaders, err.Error())
	}
	trailer := make(http.Header)
	for _, f := range lines {
		trailer[f.Name] = append(trailer[f.Name], f.Value)
	}
	if unfit := rt.x.gateway.fields.Trailer(trailer); unfit != nil {
		return unfit
	}
	if len(trailer) > 0 {
		if err := rt.flush(); err != nil { // else net/http might give the body a length
			return err
		}
	}
	for name, values := range trailer {
		rt.x.w.Header()[http.TrailerPrefix+name] = values
	}
	return rt.finish(true)
}

// notEnd makes an error of an end that comes before the body's.
func notEnd(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// moreOf waits for more of the body, if nothing is left. What was written goes out
// first: it may be all that comes for a long time.
func (rt *roundTrip) moreOf() error {
	if len(rt.rest) > 0 {
		return nil
	}
	if rt.conn.Waits() {
		if err := rt.flush(); err != nil {
			return err
		}
		rt.watchOutside()
	}
	return rt.more()
}

// watchOutside has an answer that pauses end when its client has gone, also if that has
// sent something behind its request. Nothing would be written to find it out.
func (rt *roundTrip) watchOutside() {
	if client := outside.Of(rt.x.r); rt.unwatch == nil && client != nil {
		rt.stop, rt.unwatch = client.Watch(rt.x.r.Context())
	}
}

// finish sends what is left of the answer, but for its end. That comes from net/http if
// nothing else tells it.
func (rt *roundTrip) finish(unended bool) error {
	if unended {
		_ = http.NewResponseController(rt.x.w).SetWriteDeadline(time.Now().Add(rt.x.gateway.settings.HTTPTimeout))
		return nil
	}
	return rt.flush()
}

func (rt *roundTrip) flush() error {
	rt.patience.Begin()
	return rt.patience.End(http.NewResponseController(rt.x.w).Flush())
}

func (rt *roundTrip) writeBody(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	rt.patience.Begin()
	_, err := rt.x.w.Write(p)
	return rt.patience.End(err)
}

// refusal says what the outside client hears when there is no answer for an error.
func (rt *roundTrip) refusal(err error) messages.Reason {
	if up := rt.upload; errors.Is(err, messages.ErrStopped) && up != nil && up.done != nil {
		// If it was the body that could not be read, net/http ends the request's context
		// a moment before who sends the body knows why.
		rt.conn.Close(messages.CloseReset)
		<-up.done
	}
	if reason := rt.reason.Load(); reason != nil {
		return *reason
	}
	select {
	case answer := <-rt.x.answer: // the tunnel has ended, or its handler has failed, or the request gave way
		return answer.Refusal
	default:
	}
	var unfit *fields.UnfitError
	var end *messages.EndError
	switch {
	case errors.As(err, &unfit):
		rt.x.unfit = unfit
		return unfit.Reason
	case errors.Is(err, messages.ErrStopped), errors.Is(err, outside.ErrGone), rt.x.r.Context().Err() != nil:
		return messages.ReasonAbandoned
	case errors.Is(err, messages.ErrStalled):
		return messages.ReasonAnswerLate
	case errors.Is(err, http1.ErrMalformed):
		return messages.ReasonBodyBad
	case errors.As(err, &end):
		switch end.Reason {
		case messages.CloseRefused:
			return messages.ReasonServiceRefused
		case messages.CloseSlow:
			return messages.ReasonMemory
		case messages.CloseRestart:
			return messages.ReasonRestarted
		case messages.CloseShutdown:
			return messages.ReasonShutdown
		case messages.CloseTunnelEnded:
			return messages.ReasonTunnelGone
		case messages.CloseLimit:
			return messages.ReasonBadAnswer
		}
	case errors.Is(err, net.ErrClosed):
		return messages.ReasonTunnelGone
	}
	return messages.ReasonServiceEnded
}
