//go:build js

package main

import (
	"context"
	"syscall/js"

	"wsproxy/page/sshclient"
)

// An input writes to a shell what JavaScript has handed over, in that order, though nobody
// waits in between. How much that is, is JavaScript's to bound by the promises.
type input struct {
	chunks []inputChunk // as active, touched where nothing else runs: see run
	shell  *sshclient.Shell
	active bool
}

type inputChunk struct {
	data []byte
	done chan error
}

// add takes bytes and returns the promise that they are on their way. It must be called from a js.Func,
// where no other goroutine runs meanwhile.
func (in *input) add(value js.Value) js.Value {
	data, err := toGo(value) // now: the bytes may be others when the promise is done
	if err != nil {
		return rejected(err)
	}
	chunk := inputChunk{data, make(chan error, 1)}
	in.chunks = append(in.chunks, chunk)
	if !in.active {
		in.active = true
		go in.run()
	}
	return promise(func() (any, error) { return nil, <-chunk.done })
}

func (in *input) run() {
	// WebAssembly has one thread, and goroutines change only where they wait.
	for len(in.chunks) > 0 {
		chunk := in.chunks[0]
		in.chunks = in.chunks[1:]
		_, err := in.shell.Write(chunk.data)
		chunk.done <- err
	}
	in.active = false
}

// openShell is GoClient.openShell.
func openShell(client *sshclient.Client, o, onData js.Value) (any, error) {
	settings := sshclient.ShellOptions{Term: text(o, "term"), Cols: number(o, "cols"), Rows: number(o, "rows"), Command: text(o, "command")}
	if env := o.Get("env"); env.Type() == js.TypeObject {
		settings.Env = map[string]string{}
		names := objectClass.Call("keys", env)
		for i := range names.Length() {
			name := names.Index(i).String()
			settings.Env[name] = text(env, name)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	shell, err := client.OpenShell(ctx, settings, func(data []byte, stderr bool) error {
		_, err := guarded(func() (any, error) {
			// Until the page has dealt with it the server gets no more room.
			return await(ctx, onData.Invoke(toJS(data), stderr))
		})
		return err
	})
	if err != nil {
		cancel()
		return nil, err
	}
	b := newBinding()
	in := &input{shell: shell}
	b.async["write"] = true
	b.does("write", func(args []js.Value) any { return in.add(first(args)) })
	b.does("closeInput", func([]js.Value) any {
		go func() { _ = shell.CloseInput() }()
		return nil
	})
	b.does("resize", func(args []js.Value) any {
		cols, rows := args[0].Int(), args[1].Int()
		go func() { _ = shell.Resize(cols, rows) }()
		return nil
	})
	b.does("signal", func(args []js.Value) any {
		name := args[0].String()
		go func() { _ = shell.Signal(name) }()
		return nil
	})
	b.does("close", func([]js.Value) any {
		go func() {
			shell.Close()
			cancel()
		}()
		return nil
	})
	b.Set("closed", promise(func() (any, error) {
		end := shell.End()
		cancel()
		b.release()
		result := map[string]any{}
		if end.HasStatus {
			result["status"] = end.Status
		}
		if end.Signal != "" {
			result["signal"] = end.Signal
		}
		if end.Message != "" {
			result["message"] = end.Message
		}
		return result, nil
	}))
	return b.Value, nil
}
