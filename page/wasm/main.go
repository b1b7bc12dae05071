//go:build js

package main

import (
	"runtime/debug"
	"syscall/js"
)

// gcPercent lets the heap grow to five times what is in use, and not to twice: that is little, and what packets are
// copied into on their way is soon garbage. The one thread that there is has then less to collect.
const gcPercent = 400

func main() {
	debug.SetGCPercent(gcPercent)
	api := js.Global().Get("Object").New()
	api.Set("pending", pending)
	// These live as long as the program does, and are never released.
	api.Set("connect", js.FuncOf(connect))
	api.Set("generateKey", js.FuncOf(generateKey))
	api.Set("describeKey", js.FuncOf(describeKey))
	api.Set("fingerprint", js.FuncOf(fingerprint))
	js.Global().Call("goReady", api)
	select {} // JavaScript calls
}
