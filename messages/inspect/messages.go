package inspect

import (
	"time"

	"wsproxy/messages"
)

// List asks an owner of sessions to have each of them answer. Answer has room for the one
// [Asked].
type List struct {
	Most   int // sessions that are asked at most
	Answer chan<- Asked
}

// Asked answers a [List]: Sessions gets one answer of each of Number sessions, but of those
// that end before they come to it. It is never closed.
type Asked struct {
	Sessions <-chan Session
	Number   int
	LeftOut  int // sessions beyond Most, which are not asked
}

// Describe asks a session what it is. Answer has room for it. One that has not begun, or
// was refused, answers the zero Session.
type Describe struct{ Answer chan<- Session }

// Fill asks a tunnel's handler to add what it knows, and to pass the answer on to Answer,
// which has room for it.
type Fill struct {
	Session Session
	Answer  chan<- Session
}

// Close asks an owner of sessions to end those of an id, for [messages.ReasonOperator].
// Answer, which has room for it, gets how many there are.
type Close struct {
	ID     string
	Answer chan<- int
}

// End ends a session that has begun, for Reason, as far as it is not closing already. With
// Before it is for sessions alone that have begun before that; without, one that closes
// already is waited for no longer.
type End struct {
	Reason messages.Reason
	Before time.Time
}

// Concerns reports whether a session that has begun then, or not yet if that is zero, is
// meant.
func (e *End) Concerns(began time.Time) bool {
	return !began.IsZero() && (e.Before.IsZero() || began.Before(e.Before))
}
