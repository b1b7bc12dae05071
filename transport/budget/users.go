package budget

import (
	"runtime"
	"sync"
	"weak"
)

// users are the budgets of users of whose tunnels or sessions there is one. Any
// goroutine may use them; the zero value has none.
type users struct {
	mu  sync.Mutex
	all map[string]weak.Pointer[Budget] // under mu: each lives as long as one below it
}

// of returns the budget of a user, which fresh makes if there is none.
func (u *users) of(user string, fresh func() *Budget) *Budget {
	u.mu.Lock()
	defer u.mu.Unlock()
	if b := u.all[user].Value(); b != nil {
		return b
	}
	if u.all == nil {
		u.all = make(map[string]weak.Pointer[Budget])
	}
	b := fresh()
	u.all[user] = weak.Make(b)
	runtime.AddCleanup(b, u.forget, user)
	return b
}

// forget lets go of a user of whom the last budget below is gone, with all that
// it held.
func (u *users) forget(user string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.all[user].Value() == nil { // no other one has come meanwhile
		delete(u.all, user)
	}
}
