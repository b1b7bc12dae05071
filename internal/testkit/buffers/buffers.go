// Package buffers counts the buffers that tests leave behind. It is no part of
// testkit because package wsock itself is tested with that.
package buffers

import (
	"runtime"
	"sync"
	"weak"

	"wsproxy/transport/wsock"
)

// A BufferCount knows which buffers of the pool are alive. Its Made is for
// [wsock.TrackBuffers], in TestMain.
type BufferCount struct {
	mu   sync.Mutex
	made []weak.Pointer[wsock.Buffer]
}

// Made notes a buffer.
func (c *BufferCount) Made(b *wsock.Buffer) {
	c.mu.Lock()
	c.made = append(c.made, weak.Make(b))
	c.mu.Unlock()
}

// Held returns how many buffers somebody holds: two garbage collections empty
// the pool, so what lives on is held by somebody else.
func (c *BufferCount) Held() (n int) {
	runtime.GC()
	runtime.GC()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.made {
		if b.Value() != nil {
			n++
		}
	}
	return n
}
