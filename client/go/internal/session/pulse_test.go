package session

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

// deaf has a peer take everything and say nothing, as a network that has gone does.
func (p *peer) deaf() {
	go func() {
		for m := range p.messages {
			if m.err != nil {
				return
			}
		}
	}()
}

// A WebSocket that leads nowhere any more is found out within five seconds, when
// something is not acknowledged or was coming.
func TestFindsOutThatItIsLost(t *testing.T) {
	for name, use := range map[string]func(r *rig, p *peer){
		"with a byte under way":  func(r *rig, _ *peer) { r.to.put("x") },
		"with an end under way":  func(r *rig, p *peer) { r.s.CloseWrite(); p.send(messages.EOFText) },
		"in a download":          func(_ *rig, p *peer) { p.data("x", 1) },
		"with an ack under way":  func(r *rig, p *peer) { p.data(strings.Repeat("x", 20_000), 20_000) },
		"after a partial answer": func(r *rig, p *peer) { r.to.put("xyz"); p.wantData("xyz", 3); p.ack(1, 64<<10) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, rest := range []time.Duration{0, 700 * time.Millisecond, 7 * time.Second, 8300 * time.Millisecond} {
				bubble(t, func(t *testing.T) {
					r, p := begin(t, replay.Bytes)
					time.Sleep(rest)
					start := time.Now()
					use(r, p)
					p.deaf()
					r.next()
					if since := time.Since(start); since > 5*time.Second || since < quiet+patience {
						t.Errorf("after %v it is noticed within %v", rest, since)
					}
					if len(r.detached) != 1 || !errors.Is(r.detached[0], errSilent) {
						t.Errorf("%v are told", r.detached)
					}
				})
			}
		})
	}
}

// A session without anything to do asks now and then.
func TestAsksWhenIdle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Bytes)
		start := time.Now()
		for range 3 {
			p.want(messages.PingText)
			if since := time.Since(start); since < idle || since > idle+slowTick {
				t.Errorf("it asks after %v", since)
			}
			start = time.Now()
			p.send(messages.PongText)
		}
		p.deaf()
		r.next()
		if since := time.Since(start); since > idle+slowTick+patience+tick {
			t.Errorf("it is lost after %v", since)
		}
	})
}

// Whatever comes is an answer: a slow line, and one on which much comes, are none
// that is lost.
func TestWhateverComesIsAnAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Bytes)
		r.to.put("x")
		p.wantData("x", 1)
		p.raw(0x82, 126, 0xea, 0x60) // a message of 60,000 bytes
		for range 60 {
			time.Sleep(3 * time.Second)
			p.raw(make([]byte, 100)...)
		}
		r.lives()
		if len(r.detached) > 0 {
			t.Error("it has become detached")
		}
	})
}

// On a line where the answers take longer, they are waited for longer.
func TestBecomesPatient(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Bytes)
		var took []time.Duration
		for range 5 {
			start := time.Now()
			p.deaf()
			r.to.put("x")
			p = r.next()
			took = append(took, time.Since(start))
			p.resume(0, 64<<10)
		}
		for i := range took[1:] {
			if took[i+1] <= took[i] && took[i] < mostPatience || took[i+1] > quiet+mostPatience+5*time.Second+2*tick {
				t.Errorf("%v are waited for", took)
			}
		}
		p.wantAck(0)
		p.wantData("xxxxx", 5)
		p.ack(5, 64<<10)
		synctest.Wait()
		p.deaf()
		start := time.Now()
		r.to.put("x")
		r.next()
		if since := time.Since(start); since > 5*time.Second {
			t.Errorf("on a line that works again %v are waited for", since)
		}
	})
}

// A machine that has slept asks when it wakes up, whatever it knew before.
func TestAsksWhenItWakesUp(t *testing.T) {
	for _, unit := range []replay.Unit{replay.Bytes, replay.Messages} {
		bubble(t, func(t *testing.T) {
			r, p := begin(t, unit)
			r.s.mu.Lock()
			r.s.pulse.due = time.Now().Add(-slack - time.Millisecond)
			r.s.mu.Unlock()
			p.none()
			start := time.Now()
			p.want(messages.PingText)
			if since := time.Since(start); since > slowTick {
				t.Errorf("it asks after %v", since)
			}
			start = time.Now()
			r.next()
			if since := time.Since(start); since > 5*time.Second {
				t.Errorf("it is noticed within %v", since)
			}
		})
	}
}

// Either clock tells that the machine has slept.
func TestElapsed(t *testing.T) {
	start := time.Now()
	if got := elapsed(start, start.Add(time.Hour)); got != time.Hour {
		t.Errorf("an hour is %v", got)
	}
	asleep := start.Add(time.Hour).Round(0) // the other clock stood still
	if got := elapsed(start, asleep); got != time.Hour {
		t.Errorf("an hour asleep is %v", got)
	}
}

// Nor does it sit out the pause between two tries, or a try that nobody answers.
func TestTriesWhenItWakesUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Bytes)
		r.locked(func() { r.refuse = 7 })
		p.cut()
		for len(r.failed()) < 7 {
			time.Sleep(10 * time.Millisecond)
		}
		r.s.mu.Lock()
		r.s.pulse.due = time.Now().Add(-time.Hour)
		r.s.hurry()
		r.s.mu.Unlock()
		start := time.Now()
		old := r.next() // and does not answer
		if since := time.Since(start); since != 0 {
			t.Errorf("it tries after %v", since)
		}
		time.Sleep(2 * young)
		r.s.mu.Lock()
		r.s.hurry()
		r.s.mu.Unlock()
		start = time.Now()
		r.taken(0).wantAck(0)
		if since := time.Since(start); since > firstPause {
			t.Errorf("it tries after %v", since)
		}
		old.wantClose(0)
	})
}

func (r *rig) failed() (all []error) {
	r.locked(func() { all = r.retried })
	return all
}

// The session that slept longer than the server waits hears that once.
func TestSleepsTooLong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := begin(t, replay.Bytes)
		p.cut()
		p = r.next()
		time.Sleep(timeout * time.Second) // in which nothing answers: each try is bounded
		for {
			select {
			case p = <-r.peers:
				continue
			case <-r.s.Done():
			}
			break
		}
		if err := r.ends(); !errors.Is(err, ErrLost) {
			t.Errorf("the end is %v", err)
		}
		p.wantClose(0)
	})
}

// A frame that takes long to be written is no lost WebSocket while it goes on.
func TestSlowIsNotLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, replay.Bytes)
		p := r.open(0)
		p.wantAck(0)
		p.gate <- struct{}{}
		r.to.put(strings.Repeat("x", 60_000))
		for range 12 { // the other end takes no frame for a minute, but says something
			time.Sleep(3 * time.Second)
			p.send(messages.PongText)
		}
		<-p.gate
		p.wantData(strings.Repeat("x", 60_000), 60_000)
		r.lives()
	})
}
