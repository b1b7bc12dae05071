package forward

import (
	"net/http"
	"sync"
	"time"
)

// An interim says interim answers to an outside client that waits to be asked for its
// body. Two goroutines do: who reads the service's answers, and who sends the body and
// asks by itself when the service doesn't. net/http would write both at once.
type interim struct {
	mu    sync.Mutex
	asked bool // under mu: the client was told to send its body
	final bool // under mu: what is said from now on is the final answer
}

// say writes an interim answer that write writes, one at a time. Of those that ask for
// the body the client gets one.
func (i *interim) say(status int, write func() error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.final || status == http.StatusContinue && i.asked {
		return nil
	}
	i.asked = i.asked || status == http.StatusContinue
	return write()
}

// end lets nothing be said any more.
func (i *interim) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.final = true
}

// askOutside asks the outside client for the body, of which the service says nothing.
func (u *upload) askOutside() {
	_ = u.interim.say(http.StatusContinue, func() error {
		_ = u.control.SetWriteDeadline(time.Now().Add(u.x.gateway.settings.HTTPTimeout))
		u.x.w.WriteHeader(http.StatusContinue)
		return u.control.SetWriteDeadline(time.Time{})
	})
}
