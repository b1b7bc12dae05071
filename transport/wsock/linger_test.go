package wsock

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// late is when the wait is found to be over at the latest.
const late = messages.Linger + messages.Linger/lingerLooks

func TestLingerEndsAfterTheLastProgress(t *testing.T) {
	for name, c := range map[string]struct {
		every time.Duration // between two bytes that the peer acknowledges
		bytes int
	}{
		"nothing comes":          {0, 0},
		"a byte now and then":    {4 * time.Second, 50},
		"much, and then no more": {time.Millisecond, 3000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var acked atomic.Uint64
				expired := make(chan time.Time, 2)
				l := newLinger(acked.Load, func() { expired <- time.Now() })
				for range c.bytes {
					time.Sleep(c.every)
					acked.Add(1)
				}
				last := time.Now()
				if len(expired) > 0 {
					t.Fatal("it ends though there is progress")
				}
				took := (<-expired).Sub(last)
				if took < messages.Linger-messages.Linger/lingerLooks || took > late {
					t.Errorf("it ends %v after the last progress", took)
				}
				time.Sleep(10 * late)
				if len(expired) > 0 {
					t.Error("it ends twice")
				}
				l.Stop()
			})
		})
	}
}

func TestLingerThatIsStoppedDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLinger(func() uint64 { return 0 }, func() { t.Error("it ends") })
		time.Sleep(messages.Linger / 2)
		l.Stop()
		l.Stop()
		time.Sleep(10 * late)
	})
}

// Whoever is waiting for the peer stops the linger when it has ended.
func TestLingerIsStoppedByItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lingers, ended := make(chan *Linger, 1), make(chan struct{})
		lingers <- newLinger(func() uint64 { return 0 }, func() { (<-lingers).Stop(); close(ended) })
		<-ended
	})
}

// A connection that is closed makes no progress and ends no process.
func TestLingerOnAClosedConnection(t *testing.T) {
	s, _ := newConnPair(t)
	s.conn.Close()
	expired := make(chan struct{})
	l := NewLinger(s.raw, func() { close(expired) })
	defer l.Stop()
	l.mu.Lock()
	l.since = l.since.Add(-messages.Linger)
	l.mu.Unlock()
	testkit.Receive(t, expired)
}
