package forward

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"

	"wsproxy/messages"
	"wsproxy/transport/budget"
	"wsproxy/transport/fields"
	"wsproxy/transport/http1"
	"wsproxy/transport/tunnel"
	"wsproxy/transport/wsock"
)

// continuePatience is how long a body waits for the service's word to send it, which
// some never say: fixed by the protocol, section 10.
const continuePatience = time.Second

// An upload is the body of a request on its way to a service. It belongs to the
// goroutine of the request's HTTP handler; while it is sent, to a pump of its own.
type upload struct {
	x       *exchange
	control *http.ResponseController
	length  int64 // as the header says; -1 if that is not known
	held    bool  // it has come whole before

	first  []byte             // what was read before there was a connection
	ended  bool               // that is all
	buf    *wsock.Buffer      // where first stands; nil if nowhere
	memory budget.Reservation // for buf, while the request waits for its slot

	asked   chan struct{} // closed when the service wants it; set once, nil if the service is not asked
	ask     func()        // closes asked, once
	done    chan struct{} // closed when the pump has ended; nil if there is none
	piece   time.Duration // how long nothing may come
	sent    atomic.Bool   // all of it was sent
	stopped atomic.Bool   // nobody wants any more
	pauses  atomic.Bool   // it may pause as long as it likes
	interim interim       // what the client is told before the answer
}

// newUpload returns the body of a request that has one.
func newUpload(x *exchange) *upload {
	u := &upload{x: x, control: http.NewResponseController(x.w), length: x.r.ContentLength, piece: min(bodyPause, x.gateway.settings.HTTPTimeout), ask: func() {}}
	if httpguts.HeaderValuesContainsToken(x.r.Header["Expect"], "100-continue") && x.r.ProtoAtLeast(1, 1) {
		u.asked = make(chan struct{})
		u.ask = sync.OnceFunc(func() { close(u.asked) })
	}
	return u
}

// newHeldUpload returns the body of a request that has come whole, which it was charged
// then.
func newHeldUpload(x *exchange, body []byte) *upload {
	return &upload{x: x, control: http.NewResponseController(x.w), length: int64(len(body)), held: true, first: body, ended: true, ask: func() {}}
}

// begin reads the beginning of the body, for which others need not wait: until it is
// there the request has no slot.
func (u *upload) begin(mux *tunnel.Mux) (refusal messages.Reason) {
	u.memory = mux.Reserve(0)
	if !u.memory.Try(wsock.BufferSize) {
		return messages.ReasonMemory
	}
	u.x.held.Store(u.memory.Held())
	u.buf = wsock.TakeBuffer()
	gone := u.x.watch(func() {
		u.stopped.Store(true)
		_ = u.control.SetReadDeadline(wsock.LongAgo)
	})
	n, err := u.read(u.buf[:])
	u.first = u.buf[:n]
	if gone() {
		return messages.ReasonTunnelGone
	}
	if u.ended = err == io.EOF; err != nil && !u.ended {
		return u.refusalOf(err)
	}
	return ""
}

// read reads a piece of the body, in which nothing may come for a while, or as long
// as it likes.
func (u *upload) read(p []byte) (n int, err error) {
	_ = u.control.SetReadDeadline(time.Now().Add(u.piece))
	if u.pauses.Load() { // maybe just before
		_ = u.control.SetReadDeadline(time.Time{})
	}
	if u.stopped.Load() { // the same
		_ = u.control.SetReadDeadline(wsock.LongAgo)
	}
	if n, err = u.x.r.Body.Read(p); err == io.EOF {
		_ = u.control.SetReadDeadline(time.Time{}) // net/http waits for the client's end from here on
	}
	return n, err
}

// mayPause lets nothing come of the body for as long as the outside client likes: the
// answer has begun, and both may be a conversation.
func (u *upload) mayPause() {
	u.pauses.Store(true)
	_ = u.control.SetReadDeadline(time.Time{})
}

// refusalOf says why a body can't be read to its end.
func (u *upload) refusalOf(err error) messages.Reason {
	var broken *net.OpError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return messages.ReasonBodyLate
	case errors.As(err, &broken):
		return messages.ReasonAbandoned
	}
	return messages.ReasonBodyBad // its framing makes no sense, or its end came too early
}

// release gives back what was read before there was a connection.
func (u *upload) release() {
	if u.buf != nil {
		wsock.GiveBuffer(u.buf)
		u.buf, u.first = nil, nil
		u.memory.Keep(0)
		u.x.held.Store(0)
	}
}

// appendFields appends what the header says of the body.
func (u *upload) appendFields(b []byte) (head []byte, err error) {
	if u.length >= 0 {
		return fields.AppendLength(b, u.length), nil
	}
	b = append(b, "Transfer-Encoding: chunked\r\n"...)
	for name := range u.x.r.Trailer {
		if fields.BarredInTrailer(name) {
			continue
		}
		if b, err = http1.AppendField(b, "Trailer", name); err != nil {
			return b, err
		}
	}
	return b, nil
}

// A sink is where a body goes: the connection to the service.
type sink interface {
	Room(least int) ([]byte, error)
	Send(from, to int)
}

// start begins to send the body. ended is called when that has come to its end, with
// the reason if not all was sent; without one if the connection has ended.
func (u *upload) start(pipe sink, ended func(refusal messages.Reason)) {
	u.done = make(chan struct{})
	refusal := messages.ReasonInternal // unless it comes to its end
	wsock.StartPump(u.x.gateway.settings.Log, "upload", func() { refusal = u.send(pipe) }, func() {
		ended(refusal)
		close(u.done)
	})
}

func (u *upload) send(pipe sink) (refusal messages.Reason) {
	if !u.await() {
		return messages.ReasonAbandoned
	}
	if len(u.first) > 0 {
		if err := u.sendFirst(pipe); err != nil {
			return refusalOfPipe(err)
		}
	}
	for !u.ended {
		room, err := pipe.Room(http1.ChunkHead + 1 + http1.ChunkTail)
		if err != nil {
			return refusalOfPipe(err)
		}
		if u.length < 0 {
			n, err := u.read(room[http1.ChunkHead : len(room)-http1.ChunkTail])
			if n > 0 {
				pipe.Send(http1.PutChunk(room, n))
			} else {
				pipe.Send(0, 0)
			}
			if refusal := u.after(err); refusal != "" {
				return refusal
			}
			continue
		}
		n, err := u.read(room)
		if err == io.EOF {
			u.sent.Store(true) // before it is: the service may answer at once
		}
		pipe.Send(0, n)
		if refusal := u.after(err); refusal != "" {
			return refusal
		}
	}
	if u.length < 0 {
		if err := u.sendEnd(pipe); err != nil {
			return refusalOfPipe(err)
		}
	}
	u.sent.Store(true)
	return ""
}

// after says what an error of a read means.
func (u *upload) after(err error) (refusal messages.Reason) {
	switch {
	case err == io.EOF:
		u.ended = true
	case err != nil && u.stopped.Load():
		return messages.ReasonAbandoned
	case err != nil:
		return u.refusalOf(err)
	}
	return ""
}

// await waits until the service wants the body, or doesn't say so. It reports
// whether anybody still does.
func (u *upload) await() bool {
	if u.asked == nil {
		return true
	}
	late := time.NewTimer(continuePatience)
	defer late.Stop()
	select {
	case <-u.asked:
	case <-late.C:
		u.askOutside()
	}
	return !u.stopped.Load()
}

// sendFirst sends what was read before there was a connection.
func (u *upload) sendFirst(pipe sink) error {
	defer u.release()
	for rest := u.first; len(rest) > 0; {
		room, err := pipe.Room(http1.ChunkHead + 1 + http1.ChunkTail)
		if err != nil {
			return err
		}
		if u.length >= 0 {
			n := copy(room, rest)
			if rest = rest[n:]; len(rest) == 0 && u.ended {
				u.sent.Store(true) // before it is: the service may answer at once
			}
			pipe.Send(0, n)
			continue
		}
		n := copy(room[http1.ChunkHead:len(room)-http1.ChunkTail], rest)
		pipe.Send(http1.PutChunk(room, n))
		rest = rest[n:]
	}
	return nil
}

// sendEnd ends a body in chunks.
func (u *upload) sendEnd(pipe sink) error {
	end := []byte(http1.LastChunk)
	for name, values := range u.x.r.Trailer {
		if fields.BarredInTrailer(name) {
			continue
		}
		for _, value := range values {
			if line, err := http1.AppendField(end, name, value); err == nil { // net/http looks at headers alone
				end = line
			}
		}
	}
	for rest := append(end, "\r\n"...); len(rest) > 0; {
		room, err := pipe.Room(1)
		if err != nil {
			return err
		}
		n := copy(room, rest)
		if rest = rest[n:]; len(rest) == 0 {
			u.sent.Store(true) // before it is: the service may answer at once
		}
		pipe.Send(0, n)
	}
	return nil
}

// stop ends the sending, and reports whether all was sent.
func (u *upload) stop() (sent bool) {
	if u.done != nil && !u.sent.Load() && !u.held {
		u.stopped.Store(true)
		_ = u.control.SetReadDeadline(wsock.LongAgo)
	}
	u.ask()
	if u.done != nil {
		<-u.done
	}
	u.release()
	if u.sent.Load() {
		u.x.r.Body = http.NoBody // so that whoever answers knows that nothing is left of it
	}
	return u.sent.Load()
}

// refusalOfPipe says why a body could not be sent on; nothing if the connection has
// ended, which who reads the answer finds out.
func refusalOfPipe(err error) messages.Reason {
	if errors.Is(err, messages.ErrStalled) {
		return messages.ReasonAnswerLate
	}
	return ""
}
