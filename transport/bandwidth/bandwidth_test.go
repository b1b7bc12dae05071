package bandwidth

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const mib = 1 << 20

// transfer passes pieces of a size until done is closed, and returns how many bytes.
func transfer(s *Share, way, size int, done <-chan struct{}) (passed int) {
	for {
		select {
		case <-done:
			return passed
		default:
		}
		s.Passed(way, size)
		passed += size
		s.Await(way, done)
	}
}

// during has some transfers go on for a time, and returns what each has passed.
func during(d time.Duration, transfers ...func(done <-chan struct{}) int) []int {
	done := make(chan struct{})
	passed := make([]int, len(transfers))
	var all sync.WaitGroup
	for i, run := range transfers {
		all.Go(func() { passed[i] = run(done) })
	}
	time.Sleep(d)
	close(done)
	all.Wait()
	return passed
}

func of(s *Share, way, size int) func(<-chan struct{}) int {
	return func(done <-chan struct{}) int { return transfer(s, way, size, done) }
}

// within fails unless got is want, or some parts of a hundred more or less.
func within(t *testing.T, what string, got, want, percent int) {
	t.Helper()
	if got < want-want*percent/100 || got > want+want*percent/100 {
		t.Errorf("%s: %d, want %d within %d %%", what, got, want, percent)
	}
}

func TestRate(t *testing.T) {
	for _, rate := range []int{16 << 10, mib, 100 * mib} {
		for _, size := range []int{20, 1000, 32 << 10, 64 << 10} {
			if rate/size > 2000 {
				continue // too many for a test
			}
			synctest.Test(t, func(t *testing.T) {
				u := NewUsers(int64(rate))
				s := u.Open("ann")
				defer s.Close()
				got := during(20*time.Second, of(s, ToClient, size), of(s, FromClient, size))
				burst := max(rate, leastBurst)
				for way, passed := range got {
					if over := passed - burst - 20*rate; over > size || over < -size {
						t.Errorf("at %d a second in pieces of %d, in direction %d: %d bytes too many", rate, size, way, over)
					}
				}
			})
		}
	}
}

// Those who want more than there is have the same, whatever the size of their pieces and
// however much they had before. Other users have theirs.
func TestFairShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := NewUsers(mib)
		old, small, large, other := u.Open("ann"), u.Open("ann"), u.Open("ann"), u.Open("bob")
		for _, s := range []*Share{old, small, large, other} {
			defer s.Close()
		}
		during(100*time.Second, of(old, ToClient, 32<<10))
		got := during(60*time.Second, of(old, ToClient, 32<<10), of(small, ToClient, 1<<10), of(large, ToClient, 64<<10), of(other, ToClient, 32<<10))
		for i, name := range []string{"the old one", "the one with small pieces", "the one with large pieces"} {
			within(t, name, got[i], 20*mib, 2)
		}
		within(t, "the other user", got[3], 61*mib, 1)
	})
}

// Beside transfers that take all, who passes little now and then hardly waits.
func TestLittleHardlyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := NewUsers(mib)
		var bulk []func(<-chan struct{}) int
		for range 10 {
			s := u.Open("ann")
			defer s.Close()
			bulk = append(bulk, of(s, ToClient, 32<<10))
		}
		key := u.Open("ann")
		defer key.Close()
		longest := time.Duration(0)
		during(60*time.Second, append(bulk, func(done <-chan struct{}) int {
			time.Sleep(2 * time.Second) // the burst is gone, and what all have passed at once beyond it
			for range 200 {
				time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
				key.Passed(ToClient, 50)
				began := time.Now()
				key.Await(ToClient, done)
				longest = max(longest, time.Since(began))
			}
			return 0
		})...)
		if longest > 70*time.Millisecond { // one of the others is at it with 32 KiB, which is 31 ms
			t.Errorf("it has waited for %v", longest)
		}
	})
}

// Who was let through and passes nothing holds up nobody for long.
func TestOneThatRestsHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := NewUsers(mib)
		rests, works := u.Open("ann"), u.Open("ann")
		defer rests.Close()
		defer works.Close()
		got := during(50*time.Second, of(works, ToClient, 32<<10), func(done <-chan struct{}) int {
			for {
				rests.Await(ToClient, done)
				select {
				case <-time.After(time.Second):
				case <-done:
					return 0
				}
			}
		})
		within(t, "the other one", got[0], 51*mib, 4)
	})
}

// A wait ends when it is wanted no more, and keeps nobody from its turn.
func TestDoneEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := NewUsers(64 << 10)
		one, other := u.Open("ann"), u.Open("ann")
		defer other.Close()
		one.Passed(FromClient, 10*mib)
		done := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(done) })
		began := time.Now()
		one.Await(FromClient, done)
		if took := time.Since(began); took != time.Second {
			t.Errorf("the wait took %v", took)
		}
		one.Close()
		other.Await(FromClient, nil) // what one has passed is the user's
		if took := time.Since(began).Round(time.Second); took != 159*time.Second {
			t.Errorf("the other one has waited for %v", took)
		}
		other.Await(ToClient, nil)
		if u.Len() != 1 {
			t.Errorf("%d users are known", u.Len())
		}
	})
}

// A user is forgotten with its last WebSocket, but for what has to be paid: to come anew
// is worth nothing.
func TestUsersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := NewUsers(mib)
		one, other := u.Open("ann"), u.Open("ann")
		one.Close()
		if other.Close(); u.Len() != 0 {
			t.Errorf("of who has passed nothing %d are known", u.Len())
		}
		passed := 0
		for range 100 {
			s := u.Open("ann")
			s.Passed(ToClient, 64<<10)
			passed += 64 << 10
			s.Await(ToClient, nil)
			s.Close()
		}
		if took := time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)); passed > mib+int(took.Seconds()*mib)+64<<10 {
			t.Errorf("%d bytes have passed in %v", passed, took)
		}
		if time.Sleep(2 * time.Second); u.Len() != 0 {
			t.Errorf("%d are known", u.Len())
		}
	})
}

// Another bound holds at once for those who have one.
func TestChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := NewUsers(0)
		if s := u.Open("ann"); s != nil || u.Bounded() {
			t.Fatal("there is a bound")
		}
		u.Change(mib)
		s := u.Open("ann")
		defer s.Close()
		s.Passed(ToClient, 101*mib)
		time.AfterFunc(50*time.Second, func() { u.Change(25 * mib) })
		began := time.Now()
		s.Await(ToClient, nil)
		if took := time.Since(began).Round(100 * time.Millisecond); took != 52*time.Second {
			t.Errorf("it has waited for %v", took)
		}
		s.Passed(ToClient, 1000*mib)
		time.AfterFunc(time.Second, func() { u.Change(0) })
		began = time.Now()
		s.Await(ToClient, nil)
		s.Passed(ToClient, 1000*mib)
		s.Await(ToClient, nil)
		if took := time.Since(began); took != time.Second {
			t.Errorf("without a bound it has waited for %v", took)
		}
	})
}

// Whatever comes together: no race, nobody is left waiting.
func TestManyTogether(t *testing.T) {
	u := NewUsers(1 << 30)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 50 {
				s := u.Open([]string{"ann", "bob"}[i%2])
				done := make(chan struct{})
				var both sync.WaitGroup
				for way := range ways {
					both.Go(func() {
						for range 20 {
							s.Passed(way, 1<<20)
							s.Await(way, done)
						}
					})
				}
				if n%2 == 0 {
					close(done)
				}
				both.Wait()
				s.Close()
			}
			u.Change(1 << 31)
		})
	}
	all.Wait()
	u.Change(1 << 40) // so that all is paid
	for u.Len() > 0 {
		<-time.After(time.Millisecond)
	}
}
