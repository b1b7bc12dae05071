package budget

import (
	"runtime"
	"sync/atomic"
)

// Shares is the memory, in bytes, that the sessions which outlive their WebSocket
// hold together beyond what each has for certain. One user's sessions have at most
// half of it. Unlike in a [Pool] nobody is entitled to a part, and none is
// overdrawn: who gets nothing goes on with what it has for certain, only more
// slowly over a long way. Any goroutine may use it.
type Shares struct {
	total    *Budget
	users    users
	sessions atomic.Int64
}

// NewShares returns shares of a total, in bytes; of 0 there are none.
func NewShares(total int64) *Shares { return &Shares{total: New(total)} }

// Open returns the budget of a new session of a user, which an anonymous one's
// address stands for. It is at most limit, in bytes, and is nobody's when the
// session has given back what it took.
func (s *Shares) Open(user string, limit int64) *Budget {
	b := s.users.of(user, func() *Budget { return s.total.Below(s.total.limit / userPart) }).Below(limit)
	s.sessions.Add(1)
	runtime.AddCleanup(b, func(sessions *atomic.Int64) { sessions.Add(-1) }, &s.sessions)
	return b
}

// Sessions returns how many sessions there are, with some that have ended since the
// last collection. Each holds what it has for certain, beside what Held says.
func (s *Shares) Sessions() int64 { return s.sessions.Load() }

// Held returns how many bytes are held.
func (s *Shares) Held() int64 { return s.total.Held() }
