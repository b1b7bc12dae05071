package tunnel

import (
	"testing"

	"wsproxy/transport/budget"
)

// Windows become wider by a part of the tunnel's memory, and only while there is
// room.
func TestWindowsBecomeWiderByAPartOfTheMemory(t *testing.T) {
	m := New(&Settings{Memory: budget.NewPool(128 << 20), Buffer: 16 << 20}, func(*Mux) Dialect { return Text }, Options{Credit: true, User: "anyone"})
	if !m.Widen(3<<20) || m.Widen(2<<20) || !m.Widen(1<<20) || m.Widen(1) || !m.Widen(0) {
		t.Error("it is not a quarter of the buffer")
	}
	m.Widen(-4 << 20)
	m.memory.Add(17 << 20)
	if m.Widen(1) || m.Widen(0) {
		t.Error("there is no room, more than half of the memory is used")
	}
	m.memory.Add(-17 << 20)
	if m.Widen(5<<20) || !m.Widen(4<<20) {
		t.Error("what came back is not there")
	}
}
