package actors

import (
	"sync/atomic"

	"wsproxy/messages"
)

// taken returns how much of a limit is taken in all. It tells the limits that
// the book was read: what a timer has them write later comes after that for the
// race detector too, which sees no order between a test and a timer.
func (r *tunnelRig) taken(kind messages.ClaimKind) int {
	defer r.send(r.limits, &bookRead{})
	return r.book.Taken(kind)
}

// bookRead does nothing.
type bookRead struct{}

// wantTaken fails unless so much of the limits is taken.
func (r *tunnelRig) wantTaken(address, http, raw int) {
	r.t.Helper()
	got := [3]int{r.taken(messages.ClaimAddress), r.taken(messages.ClaimHTTP), r.taken(messages.ClaimRaw)}
	if want := [3]int{address, http, raw}; got != want {
		r.t.Errorf("of addresses, requests and raw connections are taken %v, want %v", got, want)
	}
}

// wantFree fails unless nothing is taken or waited for any more, and every port
// is free.
func (r *tunnelRig) wantFree() {
	r.t.Helper()
	if !r.book.Empty() {
		r.t.Errorf("of addresses, requests and raw connections are left %d, %d and %d, and %d wait",
			r.taken(messages.ClaimAddress), r.taken(messages.ClaimHTTP), r.taken(messages.ClaimRaw), r.book.Waiting())
	}
	p := r.probe()
	for range rigLastPort - rigFirstPort + 1 {
		if r.takePort(p.pid, 0); p.port() == 0 {
			r.t.Error("a port was lost")
		}
		p = r.probe()
	}
}

// A rigPool is the memory of all tunnels: how much too much is held.
type rigPool atomic.Int64

func (p *rigPool) Excess() int64 { return (*atomic.Int64)(p).Load() }
