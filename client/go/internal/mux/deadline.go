package mux

import (
	"net"
	"sync"
	"time"
)

// A deadline is that of one direction of a stream. Under the Mux's lock.
type deadline struct {
	expired bool
	timer   *time.Timer // nil if none runs
	set     int         // how often it was set: an old timer says nothing
}

// stop has the deadline never come.
func (d *deadline) stop() {
	d.set++
	d.expired = false
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

// start sets it to t, and has changed woken then; the zero Time is never.
func (d *deadline) start(mu *sync.Mutex, t time.Time, changed *sync.Cond) {
	d.stop()
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		d.expired = true
		changed.Broadcast()
		return
	}
	set := d.set
	d.timer = time.AfterFunc(left, func() {
		mu.Lock()
		defer mu.Unlock()
		if d.set == set {
			d.expired = true
			changed.Broadcast()
		}
	})
}

// SetDeadline sets both deadlines.
func (s *Stream) SetDeadline(t time.Time) error { return s.setDeadline(t, true, true) }

// SetReadDeadline sets when Read gives up, with [os.ErrDeadlineExceeded].
func (s *Stream) SetReadDeadline(t time.Time) error { return s.setDeadline(t, true, false) }

// SetWriteDeadline sets when Write gives up. What it has copied before is sent.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.setDeadline(t, false, true) }

func (s *Stream) setDeadline(t time.Time, read, write bool) error {
	s.mux.mu.Lock()
	defer s.mux.mu.Unlock()
	if s.closed {
		return s.opError("set deadline of", net.ErrClosed)
	}
	if read {
		s.readBy.start(&s.mux.mu, t, &s.readable)
	}
	if write {
		s.writeBy.start(&s.mux.mu, t, &s.writable)
	}
	return nil
}
