//go:build js

package main

import (
	"context"
	"errors"
	"fmt"
	"syscall/js"
)

var (
	promiseClass = js.Global().Get("Promise")
	errorClass   = js.Global().Get("Error")
	objectClass  = js.Global().Get("Object")
	arrayClass   = js.Global().Get("Array")
	bytesClass   = js.Global().Get("Uint8Array")
	// pending holds what rejects each promise that is under way.
	pending = js.Global().Get("Set").New()
	// ignore is for promises whose failure is seen elsewhere.
	ignore = js.FuncOf(func(js.Value, []js.Value) any { return nil })
)

// promise runs work in a goroutine of its own and returns the promise of its result.
// A panic rejects it.
func promise(work func() (any, error)) js.Value {
	var resolve, reject js.Value
	executor := js.FuncOf(func(_ js.Value, args []js.Value) any {
		resolve, reject = args[0], args[1]
		return nil
	})
	p := promiseClass.New(executor) // which calls it at once
	executor.Release()
	pending.Call("add", reject)
	go func() {
		defer pending.Call("delete", reject)
		result, err := guarded(work)
		if err != nil {
			reject.Invoke(jsError(err))
			return
		}
		resolve.Invoke(result)
	}()
	return p
}

// guarded makes an error of a panic.
func guarded(work func() (any, error)) (result any, err error) {
	defer func() {
		switch fault := recover().(type) {
		case nil:
		case js.Error:
			err = thrown(fault.Value)
		default:
			err = fmt.Errorf("an internal error: %v", fault)
		}
	}()
	return work()
}

// rejected is a promise that has failed.
func rejected(err error) js.Value { return promiseClass.Call("reject", jsError(err)) }

// await waits for a promise; other values are their own result. It must not run in a js.Func.
func await(ctx context.Context, value js.Value) (js.Value, error) {
	if value.Type() != js.TypeObject || value.Get("then").Type() != js.TypeFunction {
		return value, nil
	}
	type outcome struct {
		value js.Value
		err   error
	}
	settled := make(chan outcome, 1)
	fulfil := js.FuncOf(func(_ js.Value, args []js.Value) any {
		settled <- outcome{value: first(args)}
		return nil
	})
	fail := js.FuncOf(func(_ js.Value, args []js.Value) any {
		settled <- outcome{err: thrown(first(args))}
		return nil
	})
	release := func() {
		fulfil.Release()
		fail.Release()
	}
	value.Call("then", fulfil, fail)
	select {
	case o := <-settled:
		release()
		return o.value, o.err
	case <-ctx.Done():
		go func() {
			<-settled
			release()
		}()
		return js.Undefined(), ctx.Err()
	}
}

// call calls a method and waits for what it promises.
func call(ctx context.Context, object js.Value, method string, args ...any) (js.Value, error) {
	var value js.Value
	_, err := guarded(func() (any, error) {
		value = object.Call(method, args...)
		return nil, nil
	})
	if err != nil {
		return js.Undefined(), err
	}
	return await(ctx, value)
}

func first(args []js.Value) js.Value {
	if len(args) == 0 {
		return js.Undefined()
	}
	return args[0]
}

// A jsFault is what JavaScript has thrown.
type jsFault struct{ value js.Value }

func thrown(value js.Value) error { return jsFault{value} }

func (f jsFault) Error() string {
	if f.value.Type() == js.TypeObject {
		if message := f.value.Get("message"); message.Type() == js.TypeString {
			return message.String()
		}
	}
	return f.value.String()
}

// jsError makes an Error with a code. One that comes from JavaScript goes back as it was.
func jsError(err error) js.Value {
	var fault jsFault
	var coded interface {
		error
		ErrorCode() string
	}
	code := "failed"
	switch {
	case errors.As(err, &coded):
		err, code = coded, coded.ErrorCode()
	case errors.As(err, &fault) && fault.value.InstanceOf(errorClass):
		return fault.value
	}
	value := errorClass.New(err.Error())
	value.Set("code", code)
	return value
}

func object(fields map[string]any) js.Value { return js.ValueOf(fields) }

// toJS copies bytes into a Uint8Array of their own.
func toJS(data []byte) js.Value {
	value := bytesClass.New(len(data))
	js.CopyBytesToJS(value, data)
	return value
}

// toGo copies the bytes of a Uint8Array.
func toGo(value js.Value) ([]byte, error) {
	if !value.InstanceOf(bytesClass) {
		return nil, errNoBytes
	}
	data := make([]byte, value.Get("length").Int())
	js.CopyBytesToGo(data, value)
	return data, nil
}

// text, number and flag read a field, which may be missing.
func text(object js.Value, name string) string {
	if value := object.Get(name); value.Type() == js.TypeString {
		return value.String()
	}
	return ""
}

func number(object js.Value, name string) int {
	if value := object.Get(name); value.Type() == js.TypeNumber {
		return value.Int()
	}
	return 0
}

func flag(object js.Value, name string) bool {
	value := object.Get(name)
	return value.Type() == js.TypeBoolean && value.Bool()
}

// list returns the elements of an array, which may be missing.
func list(object js.Value, name string) []js.Value {
	array := object.Get(name)
	if !array.InstanceOf(arrayClass) {
		return nil
	}
	values := make([]js.Value, array.Length())
	for i := range values {
		values[i] = array.Index(i)
	}
	return values
}
