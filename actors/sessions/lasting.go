package sessions

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// A LastingMeter counts what becomes of sessions that may outlive their WebSocket.
// endpoint is relay or tunnel. Its methods are called by many actors at once, and
// return at once.
type LastingMeter interface {
	SessionDetached(endpoint string)
	// SessionResumed and SessionGivenUp are called once for each SessionDetached, when
	// the session was taken up, or has ended.
	SessionResumed(endpoint string, away time.Duration)
	SessionGivenUp(endpoint string, reason messages.Reason, away time.Duration)
}

// Terms are on what sessions outlive their WebSocket.
type Terms struct {
	Timeout  time.Duration // that one waits for another WebSocket; 0 = they don't
	Endpoint string        // relay or tunnel
	Meter    LastingMeter
	Limits   *actor.PID
}

// unknownPatience is how long a session is waited for whose client may never have
// seen the token: fixed by the protocol.
const unknownPatience = 5 * time.Second

// secretBytes is how many random bytes a token has: the protocol asks for 256 bits.
const secretBytes = 32

// A Lasting is what the actor of a session that may outlive its WebSocket knows of
// that. The zero Lasting is one of a session that doesn't. It belongs to the actor
// that it is part of.
type Lasting struct {
	terms   *Terms
	secret  [secretBytes]byte // of the token; without its text, which would be held by each session
	number  uint32            // of the WebSocket of the moment, or of the one that was lost
	ended   bool              // by the client, or by a fault of that WebSocket: it is not waited for
	attempt uint64            // of the client's that was accepted last
	since   time.Time         // when the WebSocket was lost; zero while there is one
	timer   *time.Timer       // runs while there is none
	lost    uint32            // how often it was lost: of the timer
}

// TooLate tells an actor that nobody has taken its session up in time.
type TooLate struct{ lost uint32 }

// Open begins with a session's first WebSocket, and returns the token by which the
// client can take the session up.
func (l *Lasting) Open(ctx actor.Context, terms *Terms) (token string) {
	l.terms = terms
	_, _ = rand.Read(l.secret[:]) // it never fails
	return ID(ctx.Self()) + "." + l.secretText()
}

// secretText returns the secret as it stands in the token.
func (l *Lasting) secretText() string { return base64.RawURLEncoding.EncodeToString(l.secret[:]) }

// ID returns what a session is called, in logs and as the part of its token that leads
// to it: its actor's name, which has characters of base64url alone. The names that the
// library gives have others.
func ID(pid *actor.PID) string { return pid.Id[strings.LastIndexByte(pid.Id, '/')+1:] }

// IsAway reports whether the session has lost its WebSocket and waits for another
// one.
func (l *Lasting) IsAway() bool { return !l.since.IsZero() }

// Away returns since when the session waits for a WebSocket, zero if it has one, and how
// often it was taken up.
func (l *Lasting) Away() (since time.Time, resumed uint32) { return l.since, l.number }

// Ended deals with the end of a WebSocket. It reports whether the session ends by it, or
// has lost it and waits for another one from now on: neither if it is the session's no
// more, or known to have ended. A fault ends the session without one, too: what was being
// passed on then is lost.
func (l *Lasting) Ended(ctx actor.Context, m *messages.WebSocketEnded) (ends, lost bool) {
	if l.terms == nil || l.ended || m.Number != l.number || l.IsAway() && m.Reason != messages.ReasonInternal {
		return false, false
	}
	if !m.Lost {
		l.ended = true
		return true, false
	}
	patience := l.terms.Timeout
	if !m.Known {
		patience = min(patience, unknownPatience)
	}
	l.lost++
	self, root, late := ctx.Self(), ctx.ActorSystem().Root, &TooLate{l.lost}
	l.timer = time.AfterFunc(patience, func() { root.Send(self, late) })
	l.since = time.Now()
	l.terms.Meter.SessionDetached(l.terms.Endpoint)
	ctx.Send(l.terms.Limits, &messages.Detached{Holder: ctx.Self(), Away: true})
	return false, true
}

// IsTooLate reports whether a session that was waited for is to end.
func (l *Lasting) IsTooLate(m *TooLate) bool { return l.IsAway() && m.lost == l.lost }

// TakeUp answers who wants to take the session up. The session is that of user. It
// returns for how long it was away, and whether it was taken up.
func (l *Lasting) TakeUp(ctx actor.Context, m *messages.TakeUp, user string, session messages.Resumable) (away time.Duration, ok bool) {
	reason := l.judge(m, user)
	if reason == "" {
		reason = session.TakeUp(m.WebSocket, l.number+1, m.Position)
	}
	m.Answer <- reason // it has room
	if reason != "" {
		return 0, false
	}
	l.number++
	l.attempt = m.Attempt
	if !l.IsAway() { // it was, unnoticed
		l.terms.Meter.SessionDetached(l.terms.Endpoint)
		l.terms.Meter.SessionResumed(l.terms.Endpoint, 0)
	} else {
		away = l.back()
		l.terms.Meter.SessionResumed(l.terms.Endpoint, away)
		ctx.Send(l.terms.Limits, &messages.Detached{Holder: ctx.Self(), Away: false})
	}
	return away, true
}

// judge returns why a session may not be taken up, or "". Of one that is another
// user's nobody is told that there is one.
func (l *Lasting) judge(m *messages.TakeUp, user string) messages.Reason {
	switch {
	case l.terms == nil, l.ended, subtle.ConstantTimeCompare([]byte(m.Secret), []byte(l.secretText())) == 0, m.User != user:
		return messages.ReasonNoSession
	case m.Attempt <= l.attempt:
		return messages.ReasonOldAttempt
	case !m.Readable:
		return messages.ReasonNotContinued
	}
	return ""
}

func (l *Lasting) back() (away time.Duration) {
	l.timer.Stop()
	away = time.Since(l.since)
	l.since, l.timer = time.Time{}, nil
	return away
}

// Close notes that the session is over.
func (l *Lasting) Close(reason messages.Reason) {
	if l.IsAway() {
		l.terms.Meter.SessionGivenUp(l.terms.Endpoint, reason, l.back())
	}
	l.terms, l.secret = nil, [secretBytes]byte{}
}
