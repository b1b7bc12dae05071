package testkit

import (
	"runtime"
	"sync"
	"weak"
)

// A Count knows which of the things of a pool are alive: those that tests leave
// behind.
type Count[T any] struct {
	mu   sync.Mutex
	made []weak.Pointer[T]
}

// Made notes a thing that the pool has made.
func (c *Count[T]) Made(v *T) {
	c.mu.Lock()
	c.made = append(c.made, weak.Make(v))
	c.mu.Unlock()
}

// Held returns how many things somebody holds: two garbage collections empty
// the pool, so what lives on is held by somebody else.
func (c *Count[T]) Held() (n int) {
	runtime.GC()
	runtime.GC()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.made {
		if v.Value() != nil {
			n++
		}
	}
	return n
}
