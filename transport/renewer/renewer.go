package renewer

import (
	"log/slog"
	"sync/atomic"
	"time"

	"wsproxy/messages/renewal"
	"wsproxy/transport/wsock"
)

// pause is how long after a wrong token none is judged: a check of a signature is what
// a client can make the server do, and who has a good token needs one in a while.
const pause = 5 * time.Second

// rest is how long after a good one none is judged, for the same reason.
const rest = time.Second

// A Judge says until when a token lets a session go on, and what its exp is; or why it
// doesn't, in a word. It may wait for some seconds.
type Judge func(token string) (until, expires time.Time, why string)

// A Renewer judges one session's tokens, one at a time. Any goroutine may use it.
type Renewer struct {
	judge Judge
	log   *slog.Logger
	busy  atomic.Bool
	next  atomic.Int64 // when another one is judged, in nanoseconds since 1970
}

// New returns a Renewer that judges by judge.
func New(judge Judge, log *slog.Logger) *Renewer { return &Renewer{judge: judge, log: log} }

// Take judges a token, in a pump, and says how that went: answer gets the message for
// the client, and before it tell, if the token is good, the one for the session's actor.
// Neither may wait. A nil Renewer is one of a session that doesn't end with its token.
func (r *Renewer) Take(token string, tell func(message any), answer func(message []byte)) {
	switch {
	case r == nil:
		answer(renewal.EncodeFailed(renewal.WhyNotNeeded))
		return
	case time.Now().UnixNano() < r.next.Load() || !r.busy.CompareAndSwap(false, true):
		answer(renewal.EncodeFailed(renewal.WhyTooOften))
		return
	}
	var until, expires time.Time
	why := renewal.WhyInternal // should the judge fail
	wsock.StartPump(r.log, "auth", func() { until, expires, why = r.judge(token) }, func() {
		message := renewal.EncodeOK(expires)
		if why != "" {
			r.next.Store(time.Now().Add(pause).UnixNano())
			message = renewal.EncodeFailed(why)
		} else {
			r.next.Store(time.Now().Add(rest).UnixNano())
			tell(&renewal.Renewed{Until: until})
		}
		r.busy.Store(false)
		answer(message)
	})
}
