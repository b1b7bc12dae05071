package bandwidth

import (
	"sync"
	"sync/atomic"
	"time"
)

// Users bounds each user by itself. Any goroutine may use it.
type Users struct {
	perSecond atomic.Int64 // bytes, written under mu; 0 = no bound
	mu        sync.Mutex
	all       map[string]*user // under mu: those who have a WebSocket, or had one a moment ago
}

// NewUsers returns a Users with so many bytes a second for each user, each way; 0 is no
// bound.
func NewUsers(perSecond int64) *Users {
	u := &Users{all: make(map[string]*user)}
	u.perSecond.Store(perSecond)
	return u
}

// Bounded reports whether there is a bound.
func (u *Users) Bounded() bool { return u.perSecond.Load() > 0 }

// Change has another bound hold, at once for those who are bounded already, and for
// others from their next WebSocket on.
func (u *Users) Change(perSecond int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.perSecond.Store(perSecond)
	now := time.Now()
	for _, user := range u.all {
		user.mu.Lock()
		for way := range user.buckets {
			user.buckets[way].change(perSecond, now)
		}
		user.mu.Unlock()
	}
}

// Open returns the part that one WebSocket of a user has, nil while there is no bound.
// Its owner closes it.
func (u *Users) Open(name string) *Share {
	u.mu.Lock()
	defer u.mu.Unlock()
	perSecond := u.perSecond.Load()
	if perSecond == 0 {
		return nil
	}
	of := u.all[name]
	if of == nil {
		of = &user{users: u, name: name}
		now := time.Now()
		for way := range of.buckets {
			of.buckets[way] = bucket{of: of, at: now}
			of.buckets[way].change(perSecond, now)
			of.buckets[way].balance = of.buckets[way].burst()
		}
		u.all[name] = of
	}
	of.shares++
	s := &Share{user: of}
	for way := range s.ways {
		s.ways[way].ready = make(chan struct{}, 1)
	}
	return s
}

// Len returns how many users are known.
func (u *Users) Len() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.all)
}

// A user is one user's bytes in both directions.
type user struct {
	users  *Users
	name   string
	shares int // under users.mu

	mu      sync.Mutex   // taken under users.mu, never the other way round
	buckets [ways]bucket // under mu
}

// left is called when one of a user's WebSockets is closed. One who had none would
// begin anew with a full burst: so it is remembered until it had that anyway.
func (of *user) left() {
	u := of.users
	u.mu.Lock()
	defer u.mu.Unlock()
	of.shares--
	u.forget(of)
}

// forget lets go of a user who has no WebSocket, now or as soon as it has paid. Under mu.
func (u *Users) forget(of *user) {
	if of.shares > 0 || u.all[of.name] != of {
		return
	}
	of.mu.Lock()
	paid := time.Duration(0)
	for way := range of.buckets {
		paid = max(paid, of.buckets[way].untilFull(time.Now()))
	}
	of.mu.Unlock()
	if paid <= 0 {
		delete(u.all, of.name)
		return
	}
	time.AfterFunc(paid, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.forget(of)
	})
}
