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

// A tunnel has at most a quarter of the pool, and all of one user's at most
// half, whatever is free.
func TestPartsOfThePool(t *testing.T) {
	p := NewPool(1600)
	one, two, three := p.Open("user a"), p.Open("user a"), p.Open("user a")
	if !one.Try(400) || one.Try(1) || !one.Full() {
		t.Error("a tunnel has not a quarter")
	}
	if !two.Try(400) || three.Try(1) || !three.Full() {
		t.Error("a user has not half")
	}
	if one.Add(-400); !three.Try(400) || three.Try(1) {
		t.Error("what came back can't be taken")
	}
	other := p.Open("user b")
	if !other.Try(400) || p.Held() != 1200 {
		t.Errorf("another user has not what is free; %d are held", p.Held())
	}
}

// Others hold all. A tunnel gets its fair part all the same, and the pool says
// that it is overdrawn, once until somebody has looked.
func TestFairPartIsThereThoughOthersHoldAll(t *testing.T) {
	p := NewPool(1600)
	var said atomic.Int32
	p.OnOverdrawn(func() { said.Add(1) })
	var heavy []*Budget
	for i := range 4 {
		b := p.Open(fmt.Sprint("user ", i))
		for b.Try(1) {
		}
		heavy = append(heavy, b)
	}
	if held := p.Held(); held != 1600 || said.Load() != 0 {
		t.Fatalf("%d of 1600 are taken, said %d times", held, said.Load())
	}
	light := p.Open("light")
	if light.Full() || !light.Try(100) || light.Full() || !light.Try(200) || light.Try(21) {
		t.Error("its part is not a fifth")
	}
	if said.Load() != 1 || p.Excess() != 300 {
		t.Errorf("said %d times that %d are too many", said.Load(), p.Excess())
	}
	if light.Try(20); said.Load() != 2 {
		t.Errorf("after a look it was said %d times", said.Load())
	}
	light.Add(-320)
	for _, b := range heavy {
		b.Add(-b.Held())
	}
	if p.Held() != 0 || p.holders.Load() != 0 || p.Excess() != 0 {
		t.Errorf("%d bytes are left, and %d tunnels that hold some", p.Held(), p.holders.Load())
	}
}

// Those that hold more than their fair part leave some for those that don't, so
// that each word of these does not cost them something.
func TestSomeIsKeptForThoseThatHoldLittle(t *testing.T) {
	p := NewPool(1600)
	p.OnOverdrawn(func() { t.Error("the pool was overdrawn") })
	for i := range 20 { // of whom each is entitled to 80
		p.Open(fmt.Sprint("user ", i)).Add(1)
	}
	for i := range 4 {
		for b := p.Open(fmt.Sprint("heavy ", i)); b.Try(1); {
		}
	}
	if held := p.Held(); held != 1500 {
		t.Errorf("%d of 1600 are taken", held)
	}
	if light := p.Open("light"); light.Full() || !light.Try(60) || p.Excess() != 0 {
		t.Errorf("a small tunnel did not get what was left, or too much: %d are held", p.Held())
	}
}

// Whatever many take, try and give back at once: the number of those who hold
// something is right, and all is there at the end.
func TestHoldersAreCounted(t *testing.T) {
	p := NewPool(1 << 20)
	var all sync.WaitGroup
	for i := range 4 {
		b := p.Open(fmt.Sprint("user ", i%2))
		requests := b.Below(b.limit / 2)
		for j := range 3 {
			all.Go(func() {
				random := rand.New(rand.NewPCG(uint64(i), uint64(j)))
				for range 5000 {
					n := random.Int64N(1 << 18)
					from := []*Budget{b, requests}[random.IntN(2)]
					if from.Try(n) {
						from.Add(-n)
					}
				}
			})
		}
	}
	all.Wait()
	if p.Held() != 0 || p.holders.Load() != 0 {
		t.Errorf("%d bytes are left, and %d tunnels that hold some", p.Held(), p.holders.Load())
	}
}

// count returns how many users are known.
func (u *users) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.all)
}

// A user without tunnels is forgotten, and one who still has one is not.
func TestUsersAreForgotten(t *testing.T) {
	p := NewPool(1600)
	kept := p.Open("kept")
	kept.Add(1)
	for i := range 100 {
		p.Open(fmt.Sprint("user ", i)).Add(1)
	}
	testkit.Eventually(t, "users without tunnels are forgotten", func() bool {
		runtime.GC()
		return p.users.count() == 1
	})
	if p.Open("kept").above != kept.above {
		t.Error("one who still has a tunnel was")
	}
	runtime.KeepAlive(kept)
}

// What belongs to no tunnel has a quarter as well.
func TestPartOfNoTunnel(t *testing.T) {
	p := NewPool(1600)
	if b := p.Part(); !b.Try(400) || b.Try(1) || p.Held() != 400 {
		t.Errorf("%d of 1600 are held", p.Held())
	}
}
