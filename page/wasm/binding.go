//go:build js

package main

import (
	"syscall/js"

	"wsproxy/page/sshclient"
)

// A binding is an object whose methods are Go's, for as long as what it stands for
// exists.
type binding struct {
	js.Value
	funcs map[string]js.Func
	async map[string]bool
}

func newBinding() *binding {
	return &binding{Value: objectClass.New(), funcs: map[string]js.Func{}, async: map[string]bool{}}
}

// promises adds a method that returns a promise.
func (b *binding) promises(name string, method func(args []js.Value) (any, error)) {
	b.async[name] = true
	b.does(name, func(args []js.Value) any {
		return promise(func() (any, error) { return method(args) })
	})
}

// does adds a method, which must not block. Arguments that make no sense do nothing: a panic here
// would be the program's end.
func (b *binding) does(name string, method func(args []js.Value) any) {
	f := js.FuncOf(func(_ js.Value, args []js.Value) any {
		result, _ := guarded(func() (any, error) { return method(args), nil })
		return result
	})
	b.funcs[name] = f
	b.Set(name, f)
}

var (
	errOver  = &sshclient.Error{Code: sshclient.CodeNetwork, Message: "This has ended."}
	tooLate  = js.FuncOf(func(js.Value, []js.Value) any { return rejected(errOver) })
	needless = ignore
)

// release gives the functions back when there is nothing left to call. What is called later
// fails, or does nothing where there is no promise.
func (b *binding) release() {
	for name, f := range b.funcs {
		if b.async[name] {
			b.Set(name, tooLate)
		} else {
			b.Set(name, needless)
		}
		f.Release()
	}
	clear(b.funcs)
}
