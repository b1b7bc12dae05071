package tunnel

// widerPart is of how many parts of a tunnel's memory, and of its buffer, the windows of
// its raw connections may be wider by one. So what comes when all of them are filled
// leaves most.
const widerPart = 4

// Widen takes n bytes by which a window becomes wider, while the tunnel holds less
// than half of what it may. They are a promise: what comes by it is counted in memory
// when it does.
func (m *Mux) Widen(n int) bool {
	limit := m.memory.Limit()
	if n >= 0 && (m.Full() || 2*m.memory.Held() > limit) {
		return false
	}
	if wider := m.wider.Add(int64(n)); n > 0 && wider > min(limit, m.settings.Buffer)/widerPart {
		m.wider.Add(int64(-n))
		return false
	}
	return true
}
