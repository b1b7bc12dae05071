package tap

import (
	"bytes"
	"sync"
	"time"
)

// maxPending bounds the requests of a connection that wait for their answers. The
// proxy sends one at a time.
const maxPending = 16

// A watch follows the messages of one connection. Bytes are shown to it before they
// pass, so that a request is known when its answer comes.
type watch struct {
	tap      *Tap
	remote   string
	replayed func(id uint64) // told of the user's own requests; nil for those from outside

	mu       sync.Mutex
	request  framer
	answer   framer
	asking   *Exchange   // whose request comes, or came last
	pending  []*Exchange // whose answers have not ended, the oldest first
	upgraded *Exchange
	lost     bool
	served   bool // something has come from the service
}

func newWatch(t *Tap, remote string, replayed func(uint64)) *watch {
	return &watch{tap: t, remote: remote, replayed: replayed, request: framer{strict: true}}
}

// requestBytes follows bytes of the request side.
func (w *watch) requestBytes(b []byte) {
	w.tap.Counters.In.Add(int64(len(b)))
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(b) > 0 {
		p := w.request.next(b)
		b = b[p.n:]
		if p.kind == metHead {
			var head requestHead
			if !parseRequest(p.span, &head) {
				w.lose("a request")
				continue
			}
			w.begin(p.span, &head)
			continue
		}
		w.requestPiece(p)
	}
}

// begin begins an exchange with the head of its request. The caller holds w.mu.
func (w *watch) begin(head []byte, r *requestHead) *Exchange {
	e := &Exchange{
		ID: w.tap.Counters.lastID.Add(1), Tunnel: w.tap.Name, Remote: w.remote, Replayed: w.replayed != nil,
		Method: methodName(r.method), Path: string(r.path), Start: time.Now(), head: string(r.method) == "HEAD", page: wantsPage(r.accept),
	}
	w.tap.Counters.Requests.Add(1)
	if k := w.tap.Keeper; k != nil {
		e.Kept = &Kept{}
		if k.Grow(len(head)) {
			e.held += len(head)
			e.RequestHead = bytes.Clone(head)
		}
	}
	w.asking = e
	if len(w.pending) == maxPending {
		w.lose("a request without an answer to those before")
		return e
	}
	w.pending = append(w.pending, e)
	w.tap.Counters.Pending.Add(1)
	w.request.setBody(r.body)
	if k := w.tap.Keeper; k != nil {
		k.Begins(e.snapshot())
	}
	if w.replayed != nil {
		w.replayed(e.ID)
	}
	return e
}

// requestPiece follows what is no head. The caller holds w.mu.
func (w *watch) requestPiece(p piece) {
	e := w.asking
	switch p.kind {
	case metGarbage:
		w.lose("a request")
	case metBody, metOpaque:
		if p.kind == metOpaque {
			e = w.upgraded
		}
		if e == nil || e.Ended {
			return
		}
		e.In += int64(len(p.span))
		if e.Kept != nil && !e.RequestCut {
			e.RequestCut = !e.keep(w.tap.Keeper, &e.RequestBody, p.span)
		}
	}
}

// answerBytes follows bytes of the service.
func (w *watch) answerBytes(b []byte) {
	w.tap.Counters.Out.Add(int64(len(b)))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.served = true
	for len(b) > 0 {
		p := w.answer.next(b)
		b = b[p.n:]
		w.answerPiece(p)
	}
}

// answerPiece follows what came from the service. The caller holds w.mu.
func (w *watch) answerPiece(p piece) {
	var e *Exchange
	if len(w.pending) > 0 {
		e = w.pending[0]
	}
	switch p.kind {
	case metGarbage:
		w.lose("an answer")
		return
	case metHead:
		w.answerHead(e, p.span)
		return
	case metOpaque:
		e = w.upgraded
		fallthrough
	case metBody:
		if e == nil {
			return
		}
		e.Out += int64(len(p.span))
		if e.Kept != nil && !e.AnswerCut {
			e.AnswerCut = !e.keep(w.tap.Keeper, &e.AnswerBody, p.span)
		}
		if e.probe != nil {
			w.look(e, p.span)
		}
	}
	if p.done && e != nil {
		w.end(e, false)
	}
}

// answerHead follows the head of an answer to e. The caller holds w.mu.
func (w *watch) answerHead(e *Exchange, head []byte) {
	var a answerHead
	if !parseAnswer(head, &a) {
		w.lose("an answer")
		return
	}
	if e == nil { // "408" of a service that closes an idle connection
		w.lose("")
		return
	}
	if a.status < 200 && a.status != 101 {
		w.answer.setBody(framing{})
		return
	}
	e.Status, e.FirstByte, e.EventStream = a.status, time.Since(e.Start), a.eventStream
	k := w.tap.Keeper
	if k != nil && k.Grow(len(head)) {
		e.held += len(head)
		e.AnswerHead = bytes.Clone(head)
	}
	switch {
	case a.status == 101:
		e.Upgraded, w.upgraded = true, e
		w.request.lose()
		w.answer.lose()
	case a.hasNoBody(e.head):
		e.EventStream = false
		w.answer.setBody(framing{})
		w.end(e, false)
		return
	case w.answer.setBody(a.body):
		e.EventStream = false
		w.end(e, false)
		return
	}
	if a.status/100 == 4 && !a.encoded && !w.tap.hinted.Load() {
		e.probe = []byte{}
	}
	if k != nil {
		k.Answered(e.snapshot())
	}
	if e.lasts() {
		w.tap.Counters.Pending.Add(-1)
		if w.tap.Watcher != nil {
			w.tap.Watcher.Lasts(e.snapshot())
		}
	}
}

// end ends e, which is pending. The caller holds w.mu.
func (w *watch) end(e *Exchange, cut bool) {
	if !e.lasts() {
		w.tap.Counters.Pending.Add(-1)
	}
	e.Ended, e.Cut, e.Duration, e.probe = true, cut, time.Since(e.Start), nil
	for i, other := range w.pending {
		if other == e {
			w.pending = append(w.pending[:i], w.pending[i+1:]...)
			break
		}
	}
	if k := w.tap.Keeper; k != nil {
		k.Ends(e)
	}
	if w.tap.Watcher != nil {
		w.tap.Watcher.Ends(e)
	}
}

// lose follows nothing any more, and says so once; what has no end is not told of.
// The caller holds w.mu.
func (w *watch) lose(at string) {
	if w.lost {
		return
	}
	w.lost = true
	w.request.lose()
	w.answer.lose()
	if at != "" {
		w.tap.notice("a connection is not shown from here on: " + at + " in it is no HTTP/1.1 that can be followed; its bytes pass as they are")
	}
}

// idle reports whether no message is under way.
func (w *watch) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.lost && w.upgraded == nil && len(w.pending) == 0 && w.request.between()
}

// An ending is how a connection with the proxy ends, of which the service's has.
type ending uint8

const (
	endWhole    ending = iota // in order
	endCut                    // by a reset, so that nobody takes for whole what is not
	endUnserved               // its first request has got no answer, not a byte
)

// serviceEnded says how the connection ends now that the service's has, by a FIN or by
// something else. What ends in order does so at both sides: the server finds out by
// the framing whether an answer is whole, behind all that came of it.
func (w *watch) serviceEnded(fin bool) ending {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.lost || w.upgraded != nil:
	case len(w.pending) == 0:
		return endWhole // it was idle
	case !w.served:
		return endUnserved
	case w.answer.stage == untilClose && fin:
		w.end(w.pending[0], false)
	case w.answer.between() && w.pending[0].Status == 0:
		// The server asks again over a new connection, where that is safe.
		return endWhole
	}
	if fin {
		return endWhole
	}
	return endCut
}

// over ends what has no end. The upgraded connection was cut if it says so; a request
// that waits for its answer always was.
func (w *watch) over(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.pending) > 0 {
		e := w.pending[0]
		w.end(e, cut || e != w.upgraded && !w.lost)
	}
}

// methodName returns the method as a string, without making one for those that are used.
func methodName(b []byte) string {
	switch string(b) {
	case "GET":
		return "GET"
	case "HEAD":
		return "HEAD"
	case "POST":
		return "POST"
	case "PUT":
		return "PUT"
	case "PATCH":
		return "PATCH"
	case "DELETE":
		return "DELETE"
	case "OPTIONS":
		return "OPTIONS"
	}
	return string(b)
}
