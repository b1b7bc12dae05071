package budget

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"wsproxy/internal/testkit"
)

// A session has its limit, one user's sessions have half of all, and what does not
// fit is refused whole, however little others hold.
func TestPartsOfTheShares(t *testing.T) {
	s := NewShares(1000)
	one, two, three := s.Open("ann", 300), s.Open("ann", 300), s.Open("ann", 300)
	if !one.Try(300) || one.Try(1) {
		t.Error("a session has not its limit, or more")
	}
	if two.Try(201) || !two.Try(200) || three.Try(1) {
		t.Error("a user has not half, or more")
	}
	if s.Held() != 500 {
		t.Errorf("%d are held, want 500", s.Held())
	}
	if one.Add(-100); !three.Try(100) || three.Try(1) {
		t.Error("what came back can't be taken")
	}
	other, last := s.Open("bob", 1000), s.Open("joe", 1000)
	if other.Try(501) || !other.Try(499) || last.Try(2) || !last.Try(1) || last.Try(1) {
		t.Error("not all was lent, or more than there is")
	}
	if s.Held() != 1000 {
		t.Errorf("%d are held, want 1000", s.Held())
	}
	for b, held := range map[*Budget]int64{one: 200, two: 200, three: 100, other: 499, last: 1} {
		if b.Held() != held {
			t.Errorf("a session holds %d, want %d", b.Held(), held)
		}
		b.Add(-held)
	}
	if s.Held() != 0 {
		t.Errorf("%d are held for ever", s.Held())
	}
}

// Nobody is entitled to anything that others have: a session has its first
// 64 KiB without asking.
func TestSharesAreNeverOverdrawn(t *testing.T) {
	if NewShares(0).Open("ann", 1<<20).Try(1) {
		t.Error("a byte of nothing was taken")
	}
	s := NewShares(1 << 20)
	var have atomic.Int64
	var all sync.WaitGroup
	for i := range 6 {
		b := s.Open(fmt.Sprint("user ", i%3), 1<<19)
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for range 5000 {
				n := random.Int64N(1 << 19)
				if !b.Try(n) {
					continue
				}
				if now := have.Add(n); now > 1<<20 {
					t.Errorf("%d were lent at once", now)
				}
				have.Add(-n)
				b.Add(-n)
			}
		})
	}
	all.Wait()
	if s.Held() != 0 {
		t.Errorf("%d bytes are left", s.Held())
	}
}

// Sessions are counted while somebody has their budget.
func TestSessionsOfSharesAreCounted(t *testing.T) {
	s := NewShares(1000)
	kept := s.Open("ann", 100)
	for range 100 {
		s.Open("ann", 100)
	}
	testkit.Eventually(t, "sessions that have ended don't count", func() bool {
		runtime.GC()
		return s.Sessions() == 1
	})
	runtime.KeepAlive(kept)
}

// A user without sessions is forgotten, and one who still has one is not.
func TestUsersOfSharesAreForgotten(t *testing.T) {
	s := NewShares(1000)
	kept := s.Open("kept", 100)
	kept.Add(1)
	for i := range 100 {
		s.Open(fmt.Sprint("user ", i), 100)
	}
	testkit.Eventually(t, "users without sessions are forgotten", func() bool {
		runtime.GC()
		return s.users.count() == 1
	})
	if s.Open("kept", 100).above != kept.above {
		t.Error("one who still has a session was")
	}
	runtime.KeepAlive(kept)
}
