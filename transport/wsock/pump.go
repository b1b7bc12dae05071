package wsock

import (
	"log/slog"
	"runtime/debug"
)

// StartPump runs a pump in a goroutine of its own and calls ended when it has
// ended, also by a panic, which would else end the process: that is logged
// with its stack. ended should tell the pump's owner.
func StartPump(log *slog.Logger, name string, pump, ended func()) {
	go runPump(log, name, pump, ended)
}

// StartBrief is StartPump for a pump that ends soon, and needs a large stack before it
// does: see [Host.Brief].
func (h *Host) StartBrief(name string, pump, ended func()) {
	if h.Brief == nil {
		StartPump(h.log, name, pump, ended)
		return
	}
	h.Brief(func() { runPump(h.log, name, pump, ended) })
}

func runPump(log *slog.Logger, name string, pump, ended func()) {
	defer ended()
	defer func() {
		if fault := recover(); fault != nil {
			log.Error("a pump failed", "pump", name, "fault", fault, "stack", string(debug.Stack()))
		}
	}()
	pump()
}
