//go:build js

package main

import "syscall/js"

func main() {
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
